"""What a command prints and writes: text for people, JSON for programs."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slimedge.cli.options import check_output

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

_PIPE_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Output:
    """Where the results of one command go.

    Attributes:
        json: file for JSON, `-` for stdout, None for nowhere.
        quiet: print no text.
    """

    json: str | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.json is not None and self.json != "-":
            check_output(Path(self.json), "--json")

    def show(self, write: Callable[[Console], None]) -> None:
        """Let `write` print text for people; stdout is left to the JSON where that goes there."""
        if self.quiet or self.json == "-":
            return
        from rich.console import Console

        width = None if sys.stdout.isatty() else _PIPE_WIDTH
        write(Console(width=width, highlight=False, markup=False, emoji=False))

    def say(self, *lines: str) -> None:
        """Print lines for people."""
        if not self.quiet and self.json != "-":
            print(*lines, sep="\n", flush=True)

    def write_json(self, text: Callable[[], str]) -> None:
        """Write the JSON that `text` gives, where it was asked for."""
        if self.json == "-":
            sys.stdout.write(text())
        elif self.json is not None:
            write_text(Path(self.json), text())


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    from slimedge.files import atomic_path

    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
