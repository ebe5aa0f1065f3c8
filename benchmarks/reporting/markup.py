"""Plain text and tables in Markdown, whatever the text holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# Characters that Markdown or HTML inside it would read as markup; a name is shown as it is.
_MARKUP = re.compile(r"([\\`*_\[\]{}<>#|~!&])")


def text(given: str) -> str:
    r"""Write text so that Markdown shows it as it is, in one line.

    Example:
        >>> text("a*b\n<c>")
        'a\\*b \\<c\\>'
    """
    return _MARKUP.sub(r"\\\1", " ".join(given.split()))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Write the lines of a table; the cells are text, the heads are taken as they are."""
    body = [f"| {' | '.join(text(cell) for cell in row)} |" for row in rows]
    return [f"| {' | '.join(heads)} |", f"| {' | '.join('---' for _ in heads)} |", *body]
