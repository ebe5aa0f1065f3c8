"""Files that agents run, here or elsewhere: those of one device take turns in one interleaved run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, median

from slimedge.benchmarks import statistics
from slimedge.benchmarks.entries import Entry
from slimedge.benchmarks.latency import LatencyRun, measure_latency
from slimedge.benchmarks.measurers import Conditions, Progress
from slimedge.benchmarks.profiles.profiling import profile
from slimedge.benchmarks.profiles.times import ModelProfile
from slimedge.benchmarks.rows import Row
from slimedge.benchmarks.turns import Settings, Timed
from slimedge.errors import SlimedgeError
from slimedge.runtime.devices.naming import device
from slimedge.runtime.protocols import Device

# Where one instruction takes one nanosecond, two launches differ by next to nothing.
_COUNTED = Settings(launches=2, most_launches=2, rounds=2, least_rounds=2, warm_s=0.2, turn_runs=5)


def measure(entries: Sequence[Entry], conditions: Conditions, progress: Progress) -> tuple[Row, ...]:
    """Time files on one device.

    Args:
        entries: whose targets are on one device.
        conditions: how.
        progress: told the share done in 0…1 and what comes next.

    Returns:
        A row for each; of one that failed, with the error.
    """
    place = device(entries[0].target.device)
    failed: dict[str, SlimedgeError] = {}
    try:
        with place.reserved() as ready:
            run = measure_latency(
                [(_key(entry), entry.artifact, entry.target) for entry in entries],
                threads=conditions.threads,
                batch=conditions.batch,
                settings=replace(_COUNTED, limit_s=conditions.settings.limit_s)
                if place.instructions_per_second
                else conditions.settings,
                options=conditions.options,
                progress=progress,
                device=ready,
                failed=failed,
            )
            profiles = {
                _key(entry): _profile(entry, ready, conditions, run.batch, progress)
                for entry in entries
                if conditions.profile and _key(entry) not in failed
            }
    except SlimedgeError as error:
        return tuple(_without_figures(entry, place, failed.get(_key(entry), error)) for entry in entries)
    return tuple(
        _without_figures(entry, place, failed[_key(entry)])
        if _key(entry) in failed
        else _row(entry, place, run, profiles.get(_key(entry)))
        for entry in entries
    )


def _key(entry: Entry) -> str:
    return f"{entry.name} on {entry.target}"


def _without_figures(entry: Entry, place: Device, error: SlimedgeError) -> Row:
    return Row(entry.name, entry.target, label=place.label, error=error)


def _profile(
    entry: Entry, place: Device, conditions: Conditions, batch: int, progress: Progress
) -> ModelProfile | SlimedgeError:
    """Tell where the time goes; that it cannot be told costs nothing else."""
    progress(1.0, f"the ops of {entry.name}")
    try:
        return profile(
            entry.artifact,
            entry.target,
            device=place,
            threads=conditions.threads,
            batch=batch,
            options=conditions.options,
            limit_s=conditions.settings.limit_s,
        )
    except SlimedgeError as error:
        return error


def _row(
    entry: Entry, place: Device, run: LatencyRun, profiled: ModelProfile | SlimedgeError | None = None
) -> Row:
    timed = run[_key(entry)]
    counted = place.instructions_per_second
    wanted = entry.target.provider
    notes = list(run.notes) if timed is run.entries[0] else []
    if wanted != "cpu" and wanted not in timed.provider.lower():
        notes.append(f"'{entry.target}' was asked for and could not run it; this is {timed.provider}.")
    if run.environment.throttled:
        notes.append("The system lowered the processor's frequency meanwhile; cool it, and measure again.")
    if isinstance(profiled, SlimedgeError):
        notes.append(f"Where the time of {entry.name} goes could not be told: {profiled}")
    return Row(
        model=entry.name,
        target=entry.target,
        runtime=entry.target.backend,
        label=place.label,
        provider=timed.provider,
        latency_s=None if counted else timed.latency,
        kernel_s=statistics.latency(timed.kernel_samples_s) if timed.kernel_turns else None,
        instructions=timed.latency.p50 * counted if counted else None,
        nodes=timed.nodes,
        load_s=None if counted else median(timed.load_s),
        first_run_s=None if counted else median(timed.first_run_s),
        peak_rss_bytes=_median_bytes(timed.peak_rss_bytes),
        model_bytes=_median_bytes(timed.model_bytes),
        energy_j=_energy_j(timed),
        profile=profiled if isinstance(profiled, ModelProfile) else None,
        environment=run.environment,
        notes=tuple(notes),
    )


def _median_bytes(values: Sequence[int]) -> int | None:
    return round(median(values)) if values else None


def _energy_j(timed: Timed) -> float | None:
    return fmean(timed.energy_j) if timed.energy_j else None
