"""Files on an Android device, where LiteRT's own tool runs and times them one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from slimedge.benchmarks.entries import Entry
from slimedge.benchmarks.measurers import Conditions, Progress
from slimedge.benchmarks.rows import Row
from slimedge.comparison import Latency
from slimedge.errors import SlimedgeError
from slimedge.runtime.devices.adb.device import Adb
from slimedge.runtime.devices.adb.result import AdbMeasurement
from slimedge.runtime.devices.naming import device
from slimedge.runtime.protocols import Job


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
    assert isinstance(place, Adb), "the registry's"  # noqa: S101
    rows: list[Row] = []
    try:
        with place.reserved() as ready:
            for number, entry in enumerate(entries):
                progress(number / len(entries), f"{entry.name} on {entry.target}")
                try:
                    rows.append(_row(entry, ready.measure(_job(entry, conditions))))
                except SlimedgeError as error:
                    rows.append(Row(entry.name, entry.target, error=error))
    except SlimedgeError as error:
        # What was measured before the device was lost stays.
        rows += [Row(entry.name, entry.target, error=error) for entry in entries[len(rows) :]]
    return tuple(rows)


def _job(entry: Entry, conditions: Conditions) -> Job:
    settings = conditions.settings
    return Job(
        entry.artifact,
        replace(entry.target, backend="litert"),
        threads=conditions.threads,
        options={**conditions.options, "provider_options": dict(entry.target.options)},
        batch=conditions.batch or 1,
        warm_s=settings.warm_s,
        seconds=settings.launch_s * settings.launches / 2,
        runs=settings.rounds * settings.turn_runs,
        limit_s=settings.limit_s,
    )


def _row(entry: Entry, found: AdbMeasurement) -> Row:
    runs, before, after = found.latency, found.heat_before, found.heat_after
    temperatures = None
    if before.temperature_c is not None and after.temperature_c is not None:
        temperatures = (before.temperature_c, after.temperature_c)
    told = [heat.throttled for heat in (before, after) if heat.throttled is not None]
    taken = "+".join(use.name.lower() for use in found.delegates) or "cpu"
    notes = ["benchmark_model keeps no samples, only statistics of them: there is no p90, and no interval."]
    if found.fell_back:
        notes.append(f"'{entry.target}' was asked for and did not run all of {entry.name}; this is {taken}.")
    if any(told):
        notes.append(
            f"{entry.target.device} held its frequency down meanwhile; let it cool, and measure again."
        )
    return Row(
        entry.name,
        entry.target,
        runtime="litert",
        provider=taken,
        latency_s=None if runs.median_s is None else Latency(runs.median_s, None, None, runs.count),
        load_s=found.load_s,
        first_run_s=found.first_run_s,
        peak_rss_bytes=found.peak_rss_bytes,
        model_bytes=found.footprint_bytes,
        figures={
            "min_s": runs.min_s,
            "p5_s": runs.p5_s,
            "mean_s": runs.mean_s,
            "p95_s": runs.p95_s,
            "max_s": runs.max_s,
        },
        environment=replace(
            found.environment, temperature_c=temperatures, throttled=any(told) if told else None
        ),
        notes=tuple(notes),
    )
