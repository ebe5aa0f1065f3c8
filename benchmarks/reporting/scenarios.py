"""MLPerf-style scenarios, as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from slimedge.benchmarks.reporting import figures
from slimedge.benchmarks.reporting.printing import put
from slimedge.benchmarks.reporting.scenario_figures import (
    TOLD,
    about,
    columns,
    failure,
    machines,
    point_rows,
    row,
)
from slimedge.benchmarks.scenarios import metrics
from slimedge.benchmarks.scenarios.result import Failed, ModelResult, ScenarioResult, headline
from slimedge.benchmarks.scenarios.run import Run
from slimedge.benchmarks.scenarios.scenario import Scenario
from slimedge.benchmarks.scenarios.server_search import Search

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = "slimedge/scenario/1"
_FAINT = "bright_black"


def show(result: ScenarioResult, console: Console) -> None:
    """Print what the figures are, a line for each model, the sweeps or trials, and the machines."""
    heads = columns(result.scenario)
    table = _table("model", *heads)
    for model in result.measured:
        each = row(result, model)
        name = Text(each.name)
        name.append(f"\n{each.runs_on}" + (f"; {each.setting}" if each.setting else ""), style=_FAINT)
        told = heads.index(TOLD[result.scenario])
        cells = (Text(cell, style="bold" if at == told else "") for at, cell in enumerate(each.cells))
        table.add_row(name, *cells)
    put(console, Text(about(result)), Text(), *([table] if result.measured else []))
    for model in result.measured:
        points = point_rows(model)
        if points:
            put(console, Text(), Text(model.name, style="bold"), _points(result.scenario, points))
    said = [Text(f"note: {model.name}: {note}") for model in result.measured for note in model.notes]
    failures = [Text(f"failed: {failure(model)}") for model in result.models if isinstance(model, Failed)]
    lines = (Text(figures.machine_line(machine), style=_FAINT) for machine in machines(result))
    put(console, Text(), *said, *failures, *lines)


def as_json(result: ScenarioResult) -> str:
    """Write the same as JSON."""
    document = {
        "schema": SCHEMA,
        "style": "MLPerf-style",
        "scenario": str(result.scenario),
        "effort": result.effort,
        "threads": result.threads,
        "models": [_model(result.scenario, model) for model in result.models],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _model(scenario: Scenario, model: ModelResult | Failed) -> dict[str, Any]:
    if isinstance(model, Failed):
        return {"name": model.name, "target": str(model.target), "error": str(model.error)}
    told = headline(scenario, model.run)
    return {
        "name": model.name,
        "target": str(model.target),
        "provider": model.provider,
        "label": model.label,
        "metric": {"name": told.name, "value": told.value},
        "run": None if model.run is None else _run(model.run),
        "points": [_run(run) for run in model.points],
        "search": None if model.search is None else _search(model.search),
        "notes": list(model.notes),
        "environment": asdict(model.environment),
    }


def _run(run: Run) -> dict[str, Any]:
    return {
        "samples_per_query": run.samples,
        "concurrency": run.concurrency,
        "rate_per_s": run.rate_per_s,
        "seconds": run.seconds,
        "ending": run.ending,
        **asdict(metrics.figures(run)),
    }


def _search(search: Search) -> dict[str, Any]:
    return {
        "latency_bound_s": search.bound_s,
        "highest_held_per_s": None if search.confirmed is None else search.confirmed.rate_per_s,
        "lowest_failed_per_s": search.lowest_failed_per_s,
        "trials": [
            {"held": trial.held, "confirming": trial.confirming, **_run(trial.run)} for trial in search.trials
        ],
    }


def _points(scenario: Scenario, points: tuple[Any, ...]) -> Table:
    server = scenario is Scenario.SERVER
    outcome = ("outcome",) if server else ()
    table = _table("rate" if server else "sweep", "samples/s", "p50", "p99", *outcome)
    for point in points:
        table.add_row(
            Text(point.setting), point.throughput, point.p50, point.p99, *([point.outcome] if server else [])
        )
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table
