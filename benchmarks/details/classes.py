"""Which classes pay for a compression: right answers of each class before and after, and confusions that moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimedge.benchmarks.details.answers import NO_ANSWER

MOST_CONFUSIONS = 10


@dataclass(frozen=True, slots=True)
class ClassChange:
    """One class.

    Attributes:
        name: of the class.
        n: its examples.
        before: how many of them the baseline answers right.
        after: how many the variant does.
    """

    name: str
    n: int
    before: int
    after: int

    @property
    def change(self) -> int:
        """Right answers gained; negative where some were lost."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Confusion:
    """Examples of one class that are taken for another.

    Attributes:
        truth: name of the class.
        taken_for: name of the class that is answered.
        before: how often by the baseline.
        after: how often by the variant.
    """

    truth: str
    taken_for: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class ClassChanges:
    """What a variant does to the classes.

    Attributes:
        classes: those that have examples, the one that lost most first.
        confusions: those that moved most, at most so many as were asked for, the one that grew most first.
    """

    classes: tuple[ClassChange, ...]
    confusions: tuple[Confusion, ...]


def class_changes(
    truth: NDArray[np.int64],
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    names: Sequence[str],
    *,
    most: int = MOST_CONFUSIONS,
) -> ClassChanges:
    """Count right and wrong answers of each class before and after.

    Args:
        truth: (n,) classes.
        before: (n,) the baseline's answers; -1 is no answer, which counts as wrong and as no confusion.
        after: (n,) the variant's, likewise.
        names: of all classes.
        most: confusions to give.

    Example:
        >>> truth, before, after = np.array([0, 0, 1]), np.array([0, 0, 1]), np.array([0, 1, 1])
        >>> class_changes(truth, before, after, ("cat", "dog")).confusions
        (Confusion(truth='cat', taken_for='dog', before=0, after=1),)
    """
    count = len(names)
    n = np.bincount(truth, minlength=count)
    right = [np.bincount(truth[answers == truth], minlength=count) for answers in (before, after)]
    changes = [
        ClassChange(names[label], int(n[label]), int(right[0][label]), int(right[1][label]))
        for label in np.flatnonzero(n).tolist()
    ]
    tables = [_confused(truth, answers, count) for answers in (before, after)]
    # Stored by pair, since a table of 20,000 classes squared would not fit.
    moved = {
        pair: tables[1].get(pair, 0) - tables[0].get(pair, 0) for pair in sorted({*tables[0], *tables[1]})
    }
    largest = sorted((pair for pair in moved if moved[pair]), key=lambda pair: -abs(moved[pair]))[:most]
    confusions = [
        Confusion(names[pair // count], names[pair % count], tables[0].get(pair, 0), tables[1].get(pair, 0))
        for pair in sorted(largest, key=lambda pair: -moved[pair])
    ]
    return ClassChanges(tuple(sorted(changes, key=lambda each: each.change)), tuple(confusions))


def _confused(truth: NDArray[np.int64], answers: NDArray[np.int64], count: int) -> dict[int, int]:
    """Give how often each pair, truth · count + answer, was answered wrongly."""
    wrong = (answers != truth) & (answers != NO_ANSWER)
    pairs, times = np.unique(truth[wrong] * count + answers[wrong], return_counts=True)
    return dict(zip(pairs.tolist(), times.tolist(), strict=True))
