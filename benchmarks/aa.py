"""Does the measuring tell a difference only where there is one?

    python -m slimedge.benchmarks.aa MODEL… [--comparisons 20] [--output benchmarks/results/aa.json]

Compares each file with itself, which must come out as "no difference", and with itself slowed down by 10 % inside the
agent, which must come out as `worse`; at least 19 times in 20 both. Exits 1 where that is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slimedge.artifact import Artifact
from slimedge.artifact_file import read_artifact
from slimedge.benchmarks.judging import judge
from slimedge.benchmarks.latency import SETTINGS, Settings, measure_latency, speedups
from slimedge.comparison import Speedup, Variant, Verdict
from slimedge.runtime.devices.local import Local
from slimedge.runtime.jobs import environment_here
from slimedge.runtime.protocols import Agent
from slimedge.runtime.targets import Target, target_for

SLOWDOWN = 0.10
LEAST_RIGHT = 0.95


class SlowedAgent:
    """An agent whose every run takes longer by a share."""

    def __init__(self, agent: Agent, share: float) -> None:
        self._agent = agent
        self._share = share

    def ask(self, do: str, /, **fields: Any) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        self.send(do, **fields)
        return self.receive()

    def send(self, do: str, /, **fields: Any) -> None:
        """Send a request without waiting."""
        self._agent.send(do, **{**fields, "slowdown": self._share} if do == "load" else fields)

    def receive(self) -> dict[str, Any]:
        """Wait for the answer to what was sent."""
        return self._agent.receive()


@dataclass(frozen=True, slots=True)
class Trial:
    """One comparison of a file with itself.

    Attributes:
        file: its name.
        slowdown: injected share.
        speedup: that was found.
        verdict: that followed.
        right: whether it is the true one.
        launches: that it took.
        seconds: that it took.
        median_s: of the unslowed file's latency.
    """

    file: str
    slowdown: float
    speedup: Speedup
    verdict: Verdict
    right: bool
    launches: int
    seconds: float
    median_s: float


def compare_with_itself(artifact: Artifact, *, slowdown: float, threads: int, settings: Settings) -> Trial:
    """Measure a file against itself, slowed down by a share, and judge the difference as every comparison is judged."""

    @contextmanager
    def start(name: str, target: Target) -> Iterator[Agent]:
        with Local().start(target.backend, limit_s=settings.limit_s) as agent:
            yield SlowedAgent(agent, slowdown) if name == "again" else agent

    target = target_for(artifact)
    begin = time.monotonic()
    run = measure_latency(
        [("first", artifact, target), ("again", artifact, target)],
        threads=threads,
        settings=settings,
        start=start,
    )
    found = speedups(run, "first")["again"]
    first = Variant("first", str(artifact.format), target.backend, run["first"].provider)
    again = Variant("again", str(artifact.format), target.backend, run["again"].provider, speedup=found)
    verdict = judge(again, first).verdict
    return Trial(
        file=artifact.path.name,
        slowdown=slowdown,
        speedup=found,
        verdict=verdict,
        right=verdict is (Verdict.WORSE if slowdown else Verdict.NO_DIFFERENCE),
        launches=1 + run["first"].turns[-1].launch,
        seconds=time.monotonic() - begin,
        median_s=run["first"].latency.p50,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparisons, write what came out, and give the exit status."""
    parser = argparse.ArgumentParser(prog="aa", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--comparisons", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--effort", choices=list(SETTINGS), default="default")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/aa.json"))
    given = parser.parse_args(arguments)
    summaries = []
    trials: list[Trial] = []
    for path in given.models:
        artifact = read_artifact(path)
        for slowdown in (0.0, SLOWDOWN):
            group = []
            for number in range(given.comparisons):
                trial = compare_with_itself(
                    artifact, slowdown=slowdown, threads=given.threads, settings=SETTINGS[given.effort]
                )
                group.append(trial)
                _say(
                    f"{trial.file}  {slowdown:4.0%} slower  {number + 1:2}/{given.comparisons}  "
                    f"{trial.speedup.value:.4f} ({trial.speedup.low:.4f} to {trial.speedup.high:.4f})  "
                    f"{trial.verdict}  {trial.launches} launches, {trial.seconds:.1f} s"
                )
            trials += group
            right = sum(trial.right for trial in group)
            enough = right >= LEAST_RIGHT * len(group)
            summaries.append(
                {"file": path.name, "slowdown": slowdown, "right": right, "of": len(group), "ok": enough}
            )
            _say(f"{path.name}  {slowdown:4.0%} slower: {right} of {len(group)} right")
    environment = environment_here(given.threads, ("onnxruntime", "ai-edge-litert", "numpy"))
    given.output.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "environment": asdict(environment),
        "summary": summaries,
        "trials": [asdict(trial) for trial in trials],
    }
    given.output.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if all(summary["ok"] for summary in summaries) else 1


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
