"""The figures of a MLPerf-style scenario as people read them, the same on the terminal and on the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from slimedge.benchmarks.reporting.figures import NOT_MEASURED, runs_on, seconds
from slimedge.benchmarks.scenarios.metrics import figures
from slimedge.benchmarks.scenarios.result import Failed, ModelResult, ScenarioResult
from slimedge.benchmarks.scenarios.run import Run
from slimedge.benchmarks.scenarios.scenario import MULTI_STREAM_SAMPLES, Scenario
from slimedge.benchmarks.scenarios.server_search import Search
from slimedge.measurement import Environment

# The column of a scenario's figure.
TOLD: Mapping[Scenario, str] = {
    Scenario.SINGLE_STREAM: "p90",
    Scenario.MULTI_STREAM: "p99",
    Scenario.OFFLINE: "samples/s",
    Scenario.SERVER: "queries/s",
}
_COLUMNS = ("p50", "p90", "p99", "samples/s", "queries")
_HOW: Mapping[Scenario, str] = {
    Scenario.SINGLE_STREAM: (
        "a query has one sample and is issued as soon as the one before it is done; the figure is the 90th percentile "
        "of their latency"
    ),
    Scenario.MULTI_STREAM: (
        f"a query has {MULTI_STREAM_SAMPLES} samples and is issued as soon as the one before it is done; the figure is "
        "the 99th percentile of their latency"
    ),
    Scenario.OFFLINE: (
        "all samples are there from the start, and every worker takes the next batch when it is done; the figure is "
        "the throughput. Latencies are those of a batch, from when it is begun"
    ),
    Scenario.SERVER: (
        "queries arrive at random (a Poisson process) and queue for the workers; the figure is the highest rate whose "
        "99th percentile stays within the bound. Latencies count from the arrival"
    ),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One model, every figure as text; the cells stand under `columns`."""

    name: str
    runs_on: str
    setting: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PointRow:
    """One run of a sweep or of a search, every figure as text."""

    setting: str
    throughput: str
    p50: str
    p99: str
    outcome: str


def about(result: ScenarioResult) -> str:
    """Say what the figures are."""
    return (
        f"MLPerf-style {result.scenario}: {_HOW[result.scenario]}. Fed with random numbers; no result of MLPerf, which "
        "asks for its own models, data, durations and review."
    )


def columns(scenario: Scenario) -> tuple[str, ...]:
    """Name the figures of a model, the scenario's own among them."""
    return _COLUMNS if TOLD[scenario] in _COLUMNS else (TOLD[scenario], *_COLUMNS)


def machines(result: ScenarioResult) -> tuple[Environment, ...]:
    """Give the machines that were measured on, each once, with the versions of all its runtimes."""
    found: dict[str, Environment] = {}
    for model in result.measured:
        key = repr(replace(model.environment, versions={}))
        versions = found[key].versions if key in found else {}
        found[key] = replace(model.environment, versions={**versions, **model.environment.versions})
    return tuple(found.values())


def row(result: ScenarioResult, model: ModelResult) -> Row:
    """Give the line of one model."""
    run = model.run
    found = None if run is None else figures(run)
    emulated = "" if model.label == "measured" else f", {model.label}"
    cells = (
        *((per_second(run.rate_per_s if run else None),) if result.scenario is Scenario.SERVER else ()),
        *(seconds(getattr(found, name, None)) for name in ("p50_s", "p90_s", "p99_s")),
        per_second(found.samples_per_s if found else None),
        f"{found.queries:,}" if found else NOT_MEASURED,
    )
    return Row(
        name=model.name,
        runs_on=runs_on(str(model.target), "" if model.provider == "cpu" else model.provider) + emulated,
        setting="" if run is None else _setting(result.scenario, run, model.search),
        cells=cells,
    )


def failure(model: Failed) -> str:
    """Say why a model has no figures."""
    return f"{model.name} on {model.target}: {model.error}"


def point_rows(model: ModelResult) -> tuple[PointRow, ...]:
    """Give a line for each run of a sweep, or of the search for a rate, from the lowest rate to the highest."""
    sweep = [_point(run, batch_setting(run), "") for run in model.points]
    if model.search is None:
        return tuple(sweep)
    trials = sorted(model.search.trials, key=lambda trial: (trial.rate_per_s, trial.confirming))
    return tuple(
        _point(
            trial.run,
            f"{per_second(trial.rate_per_s)} for {seconds(trial.run.seconds)}",
            outcome(held=trial.held, ending=trial.run.ending),
        )
        for trial in trials
    )


def batch_setting(run: Run) -> str:
    """Name a point of a sweep."""
    return f"batch {run.samples}, {_workers(run)}"


def outcome(*, held: bool, ending: str) -> str:
    """Say what came of a trial."""
    if held:
        return "held"
    return "queue grew" if ending == "backlog" else "p99 too long"


def per_second(rate: float | None) -> str:
    """Give a rate with three digits: `6,810/s`.

    Example:
        >>> per_second(6807.4), per_second(56.25), per_second(1234567.0)
        ('6,810/s', '56.2/s', '1,230,000/s')
    """
    if rate is None:
        return NOT_MEASURED
    rounded = float(f"{rate:.3g}")
    return f"{rounded:,.0f}/s" if rounded >= 100 else f"{rounded:g}/s"


def _setting(scenario: Scenario, run: Run, search: Search | None) -> str:
    if scenario is Scenario.OFFLINE:
        return batch_setting(run)
    if search is None:
        return f"{run.samples} samples a query" if run.samples > 1 else ""
    failed = search.lowest_failed_per_s
    beyond = "" if failed is None else f"; {per_second(failed)} failed"
    return f"{_workers(run)}, p99 within {seconds(search.bound_s)}{beyond}"


def _workers(run: Run) -> str:
    return "1 worker" if run.concurrency == 1 else f"{run.concurrency} workers"


def _point(run: Run, setting: str, what: str) -> PointRow:
    found = figures(run)
    return PointRow(
        setting, per_second(found.samples_per_s), seconds(found.p50_s), seconds(found.p99_s), what
    )
