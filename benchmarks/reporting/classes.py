"""Classes and confusions that moved, as rows of text and bars."""

from __future__ import annotations

from dataclasses import dataclass

from slimedge.benchmarks.details.classes import ClassChange, ClassChanges
from slimedge.benchmarks.reporting import figures

MOST_CLASSES = 20


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class; `lost` and `gained` are widths of bars in percent, one of them 0."""

    name: str
    n: str
    before: str
    after: str
    change: str
    points: str
    lost: float
    gained: float


@dataclass(frozen=True, slots=True)
class ClassTable:
    """The classes of one variant that moved most, and the confusions: truth, taken for, before, after, change.

    `rest` says what is not shown; it is empty where all is.
    """

    rows: tuple[ClassRow, ...]
    rest: str
    confusions: tuple[tuple[str, str, str, str, str], ...]


def class_table(found: ClassChanges, *, most: int = MOST_CLASSES) -> ClassTable:
    """Lay out what a variant does to the classes.

    Args:
        found: what was counted.
        most: so many classes are shown, those that moved most.
    """
    order = sorted(range(len(found.classes)), key=lambda place: -abs(found.classes[place].change))
    shown = [found.classes[place] for place in sorted(order[:most])]
    hidden = [found.classes[place].change for place in order[most:]]
    largest = max((abs(each.change) for each in shown), default=0)
    rest = ""
    if hidden:
        change = max(map(abs, hidden))
        moved = f"moved by at most {change}" if change else "did not move"
        rest = f"{len(hidden):,} more classes {moved}."
    return ClassTable(
        rows=tuple(_row(each, max(largest, 1)) for each in shown),
        rest=rest,
        confusions=tuple(
            (
                each.truth,
                each.taken_for,
                f"{each.before:,}",
                f"{each.after:,}",
                signed(each.after - each.before),
            )
            for each in found.confusions
        ),
    )


def signed(count: int) -> str:
    """Give a difference with its sign: `+3`, `−2`, `0`."""
    return f"{count:+,}".replace("-", "−") if count else "0"


def _row(each: ClassChange, largest: int) -> ClassRow:
    width = round(100 * abs(each.change) / largest, 1)
    return ClassRow(
        name=each.name,
        n=f"{each.n:,}",
        before=f"{each.before:,}",
        after=f"{each.after:,}",
        change=signed(each.change),
        points=figures.points(each.change / each.n),
        lost=width if each.change < 0 else 0.0,
        gained=width if each.change > 0 else 0.0,
    )
