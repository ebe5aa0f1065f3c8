"""Is a model as fast as in an earlier report? Pure; only for the same machine and set-up.

Two runs at different times differ by the state of the machine, which a speedup over one and the same file has cancelled
out of. So where both comparisons have the same baseline file, speedups are compared; else the times themselves, whose
margin is twice as wide: 20 runs of one file one after another differed by up to 5 % (benchmarks/results/aa.json).

A model is slower where the 95 % intervals of the two runs do not overlap and the time grew beyond the margin.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from slimedge.benchmarks import statistics
from slimedge.benchmarks.outcomes import Axis, Change, Outcome, Placed, Tolerances, outcome
from slimedge.benchmarks.reporting import figures
from slimedge.comparison import Speedup, Variant
from slimedge.measurement import Environment
from slimedge.runtime.backends import BACKENDS

MARGIN_OF_TIMES = 2.0  # times the margin of speedups


@dataclass(frozen=True, slots=True)
class _Pair:
    """How fast a model was and is, in one unit; `sentence` says so, and what the margin is."""

    before: Speedup
    now: Speedup
    sentence: str
    margin: float


def latency_outcome(before: Placed, now: Placed, tolerances: Tolerances) -> Outcome | None:
    """Compare how long one model takes in two reports.

    Args:
        before: in the earlier report.
        now: in the later one.
        tolerances: margin, and whether what cannot be compared fails.

    Returns:
        None for a baseline that is the same file in both, which the others' speed is measured against.
    """
    if now.is_baseline and before.is_baseline and _same_file(before.variant, now.variant):
        return None
    reason = _why_not(before, now)
    pair = None if reason else _pair(before, now, tolerances.latency_margin / 100.0)
    if pair is None:
        reason = (
            reason or "one of the reports keeps too little to tell the noise; write both with this version"
        )
        failed = tolerances.require_latency
        return outcome(now, Axis.LATENCY, Change.REFUSED, f"not compared: {reason}.", failed=failed)
    logs = [(np.log(each.value), np.log(each.low), np.log(each.high)) for each in (pair.now, pair.before)]
    longer, low, high = (float(np.exp(bound)) for bound in statistics.difference(logs[0], logs[1]))
    change = Change.SAME
    if pair.now.high < pair.before.low and longer > 1.0 + pair.margin:
        change = Change.WORSE
    elif pair.now.low > pair.before.high and longer < 1.0 / (1.0 + pair.margin):
        change = Change.BETTER
    margin = f"the margin of {100 * pair.margin:g} %"
    verdict = f"within noise or {margin}" if change is Change.SAME else f"{change} beyond noise and {margin}"
    sentence = f"{pair.sentence}: takes {longer:.2f} times as long ({low:.2f} to {high:.2f}), {verdict}."
    return outcome(now, Axis.LATENCY, change, sentence)


def differences(before: Environment, now: Environment, packages: Collection[str]) -> tuple[str, ...]:
    """Tell in which respects two environments differ that decide how fast a model runs.

    Args:
        before: of the earlier report.
        now: of the later one.
        packages: whose versions matter.

    Returns:
        One text a difference, `threads 2, was 1`; empty where the times may be compared.

    Example:
        >>> here = Environment("A", ("avx2",), 2, 1, None, None, "Linux", {"onnxruntime": "1.27"})
        >>> there = Environment("A", ("avx2",), 2, 2, None, None, "Linux", {"onnxruntime": "1.26"})
        >>> differences(there, here, ["onnxruntime"])
        ('threads 1, was 2', 'onnxruntime 1.27, was 1.26')
    """
    return tuple(_differences(before, now, packages))


def _differences(before: Environment, now: Environment, packages: Collection[str]) -> Iterator[str]:
    pairs: dict[str, tuple[object, object]] = {
        "CPU": (before.cpu, now.cpu),
        "instruction sets": (" ".join(sorted(before.isa)), " ".join(sorted(now.isa))),
        "cores": (before.cores, now.cores),
        "threads": (before.threads, now.threads),
        "governor": (before.governor, now.governor),
        "system": (before.system, now.system),
    }
    pairs |= {package: (before.versions.get(package), now.versions.get(package)) for package in packages}
    for name, (earlier, later) in pairs.items():
        if earlier != later:
            yield f"{name} {later or 'not known'}, was {earlier or 'not known'}"


def _packages(runtime: str, *environments: Environment) -> tuple[str, ...]:
    """Give the packages whose versions belong to what a runtime measured; of one that is not known here, all."""
    if runtime in BACKENDS:
        return tuple(BACKENDS[runtime].packages)
    return tuple(sorted({name for environment in environments for name in environment.versions}))


def _why_not(before: Placed, now: Placed) -> str | None:
    """Say why the times cannot be compared, or None where they can."""
    missing = [
        name
        for name, model in (("the earlier report", before), ("this report", now))
        if model.variant.latency_s is None and model.variant.speedup is None
    ]
    if missing:
        return f"there is no latency of it in {' and '.join(missing)}"
    if before.variant.runtime != now.variant.runtime:
        return f"it ran on {now.variant.runtime}, and on {before.variant.runtime} then"
    there, here = before.comparison.environment, now.comparison.environment
    found = differences(there, here, _packages(now.variant.runtime, there, here))
    if found:
        return f"the machine or set-up differs ({'; '.join(found)}); measure the baseline on this one"
    return None


def _pair(before: Placed, now: Placed, margin: float) -> _Pair | None:
    first, second = before.variant.speedup, now.variant.speedup
    if first is not None and second is not None and _same_reference(before, now):
        figure = f"{_times(second)} the speed of {now.comparison.baseline.name}, was {_times(first)}"
        return _Pair(first, second, figure, margin)
    first, second = _runs_per_second(before.variant), _runs_per_second(now.variant)
    if first is None or second is None:
        return None
    figure = f"{_duration(second, ' a run')}, was {_duration(first)}"
    return _Pair(first, second, figure, MARGIN_OF_TIMES * margin)


def _same_file(first: Variant, second: Variant) -> bool:
    """Tell whether two models are one file on one runtime, as far as reports tell."""
    fields = ("name", "format", "runtime", "provider", "file_bytes", "macs")
    return first.file_bytes is not None and all(
        getattr(first, field) == getattr(second, field) for field in fields
    )


def _same_reference(before: Placed, now: Placed) -> bool:
    """Tell whether both comparisons have one and the same baseline, on one version of its runtime."""
    there, here = before.comparison.environment, now.comparison.environment
    packages = _packages(now.comparison.baseline.runtime, there, here)
    return _same_file(before.comparison.baseline, now.comparison.baseline) and not differences(
        there, here, packages
    )


def _runs_per_second(model: Variant) -> Speedup | None:
    """Give the speed of a model alone, with the interval that its launches tell."""
    turns = None if model.latency_s is None else model.latency_s.turns
    if turns is None:
        return None
    medians_s = np.asarray(turns, np.float64)
    return statistics.speedup(np.ones_like(medians_s), medians_s)


def _times(speedup: Speedup) -> str:
    return f"{speedup.value:.2f}× ({speedup.low:.2f} to {speedup.high:.2f})"


def _duration(speed: Speedup, unit: str = "") -> str:
    low, high = figures.seconds(1.0 / speed.high), figures.seconds(1.0 / speed.low)
    return f"{figures.seconds(1.0 / speed.value)}{unit} ({low} to {high})"
