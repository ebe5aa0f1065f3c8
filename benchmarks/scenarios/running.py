"""Run models through a MLPerf-style scenario."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimedge.artifact import Artifact
from slimedge.benchmarks.entries import Entry, opened
from slimedge.benchmarks.scenarios.measuring import Asked, measure, work_of
from slimedge.benchmarks.scenarios.result import Failed, ModelResult, ScenarioResult
from slimedge.benchmarks.scenarios.scenario import PATIENCE, PLANS, STREAMS, Plan, Scenario
from slimedge.errors import InputError, SlimedgeError
from slimedge.progress import Progress, silent
from slimedge.runtime.devices.naming import device
from slimedge.runtime.jobs import environment_from, load_request
from slimedge.runtime.protocols import Device, Job
from slimedge.runtime.targets import measurer

if TYPE_CHECKING:
    import keras

_GRACE_S = 60.0


def run_scenario(
    models: Sequence[keras.Model | Artifact | Path | str],
    scenario: str,
    *,
    targets: Collection[str] = (),
    threads: int = 1,
    batches: Sequence[int] = (),
    concurrency: Sequence[int] = (),
    latency_bound_s: float | None = None,
    effort: str = "default",
    allow_fallback: bool = False,
    trust: bool = False,
    progress: Progress = silent,
) -> ScenarioResult:
    """Measure models under one scenario, one after the other, fed with seeded random numbers.

    Args:
        models: Keras models, artifacts, or paths of `.keras`, `.onnx` or `.tflite` files.
        scenario: `single-stream`, `multi-stream`, `offline` or `server`.
        targets: names of targets; a model runs on each that opens it, on its usual runtime where none does.
        threads: of the runtime, for each worker.
        batches: offline only; to try. Empty tries 1, 2, 4, … 32 where a file takes any batch.
        concurrency: offline: numbers of workers to try, empty for 1, 2, 4, … up to the processors; server: how many
            workers, empty for as many as there are processors for.
        latency_bound_s: server only; of the 99th percentile. None takes 10 medians of single queries.
        effort: how long to measure: `quick`, `default` or `thorough`.
        allow_fallback: measure on the CPU where a provider cannot run.
        trust: whether an `.h5` may be opened.
        progress: told what is being done.

    Returns:
        Raw times of every query, and what they come to; a model that would not run costs only its row.

    Raises:
        InputError: a file or setting that cannot be used.
    """
    chosen = _scenario(scenario)
    if effort not in PLANS:
        raise InputError(f"effort '{effort}' is not known; it can be {', '.join(PLANS)}.")
    if not models:
        raise InputError("there is nothing to measure; name at least one model.")
    _check(chosen, batches, concurrency, latency_bound_s, threads)
    asked = Asked(PLANS[effort], threads, batches, concurrency, latency_bound_s)
    with opened([models], targets, trust=trust, on_every_target=True) as ((*entries,),):
        for entry in entries:  # bad input ends before anything is measured
            if measurer(entry.target) != "agents":
                raise InputError(
                    f"the target '{entry.target}' has a way of its own to measure, which knows no scenarios; leave "
                    "--scenario out, or choose a target that runs litert, ort or another runtime."
                )
            work_of(chosen, entry.artifact, asked, cores=1)
        found = []
        for number, entry in enumerate(entries):

            def tell(
                what: str, share: float | None = None, /, *, entry: Entry = entry, done: int = number
            ) -> None:
                progress(f"{entry.name}: {what}", (done + (share or 0.0)) / len(entries))

            found.append(_attempt(entry, chosen, asked, {"allow_fallback": allow_fallback}, tell))
    return ScenarioResult(chosen, effort, threads, tuple(found))


def measure_model(
    entry: Entry,
    scenario: Scenario,
    asked: Asked,
    place: Device,
    *,
    options: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> ModelResult:
    """Measure one model in a process of its own.

    Args:
        entry: the model and its target.
        scenario: how queries come.
        asked: the settings.
        place: where, reserved.
        options: of the backend.
        progress: told what is being done.

    Raises:
        InputError: settings that the file cannot run with.
        UnavailableError: a runtime or provider that is not there.
        RunError: the process ran out of time or memory, or died.
    """
    target = entry.target
    job = Job(entry.artifact, target, threads=asked.threads, options=options or {})
    with place.start(target.backend, limit_s=_limit_s(asked.plan)) as agent:
        told = agent.ask("prepare", threads=asked.threads)
        work = work_of(scenario, entry.artifact, asked, told["facts"]["cores"])
        request = {**load_request(job, timed=True), "batch": work.samples[0], "workers": work.levels[-1]}
        loaded = agent.ask("load", **request)
        found = measure(agent, scenario, work, asked, progress)
    return ModelResult(
        name=entry.name,
        target=target,
        provider=loaded["provider"],
        run=found.run,
        points=found.points,
        search=found.search,
        environment=environment_from(told["facts"]),
        label=place.label,
        notes=found.notes,
    )


def _attempt(
    entry: Entry, scenario: Scenario, asked: Asked, options: Mapping[str, Any], progress: Progress
) -> ModelResult | Failed:
    try:
        with device(entry.target.device).reserved() as place:
            return measure_model(entry, scenario, asked, place, options=options, progress=progress)
    except SlimedgeError as error:
        return Failed(entry.name, entry.target, error)


def _limit_s(plan: Plan) -> float:
    return _GRACE_S + 2 * max(PATIENCE * plan.seconds, plan.most_trial_s)


def _scenario(given: str) -> Scenario:
    try:
        return Scenario(given)
    except ValueError:
        raise InputError(f"there is no scenario '{given}'; it can be {', '.join(Scenario)}.") from None


def _check(
    scenario: Scenario,
    batches: Sequence[int],
    concurrency: Sequence[int],
    latency_bound_s: float | None,
    threads: int,
) -> None:
    """Refuse settings that the scenario has no use for."""
    if threads < 1:
        raise InputError(f"threads is {threads}; give 1 or more.")
    if batches and scenario is not Scenario.OFFLINE:
        raise InputError(
            f"--batches is for the scenario offline; {scenario} has queries of a size of its own. Leave it out."
        )
    if concurrency and scenario in STREAMS:
        raise InputError(
            f"--concurrency is for the scenarios offline and server; {scenario} runs one query at a time. Leave it out."
        )
    if len(set(concurrency)) > 1 and scenario is Scenario.SERVER:
        raise InputError(
            f"--concurrency is {','.join(map(str, concurrency))}; a server has one number of workers. Give one, "
            "or sweep with the scenario offline."
        )
    if latency_bound_s is None:
        return
    if scenario is not Scenario.SERVER:
        raise InputError(f"--latency-bound is for the scenario server; {scenario} has none. Leave it out.")
    if not latency_bound_s > 0:
        raise InputError(f"the latency bound is {latency_bound_s:g} s; give more than 0, as in 5ms.")
