"""What compressing gave, whatever the method, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.text import Text

from slimedge.benchmarks.compressing import Compressed
from slimedge.benchmarks.inspecting import Inspection
from slimedge.benchmarks.reporting import figures
from slimedge.benchmarks.reporting.artifact import as_dict
from slimedge.benchmarks.reporting.printing import put
from slimedge.benchmarks.reporting.scores import accuracy_line

if TYPE_CHECKING:
    from rich.console import Console


def show(done: Compressed, console: Console, method: Sequence[str]) -> None:
    """Print what a method did, in its own lines, and what that changed."""
    put(console, *map(Text, lines(done, method)))


def lines(done: Compressed, method: Sequence[str]) -> list[str]:
    """Give the same as lines of text."""
    text = [f"note: {notice}" for notice in done.notices]
    text += method
    text += size_lines(done.before, done.after)
    text.append(accuracy_line(done.score_before, done.score_after))
    text += [f"note: {note}" for note in done.score_after.notes]
    text.append(f"wrote {done.artifact.path} ({figures.size(done.artifact.path.stat().st_size)})")
    return text


def size_lines(before: Inspection, after: Inspection) -> list[str]:
    """Say how many weights and products, and how large a file, there are before and after."""
    return [
        f"weights {_change(figures.quantity, before.parameters, after.parameters)}",
        f"  not zero {_change(figures.quantity, before.nonzero_parameters, after.nonzero_parameters)}",
        f"MACs {_change(figures.quantity, before.macs, after.macs)}",
        f"file {_change(figures.size, before.file_bytes, after.file_bytes)}",
        f"  after gzip {_change(figures.size, before.gzip_bytes, after.gzip_bytes)}",
    ]


def as_json(done: Compressed, method: Mapping[str, Any]) -> str:
    """Write the same as JSON, with the settings and findings of the method among it."""
    document = {
        "artifact": as_dict(done.artifact),
        **method,
        "examples": done.examples,
        "before": {**facts(done.before), **asdict(done.score_before)},
        "after": {**facts(done.after), **asdict(done.score_after)},
        "notices": list(done.notices),
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _change(written: Any, before: int | None, after: int | None) -> str:
    share = "" if not before or after is None or after == before else f" ({100 * after / before:.1f} %)"
    return f"{written(before)} before, {written(after)} after{share}"


def facts(found: Inspection) -> dict[str, Any]:
    """Give the same numbers of one model by name."""
    names = ("parameters", "nonzero_parameters", "macs", "file_bytes", "gzip_bytes")
    return {name: getattr(found, name) for name in names}
