"""How each scenario is measured, on an agent that has loaded the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from slimedge.artifact import Artifact
from slimedge.benchmarks.reporting.figures import seconds as in_words
from slimedge.benchmarks.scenarios.metrics import figures
from slimedge.benchmarks.scenarios.run import Run, run_closed, run_server, warm_up
from slimedge.benchmarks.scenarios.scenario import MULTI_STREAM_SAMPLES, QUERIES, Plan, Scenario
from slimedge.benchmarks.scenarios.server_search import Search, most_wait_s, search
from slimedge.benchmarks.scenarios.sweep import batches_of, levels_of, samples_of_a_query
from slimedge.progress import Progress
from slimedge.runtime.protocols import Agent

# The usual bound of a server, in medians of single queries.
USUAL_BOUND = 10.0
# Of what the workers could do at most; a queue's 99th percentile is some service times long there.
_START_LOAD = 0.7
_WARM_S = 0.3
_WARM_POINT_S = 0.03


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for.

    Attributes:
        plan: how long to measure.
        threads: of the runtime, for each worker.
        batches: of a sweep; empty for the usual ones.
        concurrency: workers of a sweep or a server; empty for the usual ones.
        bound_s: of a server's 99th percentile; None for the usual one.
    """

    plan: Plan
    threads: int = 1
    batches: Sequence[int] = ()
    concurrency: Sequence[int] = ()
    bound_s: float | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What one model's runs are; made before anything is measured, so that bad input ends at once.

    Attributes:
        samples: in a query, or the batches of a sweep.
        levels: of concurrency.
    """

    samples: tuple[int, ...]
    levels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured of one model; see `slimedge.benchmarks.scenarios.result.ModelResult`."""

    run: Run | None
    points: tuple[Run, ...] = ()
    search: Search | None = None
    notes: tuple[str, ...] = ()


def work_of(scenario: Scenario, artifact: Artifact, asked: Asked, cores: int) -> Work:
    """Give the runs that a scenario asks of a file.

    Args:
        scenario: how queries come.
        artifact: the file.
        asked: the settings.
        cores: that a process may use where it is measured.

    Raises:
        InputError: batches or a concurrency that the file cannot run.
    """
    if scenario is Scenario.OFFLINE:
        return Work(batches_of(artifact, asked.batches), levels_of(cores, asked.threads, asked.concurrency))
    wanted = MULTI_STREAM_SAMPLES if scenario is Scenario.MULTI_STREAM else 1
    samples = samples_of_a_query(artifact, wanted)
    if scenario is Scenario.SERVER:
        return Work((samples,), levels_of(cores, asked.threads, asked.concurrency)[-1:])
    return Work((samples,), (1,))


def measure(agent: Agent, scenario: Scenario, work: Work, asked: Asked, progress: Progress) -> Found:
    """Measure one model.

    Args:
        agent: that has loaded it.
        scenario: how queries come.
        work: of the file.
        asked: the settings.
        progress: told what is being done.
    """
    progress("warming up", 0.0)
    warm_up(agent, scenario, _WARM_S, samples=work.samples[0], concurrency=work.levels[-1])
    return _MEASURES[scenario](agent, scenario, work, asked, progress)


def _stream(agent: Agent, scenario: Scenario, work: Work, asked: Asked, progress: Progress) -> Found:
    progress(str(scenario), 0.1)
    run = run_closed(agent, scenario, asked.plan.seconds, samples=work.samples[0])
    return Found(run, notes=_few(run))


def _offline(agent: Agent, scenario: Scenario, work: Work, asked: Asked, progress: Progress) -> Found:
    """Measure every batch with every number of workers, and the one that does most again, for longer.

    The best of many is in part the luckiest, so its figure is taken from the run that follows.
    """
    pairs = [(batch, level) for batch in work.samples for level in work.levels]
    points = []
    if len(pairs) > 1:
        for number, (batch, level) in enumerate(pairs):
            progress(f"batch {batch}, concurrency {level}", number / (len(pairs) + 2))
            warm_up(agent, scenario, _WARM_POINT_S, samples=batch, concurrency=level)
            points.append(run_closed(agent, scenario, asked.plan.point_s, samples=batch, concurrency=level))
        pairs = [max(zip(pairs, points, strict=True), key=lambda each: figures(each[1]).samples_per_s)[0]]
    ((batch, level),) = pairs
    progress(f"batch {batch}, concurrency {level}, for longer", 0.9)
    warm_up(agent, scenario, _WARM_POINT_S, samples=batch, concurrency=level)
    run = run_closed(agent, scenario, asked.plan.seconds, samples=batch, concurrency=level)
    return Found(run, tuple(points))


def _server(agent: Agent, _scenario: Scenario, work: Work, asked: Asked, progress: Progress) -> Found:
    plan, samples, workers = asked.plan, work.samples[0], work.levels[0]
    progress("single queries", 0.05)
    alone = figures(run_closed(agent, Scenario.SINGLE_STREAM, plan.point_s, samples=samples))
    bound_s = USUAL_BOUND * alone.p50_s if asked.bound_s is None else asked.bound_s
    least_per_s = QUERIES / plan.most_trial_s
    start_per_s = _START_LOAD * workers / alone.p50_s
    if start_per_s < least_per_s:
        return Found(None, search=Search(bound_s, (), None), notes=(_too_slow(alone.p50_s, plan),))
    tried = 0

    def attempt(rate_per_s: float, seconds: float, seed: int) -> Run:
        nonlocal tried
        tried += 1
        progress(f"{rate_per_s:.4g} queries/s", min(0.95, 0.1 * tried))
        lasting_s = max(seconds, QUERIES / rate_per_s)
        return run_server(
            agent,
            rate_per_s,
            seconds,
            samples=samples,
            concurrency=workers,
            seed=seed,
            most_wait_s=most_wait_s(bound_s, lasting_s),
        )

    found = search(
        attempt,
        start_per_s=start_per_s,
        least_per_s=least_per_s,
        bound_s=bound_s,
        trial_s=plan.trial_s,
        confirm_s=plan.seconds,
        precision=plan.precision,
    )
    if found.confirmed is None:
        note = (
            f"No rate held: the 99th percentile has to stay within {in_words(bound_s)}, and one query takes "
            f"{in_words(alone.p50_s)} in the median; allow more with --latency-bound, or end other programs."
        )
        return Found(None, search=found, notes=(note,))
    run = found.confirmed.run
    return Found(run, search=found, notes=_few(run))


def _few(run: Run) -> tuple[str, ...]:
    """Say that a run was ended before it was as long as it was to be."""
    if run.ending == "enough":
        return ()
    ended = f"It was ended after {run.seconds:.3g} s with {run.queries:,} queries"
    if run.queries < QUERIES:
        return (f"{ended}, and a 99th percentile takes {QUERIES:,}; measure longer with --effort thorough.",)
    return (f"{ended}, which is as many as are kept.",)


def _too_slow(query_s: float, plan: Plan) -> str:
    return (
        f"No rate was tried: one query takes {in_words(query_s)}, so that {QUERIES:,} of them, which a 99th percentile "
        f"takes, are more than the {plan.most_trial_s:g} s of a trial; use --effort thorough, or a smaller model."
    )


_MEASURES: Mapping[Scenario, Callable[[Agent, Scenario, Work, Asked, Progress], Found]] = {
    Scenario.SINGLE_STREAM: _stream,
    Scenario.MULTI_STREAM: _stream,
    Scenario.OFFLINE: _offline,
    Scenario.SERVER: _server,
}
