"""One run of a scenario: the raw times of every query, as the agent told them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.benchmarks.scenarios.scenario import MOST_QUERIES, PATIENCE, QUERIES, Scenario
from slimedge.runtime.protocols import Agent

_WARM_QUERIES = 2


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What the queries of one run saw; times count from its start.

    Attributes:
        scenario: how they came.
        samples: in a query.
        concurrency: workers, each with a model of its own.
        rate_per_s: of a server's arrivals; None elsewhere.
        issued_ns: when each query was due, (n,) int64.
        started_ns: when a worker began it, likewise.
        ended_ns: when it was done, likewise.
        ending: `enough`, or `limit` or `backlog` where the run was ended before; see `runtime/load_generator.py`.
    """

    scenario: Scenario
    samples: int
    concurrency: int
    rate_per_s: float | None
    issued_ns: NDArray[np.int64]
    started_ns: NDArray[np.int64]
    ended_ns: NDArray[np.int64]
    ending: str

    @property
    def queries(self) -> int:
        """How many there were."""
        return len(self.ended_ns)

    @property
    def seconds(self) -> float:
        """From the start until the last was done."""
        return float(self.ended_ns.max()) / 1e9

    @property
    def latencies_s(self) -> NDArray[np.float64]:
        """Of every query from when it was due, in the order of issue; offline, of every batch from when it was begun.

        Offline everything is due at the start, so that the time since then only tells a query's place in the line.
        """
        since = self.started_ns if self.scenario is Scenario.OFFLINE else self.issued_ns
        found: NDArray[np.float64] = (self.ended_ns - since) / 1e9
        return found


def warm_up(agent: Agent, scenario: Scenario, seconds: float, *, samples: int, concurrency: int) -> None:
    """Let the workers run for a while, all at once; nothing is kept."""
    closed = Scenario.OFFLINE if concurrency > 1 else scenario
    if closed is Scenario.SERVER:
        closed = Scenario.SINGLE_STREAM
    _ask(
        agent,
        samples,
        concurrency,
        scenario=str(closed),
        seconds=seconds,
        queries=_WARM_QUERIES * concurrency,
        most_s=PATIENCE * seconds,
        most_queries=MOST_QUERIES,
    )


def run_closed(
    agent: Agent, scenario: Scenario, seconds: float, *, samples: int = 1, concurrency: int = 1
) -> Run:
    """Run a scenario in which the next query waits for one to be done.

    Args:
        agent: that has loaded the model.
        scenario: any but server.
        seconds: least time.
        samples: in a query.
        concurrency: workers; one for a stream.
    """
    told = _ask(
        agent,
        samples,
        concurrency,
        scenario=str(scenario),
        seconds=seconds,
        queries=concurrency if scenario is Scenario.OFFLINE else QUERIES,
        most_s=PATIENCE * seconds,
        most_queries=MOST_QUERIES,
    )
    return _read(told, scenario, samples, concurrency, None)


def run_server(
    agent: Agent,
    rate_per_s: float,
    seconds: float,
    *,
    samples: int,
    concurrency: int,
    seed: int,
    most_wait_s: float,
) -> Run:
    """Run a server with Poisson arrivals.

    Args:
        agent: that has loaded the model.
        rate_per_s: mean of the arrivals.
        seconds: of arrivals; longer where there would be fewer queries than a 99th percentile takes.
        samples: in a query.
        concurrency: workers that the queue is for.
        seed: of the arrivals.
        most_wait_s: the run ends where a query waited for longer.
    """
    told = _ask(
        agent,
        samples,
        concurrency,
        scenario=str(Scenario.SERVER),
        seconds=seconds,
        queries=QUERIES,
        most_queries=MOST_QUERIES,
        rate_per_s=rate_per_s,
        seed=seed,
        most_wait_s=most_wait_s,
    )
    return _read(told, Scenario.SERVER, samples, concurrency, rate_per_s)


def _ask(agent: Agent, samples: int, concurrency: int, **settings: Any) -> Mapping[str, Any]:
    return agent.ask("scenario", settings=settings, samples=samples, concurrency=concurrency)


def _read(
    told: Mapping[str, Any], scenario: Scenario, samples: int, concurrency: int, rate_per_s: float | None
) -> Run:
    issued, started, ended = (
        np.asarray(told[field], np.int64) for field in ("issued_ns", "started_ns", "ended_ns")
    )
    return Run(scenario, samples, concurrency, rate_per_s, issued, started, ended, ending=told["ending"])
