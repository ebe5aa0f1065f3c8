"""Which units of weights stay: the largest of each weight, or of all weights together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.sparsity.axes import Axes
from slimedge.compress.sparsity.patterns import Mask, Pattern

RANKINGS = ("layer", "global")


def kept_count(size: int, sparsity: float) -> int:
    """Give how many of `size` stay at a sparsity: round(size · (1 - sparsity)) in float32, 1 at least, as in TFMOT.

    Example:
        >>> kept_count(10, 0.5), kept_count(10, 0.75), kept_count(3, 0.99)
        (5, 2, 1)
    """
    return max(int(np.round(np.float32(size) * (np.float32(1) - np.float32(sparsity)))), 1)


def largest(scores: NDArray[np.float64], count: int) -> Mask:
    """Give where the `count` largest of some numbers are; among equal ones the first.

    Example:
        >>> largest(np.array([3.0, 1.0, 3.0, 3.0]), 2).tolist()
        [True, False, True, False]
    """
    if count >= scores.size:
        return np.ones(scores.shape, np.bool_)
    threshold = np.partition(scores, scores.size - count)[scores.size - count]
    found: Mask = scores > threshold
    found[np.flatnonzero(scores == threshold)[: count - int(found.sum())]] = True
    return found


def masks(
    weights: Sequence[NDArray[Any]],
    axes: Sequence[Axes],
    pattern: Pattern,
    sparsity: float,
    *,
    ranking: str = "layer",
) -> list[Mask]:
    """Give where weights stay.

    TFMOT also keeps what is as large as the smallest that stays; here the number is exact.

    Args:
        weights: of any shapes.
        axes: of each.
        pattern: that each can have.
        sparsity: share of the units that go, in 0…1; one that the pattern fixes is taken instead.
        ranking: `layer` for this share of each weight, `global` for this share of all, of which at least one unit of
            each weight stays.

    Returns:
        True where a weight stays, in the shape of each.
    """
    scores = [pattern.scores(weight, at) for weight, at in zip(weights, axes, strict=True)]
    if pattern.sparsity is not None:
        kept = [each > 0 for each in scores]
    elif ranking == "global":
        kept = _of_all(scores, sparsity)
    else:
        kept = [largest(each, kept_count(each.size, sparsity)) for each in scores]
    return [
        pattern.spread(found, weight.shape, at) for found, weight, at in zip(kept, weights, axes, strict=True)
    ]


def _of_all(scores: Sequence[NDArray[np.float64]], sparsity: float) -> list[Mask]:
    joined = np.concatenate(scores)
    starts = np.cumsum([0, *(each.size for each in scores[:-1])])
    # A layer of which nothing stays would give the same whatever it is given.
    joined[[start + int(np.argmax(each)) for start, each in zip(starts, scores, strict=True)]] = np.inf
    kept = largest(joined, max(kept_count(joined.size, sparsity), len(scores)))
    return np.split(kept, starts[1:])
