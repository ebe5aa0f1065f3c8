"""The rows of a benchmark, as text and as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from slimedge.benchmarks.reporting import figures, profile
from slimedge.benchmarks.reporting.printing import put
from slimedge.benchmarks.rows import Benchmark, Row
from slimedge.comparison import Latency

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = "slimedge/benchmark/2"
_UNIT = re.compile("_(bytes|per_s|s|j|share)$")


def show(found: Benchmark, console: Console) -> None:
    """Print one line a row, what only some targets tell, errors, notes, and the machines."""
    measured = [row for row in found.rows if row.latency_s is not None or row.instructions is not None]
    columns = [(name, text) for name, text in _COLUMNS if any(text(row) for row in measured)]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("model", overflow="fold")
    for name, _ in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row in measured:
        cells = (text(row) or figures.NOT_MEASURED for _, text in columns)
        table.add_row(Text(f"{row.model}\n{_runs_on(row)}"), *(Text(cell) for cell in cells))
    if measured:
        put(console, table, Text())
    profile.show(found.profiles, console)
    lines = (Text(line) for line in _lines(found))
    put(console, *lines, *(Text(line, style="bright_black") for line in _machines(found)))


def as_json(found: Benchmark) -> str:
    """Write the same as JSON, with the environments by device."""
    document = {
        "schema": SCHEMA,
        "environments": {
            row.target.device: asdict(row.environment) for row in found.rows if row.environment is not None
        },
        "batch": found.batch,
        "threads": found.threads,
        "rows": [_row(row) for row in found.rows],
        "notes": list(found.notes),
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _row(row: Row) -> dict[str, Any]:
    return {
        "model": row.model,
        "target": str(row.target),
        "device": row.target.device,
        "runtime": row.runtime,
        "provider": row.provider,
        "label": row.label,
        "latency_s": None if row.latency_s is None else asdict(row.latency_s),
        "kernel_s": None if row.kernel_s is None else asdict(row.kernel_s),
        "instructions": row.instructions,
        "nodes": None if row.nodes is None else dict(row.nodes),
        "load_s": row.load_s,
        "first_run_s": row.first_run_s,
        "peak_rss_bytes": row.peak_rss_bytes,
        "model_bytes": row.model_bytes,
        "energy_j": row.energy_j,
        "figures": dict(row.figures),
        "profile": profile.as_dict(row.profile),
        "error": None if row.error is None else str(row.error),
        "notes": list(row.notes),
    }


def _quantile(field: str, which: str = "latency_s") -> Callable[[Row], str]:
    def text(row: Row) -> str:
        latency: Latency | None = getattr(row, which)
        return "" if latency is None else figures.seconds(getattr(latency, field))

    return text


def _given(field: str, form: Callable[[Any], str]) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        value = getattr(row, field)
        return "" if value is None else form(value)

    return text


def _runs_on(row: Row) -> str:
    """Give the target with what really ran it, where its name does not say so."""
    told = [] if row.provider in (None, row.target.provider) else [row.provider]
    told += [] if row.label == "measured" else [row.label]
    return ", ".join((str(row.target), *told))


_COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("p50", _quantile("p50")),
    ("p90", _quantile("p90")),
    ("p99", _quantile("p99")),
    ("kernel p50", _quantile("p50", "kernel_s")),
    ("instructions", _given("instructions", figures.quantity)),
    ("load", _given("load_s", figures.seconds)),
    ("1st run", _given("first_run_s", figures.seconds)),
    ("memory", _given("peak_rss_bytes", figures.size)),
    ("model's", _given("model_bytes", figures.size)),
    ("energy", _given("energy_j", figures.energy)),
    ("runs", lambda row: "" if row.latency_s is None else f"{row.latency_s.n:,}"),
)


def _lines(found: Benchmark) -> Iterator[str]:
    for row in found.rows:
        told = ", ".join(
            f"{_UNIT.sub('', name).replace('_', ' ')} {figures.with_unit(name, value)}"
            for name, value in row.figures.items()
            if value not in (None, 0) and not isinstance(value, (list, dict))
        )
        if row.nodes:
            placed = ", ".join(f"{count} on {name}" for name, count in row.nodes.items())
            yield f"{row.model} on {row.target}: nodes {placed}"
        if told:
            yield f"{row.model} on {row.target}, {row.label}: {told}"
    for row in found.failed:
        yield f"error: {row.model} on {row.target}: {row.error}"
    for note in dict.fromkeys((*found.notes, *(note for row in found.rows for note in row.notes))):
        yield f"note: {note}"


def _machines(found: Benchmark) -> Iterator[str]:
    devices = {row.target.device: row.environment for row in found.rows if row.environment is not None}
    for device, environment in devices.items():
        place = f"{device}: " if len(devices) > 1 or device != "local" else ""
        yield f"{place}{figures.machine_line(environment)}; batch {found.batch}"
