"""Examples that a variant answers otherwise than the baseline, those that were lost first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from slimedge.benchmarks.details.answers import NO_ANSWER, Answers

MOST_SHOWN = 24
_NO_ANSWER = "no answer"


class Turn(StrEnum):
    """What became of an answer."""

    LOST = "lost"  # right before, wrong after
    GAINED = "gained"  # wrong before, right after
    WRONG = "wrong"  # before and after, in different ways
    CHANGED = "changed"  # without a label nobody knows


_ORDER = tuple(Turn)


@dataclass(frozen=True, slots=True)
class Flip:
    """One example.

    Attributes:
        turn: what became of the answer.
        position: of the example among those that were compared on, from 0.
        truth: name of its class; None without a label.
        before: the baseline's answer.
        after: the variant's.
        before_sure: probability that the baseline gave its answer, in 0…1.
        after_sure: likewise of the variant.
        picture: a PNG as a `data:` URI, where the example is one.
    """

    turn: Turn
    position: int
    truth: str | None
    before: str
    after: str
    before_sure: float
    after_sure: float
    picture: str | None = None


@dataclass(frozen=True, slots=True)
class Flips:
    """All examples that changed their answer.

    Attributes:
        counts: how many there are of each turn, of those that occur.
        of: examples that were compared on.
        shown: the first of them, in the order of their turns, the surest of the variant's answers first.
    """

    counts: Mapping[Turn, int]
    of: int
    shown: tuple[Flip, ...]


def flips(
    before: Answers,
    after: Answers,
    truth: NDArray[np.int64] | None,
    names: Sequence[str],
    *,
    most: int = MOST_SHOWN,
) -> Flips:
    """Find the examples whose answer changed.

    Args:
        before: the baseline's answers to n examples.
        after: the variant's, in the same order.
        truth: (n,) classes, or None without labels.
        names: of all classes.
        most: examples to show.
    """
    changed = np.flatnonzero(before.classes != after.classes)
    turns = [
        _turn(int(before.classes[row]), int(after.classes[row]), None if truth is None else int(truth[row]))
        for row in changed
    ]
    ranked = sorted(
        zip(turns, changed.tolist(), strict=True),
        key=lambda found: (_ORDER.index(found[0]), -after.sureness[found[1]], found[1]),
    )
    shown = tuple(
        Flip(
            turn=turn,
            position=row,
            truth=None if truth is None else names[truth[row]],
            before=_name(names, int(before.classes[row])),
            after=_name(names, int(after.classes[row])),
            before_sure=float(before.sureness[row]),
            after_sure=float(after.sureness[row]),
        )
        for turn, row in ranked[:most]
    )
    return Flips({turn: turns.count(turn) for turn in _ORDER if turn in turns}, len(before.classes), shown)


def with_pictures(found: Flips, pictures: Mapping[int, str]) -> Flips:
    """Give the same with pictures, by position; an example without one stays as it is."""
    return replace(
        found, shown=tuple(replace(flip, picture=pictures.get(flip.position)) for flip in found.shown)
    )


def _turn(before: int, after: int, truth: int | None) -> Turn:
    if truth is None:
        return Turn.CHANGED
    if before == truth:
        return Turn.LOST
    return Turn.GAINED if after == truth else Turn.WRONG


def _name(names: Sequence[str], answer: int) -> str:
    return _NO_ANSWER if answer == NO_ANSWER else names[answer]
