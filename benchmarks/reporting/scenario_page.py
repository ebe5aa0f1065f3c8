"""A MLPerf-style scenario as one HTML page that needs nothing else, with the picture of latency over throughput."""

from __future__ import annotations

from slimedge.benchmarks.reporting import figures
from slimedge.benchmarks.reporting.page import template
from slimedge.benchmarks.reporting.scenario_figures import (
    TOLD,
    about,
    columns,
    failure,
    machines,
    point_rows,
    row,
)
from slimedge.benchmarks.reporting.throughput import Chart, models_chart, search_chart, sweep_chart
from slimedge.benchmarks.scenarios.result import Failed, ScenarioResult
from slimedge.benchmarks.scenarios.scenario import STREAMS, Scenario


def render(result: ScenarioResult, title: str | None = None) -> str:
    """Write a page; user text in it is escaped.

    Args:
        result: of any scenario.
        title: None for one that names the scenario.

    Returns:
        HTML that opens without a network and refuses to load anything.
    """
    measured = result.measured
    drawn = [(model, _chart_of(result, number)) for number, model in enumerate(measured)]
    beside = models_chart(measured) if result.scenario in STREAMS else None
    charts = [(chart, point_rows(model)) for model, chart in drawn if chart is not None]
    return template("scenarios.html.j2").render(
        title=title or f"MLPerf-style {result.scenario}",
        about=about(result),
        columns=columns(result.scenario),
        told=TOLD[result.scenario],
        rows=[row(result, model) for model in measured],
        charts=([(beside, ())] if beside is not None else []) + charts,
        is_server=result.scenario is Scenario.SERVER,
        failures=[failure(model) for model in result.models if isinstance(model, Failed)],
        notes=[(model.name, model.notes) for model in measured if model.notes],
        machines=[figures.machine(machine) for machine in machines(result)],
    )


def _chart_of(result: ScenarioResult, number: int) -> Chart | None:
    model = result.measured[number]
    return search_chart(model) if result.scenario is Scenario.SERVER else sweep_chart(model)
