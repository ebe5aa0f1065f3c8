"""Are the answers as good as in an earlier report? Pure; on the same examples the answers are paired.

Where both reports keep what was answered to the same examples, a model is worse where the whole interval of the paired
difference lies below zero and McNemar's test agrees, as in `slimedge.benchmarks.judging`. Else the two shares are
compared as those of different examples (Newcombe, 1998), which takes a far larger difference to tell. Without labels
the classes of each report's own baseline stand in for the right ones. Where answers are no classes, the SQNR against
the baseline is compared: twice the noise is worse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimedge.benchmarks import statistics
from slimedge.benchmarks.judging import SIGNIFICANCE
from slimedge.benchmarks.outcomes import Axis, Change, Outcome, Placed, outcome
from slimedge.benchmarks.reporting import figures
from slimedge.comparison import Accuracy, Agreement

SQNR_MARGIN_DB = 3.0  # twice the power of the noise


@dataclass(frozen=True, slots=True)
class _Difference:
    """Now minus before, as shares; `p_value` is None where nothing is paired."""

    value: float
    low: float
    high: float
    p_value: float | None
    examples: str


def accuracy_outcome(before: Placed, now: Placed, max_drop: float = 0.0) -> Outcome | None:
    """Compare the answers of one model in two reports.

    Args:
        before: in the earlier report.
        now: in the later one.
        max_drop: percentage points that may be lost: it is worse where even the favourable bound is beyond them.

    Returns:
        None where neither report has any figure.
    """
    kind = _kind(before)
    if kind is None:
        if _kind(now) is None:
            return None
        return outcome(
            now, Axis.ACCURACY, Change.REFUSED, "not compared: the earlier report has no figure for it."
        )
    if getattr(now.variant, kind) is None:
        sentence = f"not compared: the {_WORDS[kind]} was measured then and is not now; give the same data."
        return outcome(now, Axis.ACCURACY, Change.REFUSED, sentence, failed=True)
    if kind == "sqnr_db":
        return _sqnr(before, now)
    share, earlier = getattr(now.variant, kind), getattr(before.variant, kind)
    found = _paired(before, now, labelled=kind == "accuracy") or _unpaired(before, now, earlier, share)
    change = _change(found, max_drop / 100.0)
    against = "" if kind == "accuracy" else f"same class as {now.comparison.baseline.name} on "
    p_value = "" if found.p_value is None else f", p = {found.p_value:.2g}"
    sentence = (
        f"{against}{figures.percent(share.value)}, was {figures.percent(earlier.value)}: {figures.points(found.value)} "
        f"points ({figures.points(found.low)} to {figures.points(found.high)}{p_value}) on {found.examples}, "
        f"{_verdict(found, change, max_drop)}."
    )
    return outcome(now, Axis.ACCURACY, change, sentence)


_WORDS = {"accuracy": "accuracy", "agreement": "agreement with the baseline", "sqnr_db": "SQNR"}


def _kind(model: Placed) -> str | None:
    return next((field for field in _WORDS if getattr(model.variant, field) is not None), None)


def _change(found: _Difference, allowed: float) -> Change:
    if found.p_value is not None and found.p_value >= SIGNIFICANCE:
        return Change.SAME
    if found.high < -allowed:
        return Change.WORSE
    return Change.BETTER if found.low > 0.0 else Change.SAME


def _verdict(found: _Difference, change: Change, max_drop: float) -> str:
    if change is Change.WORSE and max_drop:
        return f"worse by more than the {max_drop:g} points allowed"
    if change is not Change.SAME:
        return f"{change} beyond noise"
    if _change(found, 0.0) is Change.WORSE:
        return f"not shown to be more than the {max_drop:g} points allowed"
    return "within noise"


def _paired(before: Placed, now: Placed, *, labelled: bool) -> _Difference | None:
    """Compare example by example, where both answered the same ones."""
    right, earlier = _right(now, labelled=labelled), _right(before, labelled=labelled)
    if right is None or earlier is None or not _same_examples(before, now):
        return None
    gained, lost = int(np.sum(right & ~earlier)), int(np.sum(~right & earlier))
    n = len(right)
    low, high = statistics.paired_difference(gained, lost, n)
    p_value = statistics.mcnemar(gained, lost)
    return _Difference((gained - lost) / n, low, high, p_value, f"the same {n:,} examples")


def _right(model: Placed, *, labelled: bool) -> NDArray[np.bool_] | None:
    """Tell which answers are right; without labels, which are the baseline's."""
    kept = model.comparison.evaluation
    answers = None if kept is None else kept.answers.get(model.variant.name)
    if kept is None or answers is None:
        return None
    truth = kept.truth if labelled else kept.answers.get(model.comparison.baseline.name)
    if truth is None:
        return None
    right: NDArray[np.bool_] = np.equal(answers, truth)
    return right


def _same_examples(before: Placed, now: Placed) -> bool:
    """Tell whether both were scored on the same examples and the same output."""
    first, second = before.comparison.evaluation, now.comparison.evaluation
    if first is None or second is None:
        return False
    return (first.fingerprint, first.n, first.truth) == (second.fingerprint, second.n, second.truth)


def _unpaired(
    before: Placed, now: Placed, earlier: Accuracy | Agreement, share: Accuracy | Agreement
) -> _Difference:
    first, second = ((round(each.value * each.n), each.n) for each in (earlier, share))
    low, high = statistics.unpaired_difference(first, second)
    kept = before.comparison.evaluation is not None and now.comparison.evaluation is not None
    what = (
        "other examples"
        if kept and not _same_examples(before, now)
        else "examples whose answers were not kept"
    )
    return _Difference(
        share.value - earlier.value, low, high, None, f"{what} ({share.n:,}, was {earlier.n:,})"
    )


def _sqnr(before: Placed, now: Placed) -> Outcome:
    level, earlier = now.variant.sqnr_db or 0.0, before.variant.sqnr_db or 0.0
    rise = level - earlier
    change = (
        Change.BETTER if rise > SQNR_MARGIN_DB else Change.WORSE if rise < -SQNR_MARGIN_DB else Change.SAME
    )
    within = "within" if change is Change.SAME else "beyond"
    return outcome(
        now,
        Axis.ACCURACY,
        change,
        f"SQNR {level:.1f} dB, was {earlier:.1f} dB: {within} the {SQNR_MARGIN_DB:g} dB that are twice the noise.",
    )
