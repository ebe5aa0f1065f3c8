"""What a student is, as text and as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.text import Text

from slimedge.benchmarks.making_students import MadeStudent
from slimedge.benchmarks.reporting import figures
from slimedge.benchmarks.reporting.artifact import as_dict
from slimedge.benchmarks.reporting.compression import facts, size_lines
from slimedge.benchmarks.reporting.printing import put

if TYPE_CHECKING:
    from rich.console import Console

UNTRAINED = "note: a student is to be trained before it is of use; `slimedge distill` does"


def show(done: MadeStudent, console: Console) -> None:
    """Print what of a teacher is left, and how large that is."""
    put(console, *map(Text, lines(done)))


def lines(done: MadeStudent) -> list[str]:
    """Give the same as lines of text."""
    told = done.artifact.lineage[-1].settings
    share = f"{100 * told['width']:g} % of the width, {100 * told['depth']:g} % of the depth"
    weights = "fresh weights" if told["weights"] == "fresh" else "the teacher's weights"
    text = [f"student of {share}, with {weights}"]
    text += [f"  without {_ends(block)}" for block in told["blocks_removed"]]
    text += [
        f"  {name} {before} channels, {after} left" for name, (before, after) in told["channels"].items()
    ]
    text += size_lines(done.before, done.after)
    path = done.artifact.path
    return [*text, UNTRAINED, f"wrote {path} ({figures.size(path.stat().st_size)})"]


def as_json(done: MadeStudent) -> str:
    """Write the same as JSON."""
    document = {
        "artifact": as_dict(done.artifact),
        "student": dict(done.artifact.lineage[-1].settings),
        "before": facts(done.before),
        "after": facts(done.after),
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _ends(block: list[str]) -> str:
    return block[0] if len(block) == 1 else f"{block[0]} to {block[-1]}"
