"""Which examples go where: seeded, stratified, and the same on every machine."""

from __future__ import annotations

import numpy as np

from slimedge.errors import InputError
from slimedge.source import Array, Indices


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


def chosen(pool: Indices, n: int, classes: Array | None, seed: tuple[int, ...]) -> Indices:
    """Choose n rows of a pool at random, each class with its share (within one example).

    Args:
        pool: rows (m,) to choose from, m ≥ n.
        n: how many.
        classes: (m,) the pool's classes, or None to choose without regard to classes.
        seed: of the order.

    Returns:
        n different rows of the pool, in random order.
    """
    if n == 0:
        return pool[:0]
    order = shuffled(len(pool), seed)
    if classes is not None:
        by_class = order[np.argsort(classes[order], kind="stable")]
        # Every m/n-th of the rows sorted by class: systematic sampling, in exact integers.
        picked = by_class[(2 * np.arange(n, dtype=np.int64) + 1) * len(pool) // (2 * n)]
        picked = picked[shuffled(n, (*seed, n))]
    else:
        picked = order[:n]
    return pool[picked]


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
