"""What was found of each model, and the one figure that its scenario tells."""

from __future__ import annotations

from dataclasses import dataclass

from slimedge.benchmarks.scenarios.metrics import figures
from slimedge.benchmarks.scenarios.run import Run
from slimedge.benchmarks.scenarios.scenario import Scenario
from slimedge.benchmarks.scenarios.server_search import Search
from slimedge.errors import SlimedgeError
from slimedge.measurement import Environment
from slimedge.runtime.targets import Target


@dataclass(frozen=True, slots=True)
class Headline:
    """The figure of a scenario.

    Attributes:
        name: as in JSON, with its unit.
        value: None where it could not be told.
    """

    name: str
    value: float | None


@dataclass(frozen=True, slots=True)
class ModelResult:
    """One model on one target.

    Attributes:
        name: of the model.
        target: that ran it.
        provider: that really ran it, as the runtime told.
        run: that the figures are read from; None where the server held at no rate.
        points: of the sweep, each a run; empty where there was none.
        search: of a server's rate; None elsewhere.
        environment: where.
        label: `measured`, or `emulated`.
        notes: what the reader should know, one sentence each.
    """

    name: str
    target: Target
    provider: str
    run: Run | None
    points: tuple[Run, ...]
    search: Search | None
    environment: Environment
    label: str = "measured"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """A model that could not be measured, and why."""

    name: str
    target: Target
    error: SlimedgeError


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """One scenario of every model that was named.

    Attributes:
        scenario: how queries came.
        effort: name of the plan.
        threads: of the runtime, for each worker.
        models: in the order in which they were named.
    """

    scenario: Scenario
    effort: str
    threads: int
    models: tuple[ModelResult | Failed, ...]

    @property
    def measured(self) -> tuple[ModelResult, ...]:
        """Those that did not fail."""
        return tuple(model for model in self.models if isinstance(model, ModelResult))


HEADLINES = {
    Scenario.SINGLE_STREAM: "p90_s",
    Scenario.MULTI_STREAM: "p99_s",
    Scenario.OFFLINE: "samples_per_s",
    Scenario.SERVER: "rate_per_s",
}


def headline(scenario: Scenario, run: Run | None) -> Headline:
    """Give the figure that a scenario tells."""
    name = HEADLINES[scenario]
    if run is None:
        return Headline(name, None)
    value = run.rate_per_s if scenario is Scenario.SERVER else getattr(figures(run), name)
    return Headline(name, value)
