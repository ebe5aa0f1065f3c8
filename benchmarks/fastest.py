"""Only if faster: of several files for one target, the fastest that is faster than float and answers as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimedge.benchmarks import latency
from slimedge.benchmarks.judging import SPEED_MARGIN
from slimedge.comparison import Speedup
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    from slimedge.artifact import Artifact
    from slimedge.runtime.targets import Target

FLOAT = "float"


@dataclass(frozen=True, slots=True)
class Contender:
    """One file that was tried for a target.

    Attributes:
        name: what is special about it.
        file_bytes: its size; None where it could not be made.
        speedup: over the float file, in the interleaved run of all; None where it did not run.
        drop: of accuracy against the float model, as a share and with one standard error; None where the answers are
            not classes, or were not looked at.
        failure: why it could not be made or run, or None.
    """

    name: str
    file_bytes: int | None = None
    speedup: Speedup | None = None
    drop: float | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Contest:
    """What was tried for a target, and what won.

    Attributes:
        target: where it ran.
        float_latency_s: median of the float file.
        contenders: in the order in which they are preferred.
        winner: name of one, or None where float stays the best.
        reason: a sentence that says why.
    """

    target: str
    float_latency_s: float
    contenders: tuple[Contender, ...]
    winner: str | None
    reason: str


def decide(
    target: str, float_latency_s: float, contenders: Sequence[Contender], *, largest_drop: float | None = None
) -> Contest:
    """Choose among what was measured.

    A file is only ever chosen where the 95 % interval of its speedup lies above 1 by more than two runs of one file
    differ. Among those within the accuracy that may be lost, the fastest wins; one before it in the row wins where
    their intervals overlap.

    Args:
        target: where they ran.
        float_latency_s: median of the float file.
        contenders: the preferred ones first.
        largest_drop: share of accuracy that may be lost; None looks at the speed alone.
    """
    faster = [one for one in contenders if one.speedup is not None and one.speedup.low > 1 + SPEED_MARGIN]
    exact = [one for one in faster if largest_drop is None or one.drop is None or one.drop <= largest_drop]
    if not exact:
        return Contest(
            target,
            float_latency_s,
            tuple(contenders),
            None,
            _why_float(target, contenders, faster, largest_drop),
        )
    quickest = max(exact, key=_speed)
    winner = next(one for one in exact if _ends(one)[1] >= _ends(quickest)[0])
    return Contest(
        target,
        float_latency_s,
        tuple(contenders),
        winner.name,
        f"{winner.name} runs at {_speed(winner):.2f}× the speed of float on {target}.",
    )


def race(
    baseline: Artifact,
    files: Mapping[str, Artifact],
    target: Target,
    *,
    threads: int = 1,
    effort: str = "quick",
    progress: Progress = silent,
) -> tuple[float, dict[str, Speedup]]:
    """Time files against the float one in one interleaved run.

    Args:
        baseline: the float file.
        files: by name, of the same format.
        target: where they run.
        threads: of the runtime.
        effort: how long to measure.
        progress: told what is being timed.

    Returns:
        The median latency of the float file in seconds, and the speedup of each other.
    """
    entries = [(FLOAT, baseline, target), *((name, file, target) for name, file in files.items())]
    run = latency.measure_latency(
        entries,
        threads=threads,
        settings=latency.SETTINGS[effort],
        progress=lambda share, name: progress(f"timing {name}", share),
    )
    return run[FLOAT].latency.p50, latency.speedups(run, FLOAT)


def _why_float(
    target: str, contenders: Sequence[Contender], faster: Sequence[Contender], largest_drop: float | None
) -> str:
    if faster:
        best = max(faster, key=_speed)
        return (
            f"no quantized file is faster than float on {target} and loses at most {100 * (largest_drop or 0):g} "
            f"points: {best.name} has {_speed(best):.2f}× the speed, and may lose {100 * (best.drop or 0):.2f}."
        )
    timed = [one for one in contenders if one.speedup is not None]
    if not timed:
        return f"no quantized file could be made and run on {target}."
    best = max(timed, key=_speed)
    return (
        f"no quantized file is faster than float on {target}: the fastest, {best.name}, has {_speed(best):.2f}× the "
        f"speed ({_ends(best)[0]:.2f} to {_ends(best)[1]:.2f})."
    )


def _speed(one: Contender) -> float:
    return one.speedup.value if one.speedup is not None else 0.0


def _ends(one: Contender) -> tuple[float, float]:
    return (one.speedup.low, one.speedup.high) if one.speedup is not None else (0.0, 0.0)
