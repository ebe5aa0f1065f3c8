"""The agent: loads one model in a process of its own, feeds it, times it, and answers in JSON lines.

    python agent.py BACKEND_FILE   a conversation: a request a line on stdin, an answer a line
    python agent.py --cores N …    as if the machine had so many processors
    python agent.py                without a backend: keeps files and holds the machine

Self-contained: this file with `facts.py`, `sensors.py` and `load_generator.py` beside it, the backend's file, numpy and
one runtime, from Python 3.8 on; so the same files measure here, over SSH or on an emulated board. A crash in native
code, an endless loop or too little memory ends this process and no other.

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
import contextlib
import gc
import importlib.util
import json
import os
import select
import signal
import socket
import statistics
import sys
import threading
import time
import zipfile
from typing import Any, Callable, Dict, Iterator, List, Optional

HERE = os.path.dirname(os.path.realpath(__file__))
if __name__ == "__main__":
    # A script's own folder comes first on the path, where our file names would shadow other people's modules.
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != os.path.realpath(HERE)]

NO_NUMPY = 78  # EX_CONFIG of sysexits.h

try:
    import numpy as np
except ImportError:
    if __name__ != "__main__":
        raise
    sys.exit(NO_NUMPY)

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
        facts: the module `facts`.
        sensors: the module `sensors`.
        load_generator: the module `load_generator`.
        clock: gives nanoseconds.
    """

    def __init__(
        self,
        backend: Any,
        facts: Any,
        sensors: Any,
        load_generator: Any,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._backend = backend
        self._facts = facts
        self._sensors = sensors
        self._load_generator = load_generator
        self._clock = clock
        self._model: Any = None
        self._loaded: Dict[str, Any] = {}
        self._workers: List[Any] = []
        self._feeds: Dict[str, Any] = {}
        self._run: Callable[[], Any] = lambda: None
        self._resident_run: Any = None
        self._earlier_peak = 0
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
        facts = self._facts.environment(
            request["threads"] or self._facts.cores(), tuple(self._backend.packages)
        )
        named: Dict[str, str] = getattr(self._backend, "devices", dict)() if request.get("devices") else {}
        return {"facts": facts, "providers": providers, "devices": named}

    def _require(self) -> None:
        reason = self._backend.missing()
        if reason is not None:
            raise ImportError(reason + ".")
        self._backend.prepare()

    def do_state(self, _request: Dict[str, Any]) -> Dict[str, Any]:
        """Give what changes while a machine works."""
        return {"temperature_c": self._sensors.temperature_c(), "throttled": self._sensors.throttled()}

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
            _raise_priority()
        most = self._facts.cores()
        threads = most if request["threads"] is None else request["threads"]
        if not 1 <= threads <= most:
            raise ValueError(
                "threads is {}, but a process may use 1 to {} there (processors that it is bound to, and its cgroup's "
                "quota).".format(threads, most)
            )
        if request.get("pin"):
            _bind(
                self._facts.measuring_cpus(threads * request.get("workers", 1))
            )  # before any pool of threads, which inherits it
        self._require()
        before = self._reset_peak()
        begin = self._clock()
        self._model = self._backend.load(
            request["model"], request["format"], threads=threads, **request.get("options", {})
        )
        loaded = self._clock()
        self._loaded, self._workers = dict(request, threads=threads), [self._model]
        self._complete_grids(request.get("grids", {}))
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
        after = _status_bytes("VmHWM")
        if before is not None and after is not None:
            self._model_bytes = after - before
        if request.get("slowdown"):
            self._run = self._stretched(self._run, request["slowdown"])
        return {
            "load_s": (loaded - begin) / 1e9,
            "first_run_s": (ran - bound) / 1e9,
            "inputs": self._model.inputs,
            "outputs": self._model.outputs,
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
        before = self._sensors.energy()
        # Not kept: another process has just used the caches, and so has the reading of the counters.
        settling = self._sample(request["settle_s"], 1, run)
        samples = self._sample(request["seconds"], request["runs"], run)
        spent_j = self._sensors.energy_between(before, self._sensors.energy())
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
        batch = self._fixed_batch() or samples
        feeds = self._timing_feeds(dict(loaded, batch=batch))
        runs = [
            self._load_generator.repeated(model.bind(feeds), samples // batch)
            for model in self._workers[: request["concurrency"]]
        ]
        for run in runs:
            run()  # the first one of a new batch gets its memory
        answer: Dict[str, Any] = self._load_generator.generate(request["settings"], runs)
        return answer

    def do_predict(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Run all examples of an archive and write the outputs as floats."""
        feeds = self._native(read_arrays(request["inputs"]))
        rows = len(next(iter(feeds.values())))
        pieces = [self._model.run(piece) for piece in self._batches(feeds, rows)]
        outputs = {}
        for spec in self._model.outputs:
            name = spec["name"]
            if any(piece[name].ndim == 0 for piece in pieces):
                raise ValueError("output '{}' has no batch: its first size must be the batch's.".format(name))
            outputs[name] = dequantize(np.concatenate([piece[name] for piece in pieces])[:rows], spec)
        write_arrays(request["outputs"], outputs)
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
        return {"peak_rss_bytes": self._peak(), "model_bytes": self._model_bytes}

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

    def _complete_grids(self, grids: Dict[str, Any]) -> None:
        """Fill in scale and zero point of integer inputs and outputs, which an ONNX file only tells by its nodes."""
        for side in ("inputs", "outputs"):
            for spec in getattr(self._model, side):
                grid = grids.get(side, {}).get(spec["name"])
                if grid is not None and spec["scale"] is None and np.dtype(spec["dtype"]).kind in "iu":
                    spec.update(scale=grid[0], zero_point=grid[1])

    def _timing_feeds(self, request: Dict[str, Any]) -> Dict[str, Any]:
        batch = self._fixed_batch() or request["batch"]
        if request.get("inputs"):
            arrays = read_arrays(request["inputs"])
            feeds = {name: np.resize(array, (batch, *array.shape[1:])) for name, array in arrays.items()}
        else:
            generator = np.random.default_rng(request["seed"])
            feeds = {spec["name"]: _random(spec, batch, generator) for spec in self._model.inputs}
        return self._native(feeds)

    def _native(self, arrays: Dict[str, Any]) -> Dict[str, Any]:
        """Check arrays against the inputs and give them as the file takes them."""
        feeds = {}
        for spec in self._model.inputs:
            name, shape = spec["name"], spec["shape"]
            if name not in arrays:
                raise ValueError(
                    "input '{}' is missing; the model takes {} and was given {}.".format(
                        name, _names(self._model.inputs), ", ".join(sorted(arrays)) or "nothing"
                    )
                )
            array = arrays[name]
            fits = array.ndim == len(shape) and all(
                size in (None, given) for size, given in zip(shape[1:], array.shape[1:])
            )
            if not fits or not len(array):
                raise ValueError(
                    "input '{}' takes the shape {} and was given {}.".format(
                        name, ("batch", *shape[1:]), array.shape
                    )
                )
            feeds[name] = quantize(array, spec)
        if len({len(array) for array in feeds.values()}) > 1:
            raise ValueError(
                "the inputs must have as many examples each; they have {}.".format(
                    ", ".join("{} {}".format(name, len(array)) for name, array in feeds.items())
                )
            )
        return feeds

    def _fixed_batch(self) -> Optional[int]:
        return next((spec["shape"][0] for spec in self._model.inputs if spec["shape"]), None)

    def _batches(self, feeds: Dict[str, Any], rows: int) -> Iterator[Dict[str, Any]]:
        """Cut rows to the batch that the file is fixed to; the last one is filled up with its last example."""
        size = self._fixed_batch() or rows
        for start in range(0, rows, size):
            piece = {name: array[start : start + size] for name, array in feeds.items()}
            missing = start + size - rows
            yield {
                name: np.pad(a, [(0, max(0, missing)), *[(0, 0)] * (a.ndim - 1)], "edge")
                for name, a in piece.items()
            }

    def _reset_peak(self) -> Optional[int]:
        """Start a new peak, so that a model's memory can be told from its runtime's; None where that cannot be done."""
        self._earlier_peak = self._peak() or 0
        try:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
        except OSError:
            return None
        return _status_bytes("VmRSS")

    def _peak(self) -> Optional[int]:
        # Not getrusage: what it calls our peak includes that of the process that started us, before exec.
        peak = _status_bytes("VmHWM")
        return None if peak is None else max(peak, self._earlier_peak)


def quantize(array: Any, spec: Dict[str, Any]) -> Any:
    """Give numbers as an input takes them: q = clip(round(x / scale) + zero_point)."""
    dtype = np.dtype(spec["dtype"])
    if dtype.kind not in "iu":
        return np.ascontiguousarray(array, dtype=dtype)
    limits = np.iinfo(dtype)
    if spec.get("scale") is None:
        if not np.array_equal(array, np.clip(np.rint(array), limits.min, limits.max)):
            raise ValueError(
                "input '{}' takes whole numbers in {}...{} and the file names no scale to quantize others with; "
                "give such numbers, or export the model again.".format(spec["name"], limits.min, limits.max)
            )
        return np.ascontiguousarray(array, dtype=dtype)
    steps = np.rint(np.asarray(array, np.float32) / np.float32(spec["scale"])) + spec["zero_point"]
    return np.ascontiguousarray(np.clip(steps, limits.min, limits.max).astype(dtype))


def dequantize(array: Any, spec: Dict[str, Any]) -> Any:
    """Give an output's numbers as float32: x = scale · (q - zero_point); integers without a scale stay as they are."""
    if spec.get("scale") is None:
        return array.astype(np.float32) if array.dtype == np.float16 else array
    return (array.astype(np.float32) - np.float32(spec["zero_point"])) * np.float32(spec["scale"])


def _random(spec: Dict[str, Any], batch: int, generator: Any) -> Any:
    shape = (batch, *(size or 1 for size in spec["shape"][1:]))
    if np.dtype(spec["dtype"]).kind == "f" or spec.get("scale") is not None:
        return generator.random(shape, dtype=np.float32)
    return generator.integers(0, 2, shape)  # indices, say, that any embedding has


def read_arrays(path: str) -> Dict[str, Any]:
    """Read an `.npz` file."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def write_arrays(path: str, arrays: Dict[str, Any]) -> None:
    """Write an `.npz` file with arrays of any name; for numpy's own `savez`, one named `file` is the file."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(name + ".npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def _of_the_system(error: OSError) -> str:
    told = error.strerror or str(error)
    return "{}: {}".format(os.path.basename(str(error.filename)), told) if error.filename else told


def _names(specs: List[Dict[str, Any]]) -> str:
    return ", ".join("'{}'".format(spec["name"]) for spec in specs)


def _status_bytes(field: str) -> Optional[int]:
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return None


def _bind(cpus: List[int]) -> None:
    """Run on these processors only, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


def _raise_priority() -> None:
    """Come before other programs where this user may, as `nice -n -10` would.

    A model of some milliseconds is otherwise interrupted in most of its runs on a busy machine, and its median is
    then that of the interruptions. Linux weighs sessions first, processes within their session second.
    """
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as file:
        file.write("-10")
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)


def _from_file(path: str, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("{} is not a Python file.".format(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _end_with_parent() -> None:
    """End as soon as nobody can ask any more, even in the middle of a run; sleeps in the kernel until then."""
    poll = select.poll()
    poll.register(0, 0)  # a hang-up is reported without being asked for

    def wait() -> None:
        poll.poll()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Answer until there is nobody to ask."""
    parser = argparse.ArgumentParser(prog="agent.py")
    parser.add_argument("--cores", type=int)
    parser.add_argument("backend", nargs="?")
    arguments = parser.parse_args()
    # Runtimes print to stdout, from C too; the answers go where only we write.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if hasattr(select, "poll"):
        _end_with_parent()
    backend = arguments.backend and _from_file(arguments.backend, "slimedge_agent_backend").BACKEND
    facts, sensors, load_generator = (
        _from_file(os.path.join(HERE, name + ".py"), "slimedge_agent_" + name)
        for name in ("facts", "sensors", "load_generator")
    )
    if arguments.cores is not None:
        _bind(facts.measuring_cpus(arguments.cores))
    agent = Agent(backend, facts, sensors, load_generator)
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
