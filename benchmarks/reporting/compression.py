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
    before, after = done.before, done.after
    text = [f"note: {notice}" for notice in done.notices]
    text += method
    text.append(f"weights {_change(figures.quantity, before.parameters, after.parameters)}")
    text.append(
        f"  not zero {_change(figures.quantity, before.nonzero_parameters, after.nonzero_parameters)}"
    )
    text.append(f"MACs {_change(figures.quantity, before.macs, after.macs)}")
    text.append(f"file {_change(figures.size, before.file_bytes, after.file_bytes)}")
    text.append(f"  after gzip {_change(figures.size, before.gzip_bytes, after.gzip_bytes)}")
    text.append(accuracy_line(done.score_before, done.score_after))
    text += [f"note: {note}" for note in done.score_after.notes]
    text.append(f"wrote {done.artifact.path} ({figures.size(done.artifact.path.stat().st_size)})")
    return text


def as_json(done: Compressed, method: Mapping[str, Any]) -> str:
    """Write the same as JSON, with the settings and findings of the method among it."""
    document = {
        "artifact": as_dict(done.artifact),
        **method,
        "examples": done.examples,
        "before": {**_facts(done.before), **asdict(done.score_before)},
        "after": {**_facts(done.after), **asdict(done.score_after)},
        "notices": list(done.notices),
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _change(written: Any, before: int | None, after: int | None) -> str:
    share = "" if not before or after is None or after == before else f" ({100 * after / before:.1f} %)"
    return f"{written(before)} before, {written(after)} after{share}"


def _facts(found: Inspection) -> dict[str, Any]:
    names = ("parameters", "nonzero_parameters", "macs", "file_bytes", "gzip_bytes")
    return {name: getattr(found, name) for name in names}
