"""How accurate a changed model is, in one line."""

from __future__ import annotations

from slimedge.benchmarks.accuracy import Score
from slimedge.benchmarks.reporting import figures


def accuracy_line(before: Score, after: Score) -> str:
    """Say how accurate a model was and is, how often both give one class, and how exact its outputs are.

    Args:
        before: of the model as it was.
        after: of what was made of it, paired with it.
    """
    parts = []
    if before.accuracy is not None and after.accuracy is not None and after.accuracy_delta is not None:
        delta = after.accuracy_delta
        parts.append(
            f"accuracy {figures.percent(before.accuracy.value)} before, {figures.percent(after.accuracy.value)} after "
            f"({figures.points(delta.value)} points, {figures.points(delta.low)} to {figures.points(delta.high)}, "
            f"{before.accuracy.n:,} examples)"
        )
    if after.agreement is not None:
        parts.append(f"same class on {figures.percent(after.agreement.value)} of {after.agreement.n:,}")
    if after.sqnr_db is not None:
        parts.append(f"output SQNR {after.sqnr_db:.1f} dB")
    return "; ".join(parts) or "no accuracy: the evaluation part is empty"
