"""Latencies of several files, as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from slimedge.benchmarks.latency import LatencyRun, Timed
from slimedge.benchmarks.reporting import figures
from slimedge.benchmarks.reporting.printing import put

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = "slimedge/benchmark/1"


def show(run: LatencyRun, console: Console) -> None:
    """Print one line a file, and the machine."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("model", overflow="fold")
    table.add_column("runs on")
    for name in ("p50", "p90", "p99", "load", "1st run", "memory", "runs"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in run.entries:
        found = entry.latency
        table.add_row(
            Text(entry.name),
            Text(figures.runs_on(entry.target.backend, entry.provider)),
            *(figures.seconds(value) for value in (found.p50, found.p90, found.p99)),
            figures.seconds(median(entry.load_s)),
            figures.seconds(median(entry.first_run_s)),
            figures.size(_memory(entry)),
            f"{found.n:,}",
        )
    notes = (Text(f"note: {note}") for note in run.notes)
    machine = Text(f"{figures.machine_line(run.environment)}; batch {run.batch}", style="bright_black")
    put(console, table, Text(), *notes, machine)


def as_json(run: LatencyRun) -> str:
    """Write the same as JSON, with the environment."""
    document = {
        "schema": SCHEMA,
        "environment": asdict(run.environment),
        "batch": run.batch,
        "models": [_model(entry) for entry in run.entries],
        "notes": list(run.notes),
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _model(entry: Timed) -> dict[str, Any]:
    return {
        "name": entry.name,
        "runtime": entry.target.backend,
        "provider": entry.provider,
        "latency_s": asdict(entry.latency),
        "load_s": median(entry.load_s),
        "first_run_s": median(entry.first_run_s),
        "peak_rss_bytes": _memory(entry),
    }


def _memory(entry: Timed) -> int | None:
    return round(median(entry.peak_rss_bytes)) if entry.peak_rss_bytes else None
