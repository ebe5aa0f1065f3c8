"""What is wrong with a recipe: where, and in one sentence; all of it is told at once."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from slimedge.errors import InputError
from slimedge.recipes.document import Document, Place

# More than these would scroll the first ones away.
MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        place: of the value in the file, or where it would be; empty for the file as a whole.
        sentence: what was given, what is allowed, what to do.
    """

    place: Place
    sentence: str


def refuse(document: Document, problems: Iterable[Problem]) -> None:
    """Raise InputError where there are problems: a line of text each, in the order of the file.

    Raises:
        InputError: naming the file, line and field of each.
    """
    placed = (Problem(document.placed(problem.place), problem.sentence) for problem in problems)
    found = sorted(dict.fromkeys(placed), key=lambda problem: document.line(problem.place))
    if not found:
        return
    lines = [_told(document, problem) for problem in found[:MOST_TOLD]]
    if len(found) > MOST_TOLD:
        lines.append(f"{document.name}: {len(found) - MOST_TOLD} more; mend these first.")
    raise InputError("\n".join(lines))


def path_of(place: Place) -> str:
    """Write a place as text.

    Example:
        >>> path_of(("stages", 1, "distill", "epochs"))
        'stages[1].distill.epochs'
    """
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).removeprefix(".")


def suggestion(name: str, names: Collection[str]) -> str:
    """Give the name that may have been meant, as a part of a sentence; empty where there is none near.

    Example:
        >>> suggestion("temprature", ["epochs", "temperature"])
        "; did you mean 'temperature'"
    """
    close = difflib.get_close_matches(name.lower(), names, n=1)
    return f"; did you mean '{close[0]}'" if close else ""


def _told(document: Document, problem: Problem) -> str:
    place = f", {path_of(problem.place)}" if problem.place else ""
    line = f", line {document.line(problem.place)}" if document.lines else ""
    return f"{document.name}{line}{place}: {problem.sentence}"
