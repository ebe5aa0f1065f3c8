"""Long work tells where it is; whoever waits decides whether that is shown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Takes the name of what is being done now and, where it is known, the share of it that is done."""

    def __call__(self, doing: str, share: float | None = None, /) -> None:
        """Take what is being done, and the share of it in 0…1."""


def silent(doing: str, share: float | None = None, /) -> None:
    """Show nothing; the default wherever progress is taken."""


@contextmanager
def on_terminal(*, quiet: bool = False) -> Iterator[Progress]:
    """Show progress as one line on stderr while the block runs, and wipe it afterwards.

    Args:
        quiet: show nothing. Nothing is shown either where stderr is not a terminal.

    Yields:
        What the block calls.
    """
    if quiet or not sys.stderr.isatty():
        yield silent
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=24),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as display:
        task = display.add_task("starting", total=None)

        def show(doing: str, share: float | None = None, /) -> None:
            if share is None:
                display.update(task, description=doing, total=None)
            else:
                display.update(task, description=doing, total=1.0, completed=share)

        yield show
