"""Which examples go where: seeded, stratified, and the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from slimedge.errors import InputError
from slimedge.source import Array, Indices

if TYPE_CHECKING:
    from slimedge.data import Data


@dataclass(frozen=True, slots=True)
class Splits:
    """Three parts of one data set without an example in common.

    Attributes:
        calibration: to find the ranges of activations.
        training: for methods that train.
        evaluation: to measure accuracy on; never looked at before.
    """

    calibration: Data
    training: Data
    evaluation: Data


def shuffled(n: int, seed: int | tuple[int, ...]) -> Indices:
    """Give 0…n-1 in an order that depends on the seed alone.

    numpy keeps the raw stream of a bit generator the same for ever, while the methods of its
    Generator may change (NEP 19); so the order is that of raw 64-bit keys.

    Example:
        >>> shuffled(5, seed=0).tolist() == shuffled(5, seed=0).tolist()
        True
    """
    keys = np.asarray(np.random.PCG64(seed).random_raw(n), np.uint64)
    return np.argsort(keys, kind="stable").astype(np.int64)


def drawing_order(n: int, classes: Array | None, seed: tuple[int, ...]) -> Indices:
    """Give 0…n-1 in a random order of which every beginning and every end holds each class with its share.

    Drawing from it is stratified, and drawing more later keeps what was drawn before: with one seed,
    what is taken from the beginning and what from the end meet only when all of it is used up.

    Args:
        n: how many there are.
        classes: (n,) of each, or None to order without regard to classes.
        seed: of the order.

    Returns:
        The order, (n,) int64.

    Example:
        >>> classes = np.array([0, 0, 0, 0, 1, 1])
        >>> classes[drawing_order(6, classes, (0,))].tolist()
        [0, 1, 0, 0, 1, 0]
    """
    order = shuffled(n, seed)
    if classes is None:
        return order
    position = np.argsort(order)
    by_class = order[np.argsort(classes[order], kind="stable")]
    _, sizes = np.unique(classes, return_counts=True)
    rank = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    # The k-th of m examples of a class goes to the share (k + ½) / m of the order; ties fall at random.
    share = (2 * rank + 1) / (2 * np.repeat(sizes, sizes))
    return by_class[np.lexsort((position[by_class], share))]


def count_of(amount: object, available: int, name: str) -> int:
    """Turn a count or a fraction into a count.

    Args:
        amount: an integer is a count, a float in 0…1 a fraction.
        available: how many examples there are to take it from.
        name: of the argument, for the message.

    Returns:
        The count; a fraction of a non-empty set is at least 1.

    Raises:
        InputError: it is neither, or more than there are.

    Example:
        >>> count_of(0.2, 50, "evaluation"), count_of(20, 50, "evaluation")
        (10, 20)
    """
    if isinstance(amount, float) and 0 < amount <= 1:
        return min(available, max(1, round(amount * available)))
    if isinstance(amount, bool) or not isinstance(amount, int | np.integer) or amount < 0:
        raise InputError(
            f"{name}={amount!r} is not allowed: give a count (an integer from 0) or a fraction (a float "
            "above 0 and up to 1)."
        )
    if amount > available:
        raise InputError(
            f"{name}={amount:,} asks for more examples than there are, {available:,}; ask for at most that "
            "many, or give more data."
        )
    return int(amount)
