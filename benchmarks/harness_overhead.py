"""What the agent's own measuring adds to a latency: `make harness-overhead`.

A dense net that takes under 50 µs is loaded by an agent, and in the same process, on the same session, the agent's
sampling takes turns with loops that do nothing but look at the clock, run, and look at the clock again:

    ort      the latency that the agent tells, beside a loop around `session.run(names, feeds)`
    litert   the latency that the agent tells, beside a loop around `set_tensor`, `invoke` and `get_tensor`, which is
             what a latency covers: writing the inputs, one run, reading every output
    litert   the agent's sampling of `invoke` alone, beside a loop around `invoke()`

In each the agent's median may be at most 3 % above the loop's, in the whole of the ratio's 95 % interval; the run exits
1 where it is not. Beside them stands, without a bar, by how much LiteRT's latency is above `invoke()` alone: that is
the copying of inputs and outputs, a microsecond each, which ONNX Runtime does inside `run`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimedge.artifact import Artifact
from slimedge.artifact_file import read_artifact
from slimedge.benchmarks import statistics
from slimedge.benchmarks.bundled import conclude, show
from slimedge.comparison import Speedup
from slimedge.runtime.agent import Agent
from slimedge.runtime.backends import BACKENDS
from slimedge.runtime.jobs import load_request
from slimedge.runtime.protocols import Job
from slimedge.runtime.targets import target_for

MOST_S = 50e-6
MOST_RATIO = 1.03
UNITS = 256  # of the hidden layer: 200 k multiply-accumulates
LAUNCHES = 8
ROUNDS = 40
TURN_S = 0.01
WARM_S = 0.3

Samples = Callable[[], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Compared:
    """The agent's sampling beside a bare loop.

    Attributes:
        name: what is compared.
        agent_us: median of the agent's samples, in microseconds.
        bare_us: of the loop's.
        ratio: of the medians, over 1 where the agent's is the longer one, with a 95 % interval.
        most: that its upper end may be; None where there is no bar.
    """

    name: str
    agent_us: float
    bare_us: float
    ratio: Speedup
    most: float | None


# What is compared, by runtime: a name, the agent's turn, the bare loop's, and whether there is a bar.
COMPARISONS: Mapping[str, Sequence[tuple[str, str, str, bool]]] = {
    "ort": [("latency beside run()", "latency", "run", True)],
    "litert": [
        ("latency beside set_tensor, invoke() and get_tensor", "latency", "write, invoke, read", True),
        ("sampling of invoke beside invoke()", "sampled invoke", "invoke", True),
        ("latency beside invoke() alone", "latency", "invoke", False),
    ],
}


def sampled(file: Path) -> list[dict[str, float]]:
    """Load a file as an agent does and let the agent's sampling and bare loops take turns, in this process.

    Returns:
        For every round the median of each turn, in nanoseconds.
    """
    artifact = read_artifact(file)
    target = target_for(artifact)
    agent = Agent(BACKENDS[target.backend])
    answer = agent.answer({"do": "load", **load_request(Job(artifact, target), timed=True)})
    if not answer["ok"]:
        raise RuntimeError(answer["message"])
    turns = {"ort": _ort_turns, "litert": _litert_turns}[target.backend](agent)
    for turn in turns.values():
        end = time.monotonic() + WARM_S / len(turns)
        while time.monotonic() < end:
            turn()
    found: list[dict[str, float]] = []
    for number in range(ROUNDS):
        names = list(turns) if number % 2 == 0 else list(reversed(turns))
        found.append({name: float(np.median(turns[name]())) for name in names})
    return found


def _ort_turns(agent: Agent) -> dict[str, Samples]:
    run, feeds = agent._model._session.run, agent._feeds  # noqa: SLF001 - the same session for both
    names = agent._model._names  # noqa: SLF001 - without them ONNX Runtime looks them up in every run

    def bare() -> list[int]:
        clock = time.perf_counter_ns
        samples: list[int] = []
        deadline = clock() + int(TURN_S * 1e9)
        end = 0
        while end < deadline:
            begin = clock()
            run(names, feeds)
            end = clock()
            samples.append(end - begin)
        return samples

    return {"latency": lambda: agent._sample(TURN_S, 1, agent._run), "run": bare}  # noqa: SLF001


def _litert_turns(agent: Agent) -> dict[str, Samples]:
    interpreter, feeds = agent._model._interpreter, agent._feeds  # noqa: SLF001 - the same interpreter for all
    (value,) = feeds.values()
    given = agent._model._inputs[next(iter(feeds))]["index"]  # noqa: SLF001
    (taken,) = (detail["index"] for detail in agent._model._outputs.values())  # noqa: SLF001

    def bare() -> list[int]:
        clock = time.perf_counter_ns
        samples: list[int] = []
        deadline = clock() + int(TURN_S * 1e9)
        end = 0
        while end < deadline:
            begin = clock()
            interpreter.set_tensor(given, value)
            interpreter.invoke()
            interpreter.get_tensor(taken)
            end = clock()
            samples.append(end - begin)
        return samples

    def bare_invoke() -> list[int]:
        clock = time.perf_counter_ns
        samples: list[int] = []
        deadline = clock() + int(TURN_S * 1e9)
        end = 0
        while end < deadline:
            begin = clock()
            interpreter.invoke()
            end = clock()
            samples.append(end - begin)
        return samples

    return {
        "latency": lambda: agent._sample(TURN_S, 1, agent._run),  # noqa: SLF001
        "write, invoke, read": bare,
        "sampled invoke": lambda: agent._sample(TURN_S, 1, interpreter.invoke),  # noqa: SLF001
        "invoke": bare_invoke,
    }


def compare(runtime: str, launches: Sequence[Sequence[Mapping[str, float]]]) -> list[Compared]:
    """Give the ratios of what took turns.

    Args:
        runtime: that ran it.
        launches: for each process the medians of every round, in nanoseconds.
    """
    found = []
    for name, ours, bare, barred in COMPARISONS[runtime]:
        pair = [np.array([[turn[each] for turn in launch] for launch in launches]) for each in (ours, bare)]
        ours_us, bare_us = (float(np.median(medians)) / 1e3 for medians in pair)
        found.append(
            Compared(
                f"{runtime}: {name}",
                ours_us,
                bare_us,
                ratio=statistics.speedup(pair[0], pair[1]),
                most=MOST_RATIO if barred else None,
            )
        )
    return found


def missed(found: Sequence[Compared]) -> list[str]:
    """Name the bars that are missed."""
    lines = [
        f"{each.name}: {each.ratio.value:.4f} ({each.ratio.low:.4f} to {each.ratio.high:.4f}), at most {each.most}"
        for each in found
        if each.most is not None and each.ratio.high > each.most
    ]
    slow = [each for each in found if each.agent_us > MOST_S * 1e6]
    return lines + [f"{each.name}: {each.agent_us:.1f} µs is no model under 50 µs" for each in slow]


def make_model(folder: Path) -> tuple[Artifact, ...]:
    """Export a dense net with random weights to both formats."""
    import keras

    from slimedge.export.exporting import export_model

    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1), name="image"),
            layers.Flatten(),
            layers.Dense(UNITS, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ],
        name="dense",
    )
    return tuple(export_model(model, folder=folder))


def main() -> int:
    """Measure on both runtimes, print and write what was found, and give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--launches", type=int, default=LAUNCHES)
    parser.add_argument("--launch", type=Path, metavar="FILE", help="be one of the processes that measure")
    given = parser.parse_args()
    if given.launch is not None:
        sys.stdout.write(json.dumps(sampled(given.launch)) + "\n")
        return 0
    found: list[Compared] = []
    with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
        for artifact in make_model(Path(folder)):
            launches = [_launch(artifact.path) for _ in range(given.launches)]
            found += compare(target_for(artifact).backend, launches)
    for each in found:
        show(asdict(each))
    measured: dict[str, Any] = {
        "launches": given.launches,
        "rounds": ROUNDS,
        "turn_s": TURN_S,
        "compared": [asdict(each) for each in found],
    }
    return conclude("harness_overhead", measured, missed(found))


def _launch(file: Path) -> list[dict[str, float]]:
    command = [sys.executable, "-m", "slimedge.benchmarks.harness_overhead", "--launch", str(file)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    launch: list[dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return launch


if __name__ == "__main__":
    sys.exit(main())
