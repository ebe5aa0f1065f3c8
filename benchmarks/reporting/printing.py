"""Text for people, on a terminal or in a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def put(console: Console, *parts: RenderableType) -> None:
    """Print parts one below the other; where there is no terminal, without the spaces that fill up lines.

    Args:
        console: where.
        parts: what rich can lay out; text in it is the caller's to mark as plain (`rich.text.Text`).
    """
    if console.is_terminal:
        for part in parts:
            console.print(part)
        return
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    lines = (line.rstrip() for line in capture.get().splitlines())
    console.file.write("\n".join(lines) + "\n")
