"""The agent: loads one model in a process of its own, feeds it, times it, and answers in JSON lines.

    python agent.py BACKEND_FILE   a conversation: a request a line on stdin, an answer a line
    python agent.py --cores N …    as if the machine had so many processors
    python agent.py                without a backend: keeps files and holds the machine

Self-contained: this file and those that it imports from beside it, the backend's file, numpy and one runtime, from
Python 3.8 on; so the same files measure here, over SSH or on an emulated board. A crash in native code, an endless loop
or too little memory ends this process and no other.

Requests are objects with a field `do`; answers have `ok`, and where that is false `kind` (`input`, `unavailable`,
`run`) and `message`, one sentence. An answer is one line behind a record separator (RFC 7464), so that what a login
shell prints is never taken for one. A request may carry `limit_s`: the agent ends itself where it takes longer.

    prepare   imports the runtime; threads (null for all that a process may use), devices (whether to look for them)
              → facts (fields of slimedge.measurement.Environment), providers {name: why it cannot be used or null},
              devices {provider: name}
    state     → temperature_c, throttled: what changes while a machine works
    hold      → {}; refuses where another agent holds this machine; lets go when it ends
    put       name, data (base64), more (whether to append) → path; writes a file into the current folder
    get       path, offset → data (base64), more
    load      model, format, threads, workers (whose threads there must be processors for, by default 1), pin (to as
              many of the fastest processors), priority (whether to come before other
              programs where that is allowed), options (of the backend), grids ({inputs, outputs: {name: [scale, zero
              point]}}), inputs (.npz or null), batch, seed, slowdown (for tests of the measuring: stretches every run
              by that share)
              → load_s, first_run_s, inputs, outputs, provider, model_bytes, resident (whether there are runs whose
              inputs lie on the device already)
    warm      window_s, warm_limit_s, tolerance → runs, seconds, stable, run_s (median of the last window)
    time      settle_s, seconds, runs, resident → samples_ns, at least so many and for at least so long; energy_j, the
              machine's for one run, or null
    scenario  settings (of `load_generator.py`), concurrency, samples (in a query) → issued_ns, started_ns, ended_ns of
              every query, ending; the last request of its conversation that times anything
    predict   inputs (.npz), outputs (.npz to write), float by name → rows
    ops       → integer, total, heavy [[name, type, is integer]], providers {provider: nodes}
    profile   seconds, runs (at most so many, and for about so long) → samples_ns, of runs that are not profiled; ops,
              null where the runtime does not tell; and what else `slimedge.runtime.protocols.Profiling` gives
    memory    → peak_rss_bytes, model_bytes
    quit
"""

from __future__ import annotations

import argparse
import base64
import gc
import importlib
import json
import os
import signal
import socket
import statistics
import sys
import time
import types
from importlib.machinery import ModuleSpec
from typing import Any, Callable, Dict, List, Optional

NO_NUMPY = 78  # EX_CONFIG of sysexits.h
OWN, BACKENDS = "slimedge_agent", "slimedge_agent_backends"  # packages


def _package(name: str, folder: str) -> None:
    """Let the files of a folder import one another by `from . import`, where they lie in no package."""
    module = types.ModuleType(name)
    module.__path__ = [folder]
    sys.modules[name] = module


if __name__ == "__main__":
    here = os.path.dirname(os.path.realpath(__file__))
    # A script's own folder comes first on the path, where our file names would shadow other people's modules.
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != here]
    try:
        import numpy as np  # noqa: F401
    except ImportError:
        sys.exit(NO_NUMPY)
    _package(OWN, here)
    __spec__ = ModuleSpec(OWN + ".agent", None)  # what relative imports of a script go by

from . import arrays, facts, load_generator, process, sensors  # noqa: E402 - once they can be found

KINDS = {ImportError: "unavailable", ValueError: "input"}
WARM_WINDOWS = 3
LEAST_PROFILED = 5
RECORD = "\x1e"  # comes before every answer
PIECE = 1 << 20  # of a file that is sent in pieces
# An abstract socket: no file that could be left behind, and gone with whoever bound it. Devices that share a network
# namespace, as containers may, are told apart by the environment.
HELD = "\0slimedge-measures" + os.environ.get("SLIMEDGE_DEVICE", "")


class Agent:
    """Answers requests for one backend and, once loaded, one model.

    Args:
        backend: what the backend's file offers (`slimedge.runtime.protocols.Backend`).
        clock: gives nanoseconds.
    """

    def __init__(self, backend: Any, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self._backend = backend
        self._clock = clock
        self._memory = process.Memory()
        self._model: Any = None
        self._loaded: Dict[str, Any] = {}
        self._workers: List[Any] = []
        self._inputs: List[Dict[str, Any]] = []
        self._outputs: List[Dict[str, Any]] = []
        self._feeds: Dict[str, Any] = {}
        self._run: Callable[[], Any] = lambda: None
        self._resident_run: Any = None
        self._model_bytes: Optional[int] = None
        self._held: Any = None

    def answer(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Do what a request asks; an error is an answer, too."""
        try:
            return {"ok": True, **getattr(self, "do_" + request["do"])(request)}
        except MemoryError:
            return {"ok": False, "kind": "run", "message": "it ran out of memory"}
        except OSError as error:
            return {"ok": False, "kind": "run", "message": _of_the_system(error)}
        except Exception as error:  # noqa: BLE001 - whatever a runtime throws becomes an answer
            kind = next((kind for base, kind in KINDS.items() if isinstance(error, base)), "run")
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return {"ok": False, "kind": kind, "message": lines[0] if kind == "run" else " ".join(lines)}

    def do_prepare(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Import the runtime and describe the machine."""
        self._require()
        providers = self._backend.providers() if request.get("devices") else {}
        named: Dict[str, str] = getattr(self._backend, "devices", dict)() if request.get("devices") else {}
        threads = request["threads"] or facts.cores()
        machine = facts.environment(threads, tuple(self._backend.packages))
        return {"facts": machine, "providers": providers, "devices": named}

    def _require(self) -> None:
        reason = self._backend.missing()
        if reason is not None:
            raise ImportError(reason + ".")
        self._backend.prepare()

    def do_state(self, _request: Dict[str, Any]) -> Dict[str, Any]:
        """Give what changes while a machine works."""
        return {"temperature_c": sensors.temperature_c(), "throttled": sensors.throttled()}

    def do_hold(self, _request: Dict[str, Any]) -> Dict[str, Any]:
        """Keep other commands from measuring here, where the system has a way that leaves nothing behind."""
        if sys.platform != "linux":
            return {}
        self._held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._held.bind(HELD)
        except OSError as error:
            raise ImportError(
                "another slimedge command measures there, and each would slow the other; wait until it is done."
            ) from error
        return {}

    def do_put(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Write a file, or a further piece of it, into the current folder."""
        path = os.path.abspath(os.path.basename(request["name"]))
        with open(path, "ab" if request["more"] else "wb") as file:
            file.write(base64.b64decode(request["data"]))
        return {"path": path}

    def do_get(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Read a piece of a file."""
        with open(request["path"], "rb") as file:
            file.seek(request["offset"])
            piece = file.read(PIECE)
            return {"data": base64.b64encode(piece).decode(), "more": bool(file.read(1))}

    def do_load(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Load a model and run it once."""
        if request.get("priority"):
            process.raise_priority()
        most = facts.cores()
        threads = most if request["threads"] is None else request["threads"]
        if not 1 <= threads <= most:
            raise ValueError(
                "threads is {}, but a process may use 1 to {} there (processors that it is bound to, and its cgroup's "
                "quota).".format(threads, most)
            )
        if request.get("pin"):
            # Before any pool of threads, which inherits it.
            process.bind(facts.measuring_cpus(threads * request.get("workers", 1)))
        self._require()
        self._memory.mark()
        begin = self._clock()
        self._model = self._backend.load(
            request["model"], request["format"], threads=threads, **request.get("options", {})
        )
        loaded = self._clock()
        self._loaded, self._workers = dict(request, threads=threads), [self._model]
        grids = request.get("grids", {})
        self._inputs = arrays.with_grids(self._model.inputs, grids.get("inputs", {}))
        self._outputs = arrays.with_grids(self._model.outputs, grids.get("outputs", {}))
        self._feeds = self._timing_feeds(request)
        self._run = self._model.bind(self._feeds)
        bound = self._clock()
        self._run()
        ran = self._clock()
        self._resident_run = self._model.bind_resident(self._feeds)
        if self._resident_run is not None:
            self._resident_run()
        gc.collect()
        gc.disable()  # a collection in the middle of a run would be timed as the model's
        self._model_bytes = self._memory.growth_bytes()
        if request.get("slowdown"):
            self._run = self._stretched(self._run, request["slowdown"])
        return {
            "load_s": (loaded - begin) / 1e9,
            "first_run_s": (ran - bound) / 1e9,
            "inputs": self._inputs,
            "outputs": self._outputs,
            "provider": self._model.provider,
            "resident": self._resident_run is not None,
            "model_bytes": self._model_bytes,
        }

    def do_warm(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Run in windows until the medians of the last few lie together, or the time is up."""
        begin = self._clock()
        runs = 0
        medians: List[float] = []
        while True:
            samples = self._sample(request["window_s"], 1, self._run)
            runs += len(samples)
            medians = [*medians, statistics.median(samples)][-WARM_WINDOWS:]
            close = max(medians) <= min(medians) * (1 + request["tolerance"])
            stable = close and len(medians) == WARM_WINDOWS
            seconds = (self._clock() - begin) / 1e9
            if stable or seconds >= request["warm_limit_s"]:
                return {"runs": runs, "seconds": seconds, "stable": stable, "run_s": medians[-1] / 1e9}

    def do_time(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Time runs, after some that are not kept."""
        run = self._resident_run if request.get("resident") else self._run
        before = sensors.energy()
        # Not kept: another process has just used the caches, and so has the reading of the counters.
        settling = self._sample(request["settle_s"], 1, run)
        samples = self._sample(request["seconds"], request["runs"], run)
        spent_j = sensors.energy_between(before, sensors.energy())
        runs = len(settling) + len(samples)
        return {"samples_ns": samples, "energy_j": None if spent_j is None else spent_j / runs}

    def do_scenario(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Run a scenario; see `load_generator.py`."""
        loaded, samples = self._loaded, request["samples"]
        while len(self._workers) < request["concurrency"]:
            self._workers.append(
                self._backend.load(
                    loaded["model"], loaded["format"], threads=loaded["threads"], **loaded.get("options", {})
                )
            )
        batch = arrays.fixed_batch(self._inputs) or samples
        feeds = self._timing_feeds(dict(loaded, batch=batch))
        runs = [
            load_generator.repeated(model.bind(feeds), samples // batch)
            for model in self._workers[: request["concurrency"]]
        ]
        for run in runs:
            run()  # the first one of a new batch gets its memory
        answer: Dict[str, Any] = load_generator.generate(request["settings"], runs)
        return answer

    def do_predict(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Run all examples of an archive and write the outputs as floats."""
        feeds = arrays.native_feeds(arrays.read_arrays(request["inputs"]), self._inputs)
        rows = len(next(iter(feeds.values())))
        pieces = [self._model.run(batch) for batch in arrays.batches(feeds, arrays.fixed_batch(self._inputs))]
        arrays.write_arrays(request["outputs"], arrays.joined_outputs(pieces, self._outputs, rows))
        return {"rows": rows}

    def do_ops(self, _request: Dict[str, Any]) -> Dict[str, Any]:
        """Count what the runtime executes."""
        return dict(self._model.ops(self._feeds))

    def do_profile(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Time every op, between runs without a profiler to compare with."""
        profile = getattr(self._model, "profile", None)
        if profile is None:
            return {"ops": None}
        usual_ns = statistics.median(self._sample(request["seconds"] / 10, LEAST_PROFILED, self._run))
        runs = int(min(request["runs"], max(LEAST_PROFILED, request["seconds"] * 1e9 / usual_ns)))
        before = self._sample(0.0, runs, self._run)
        told = profile(self._feeds, warm_runs=max(1, runs // 5), runs=runs)
        return {**told, "samples_ns": [*before, *self._sample(0.0, runs, self._run)]}

    def do_memory(self, _request: Dict[str, Any]) -> Dict[str, Any]:
        """Give the highest memory of this process so far, and what of it is the model's."""
        return {"peak_rss_bytes": self._memory.peak_bytes(), "model_bytes": self._model_bytes}

    def _sample(self, seconds: float, runs: int, run: Callable[[], Any]) -> List[int]:
        """Time runs one by one, at least so many and for at least so long, in nanoseconds."""
        clock = self._clock
        samples: List[int] = []
        deadline = clock() + int(seconds * 1e9)
        while True:
            begin = clock()
            run()
            end = clock()
            samples.append(end - begin)
            if end >= deadline and len(samples) >= runs:
                return samples

    def _stretched(self, run: Callable[[], Any], share: float) -> Callable[[], Any]:
        clock = self._clock

        def slower() -> Any:
            begin = clock()
            result = run()
            end = clock()
            until = end + int((end - begin) * share)
            while clock() < until:
                pass
            return result

        return slower

    def _timing_feeds(self, request: Dict[str, Any]) -> Dict[str, Any]:
        batch = arrays.fixed_batch(self._inputs) or request["batch"]
        if request.get("inputs"):
            given = arrays.repeated(arrays.read_arrays(request["inputs"]), batch)
        else:
            given = arrays.random_arrays(self._inputs, batch, request["seed"])
        return arrays.native_feeds(given, self._inputs)


def _of_the_system(error: OSError) -> str:
    told = error.strerror or str(error)
    return "{}: {}".format(os.path.basename(str(error.filename)), told) if error.filename else told


def load_backend(path: str) -> Any:
    """Give what a backend's file offers; what lies beside that file, it can import by `from . import`."""
    folder, name = os.path.split(os.path.abspath(path))
    _package(BACKENDS, folder)
    return importlib.import_module("{}.{}".format(BACKENDS, os.path.splitext(name)[0])).BACKEND


def main() -> None:
    """Answer until there is nobody to ask."""
    parser = argparse.ArgumentParser(prog="agent.py")
    parser.add_argument("--cores", type=int)
    parser.add_argument("backend", nargs="?")
    arguments = parser.parse_args()
    # Runtimes print to stdout, from C too; the answers go where only we write.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    process.end_with_parent()
    backend = arguments.backend and load_backend(arguments.backend)
    if arguments.cores is not None:
        process.bind(facts.measuring_cpus(arguments.cores))
    agent = Agent(backend)
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "quit":
            break
        if hasattr(signal, "setitimer"):  # its default action ends the process, native code or not
            signal.setitimer(signal.ITIMER_REAL, request.get("limit_s", 0))
        answers.write(RECORD + json.dumps(agent.answer(request)) + "\n")
        answers.flush()
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
    os._exit(0)  # drivers of GPUs may crash when they are unloaded


if __name__ == "__main__":
    main()
