"""Time model files against each other, on this machine and on any number of devices at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from slimedge.artifact import Artifact
from slimedge.benchmarks import latency
from slimedge.benchmarks.beside_each_other import beside_each_other
from slimedge.benchmarks.entries import Entry, opened
from slimedge.benchmarks.measurers import MEASURERS, Conditions
from slimedge.benchmarks.rows import Benchmark, Row
from slimedge.errors import InputError
from slimedge.progress import Progress, silent
from slimedge.runtime.devices.naming import device
from slimedge.runtime.targets import measurer

if TYPE_CHECKING:
    import keras


def benchmark(
    models: Sequence[keras.Model | Artifact | Path | str],
    *,
    targets: Collection[str] = (),
    threads: int = 1,
    batch: int | None = None,
    effort: str = "default",
    allow_fallback: bool = False,
    trust: bool = False,
    limit_s: float | None = None,
    profile: bool = False,
    progress: Progress = silent,
) -> Benchmark:
    """Time models on targets, fed with seeded random numbers.

    The files of one device take turns in one interleaved run. Devices that share no processor are measured at once,
    and one that fails costs its own rows only.

    Args:
        models: Keras models, artifacts, or paths of `.keras`, `.onnx` or `.tflite` files.
        targets: names of targets; each file runs on all that open it, on its usual runtime where none does.
        threads: of every runtime.
        batch: examples in one inference; None takes the files' own, else 1.
        effort: how long to measure: `quick`, `default` or `thorough`.
        allow_fallback: measure on the CPU where a provider cannot run.
        trust: whether an `.h5` may be opened.
        limit_s: after which one request to a device has failed; None for ten minutes.
        profile: whether to tell where the time goes, op by op and layer by layer, after the timing.
        progress: told what is being done.

    Returns:
        A row for every model on every target that opens it; one that failed has its error instead of figures.

    Raises:
        InputError: a file or setting that cannot be used.
    """
    if effort not in latency.SETTINGS:
        raise InputError(f"effort '{effort}' is not known; it can be {', '.join(latency.SETTINGS)}.")
    if not models:
        raise InputError("there is nothing to time; name at least one model.")
    if limit_s is not None and not limit_s > 0:
        raise InputError(f"the time limit is {limit_s:g} s; give more than 0.")
    settings = latency.SETTINGS[effort]
    if limit_s is not None:
        settings = replace(settings, limit_s=limit_s)
    with opened([models], targets, trust=trust, on_every_target=True) as ((*entries,),):
        size = latency.common_batch([(entry.name, entry.artifact) for entry in entries], batch)
        conditions = Conditions(threads, size, settings, {"allow_fallback": allow_fallback}, profile)
        rows = _measured(entries, conditions, progress)
    if profile:
        rows = tuple(row if _tells_ops(row) else _without_profile(row) for row in rows)
    return Benchmark(rows, size, threads)


def _tells_ops(row: Row) -> bool:
    """Tell whether a row has a profile, or says itself why it has none: agents do."""
    return row.error is not None or measurer(row.target) == "agents"


def _without_profile(row: Row) -> Row:
    note = f"'{row.target}' does not tell where the time of {row.model} goes; profile on ort or litert."
    return replace(row, notes=(*row.notes, note))


def _measured(entries: Sequence[Entry], conditions: Conditions, progress: Progress) -> tuple[Row, ...]:
    """Measure group by group, each on one device in one way; machines work beside each other."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, entry in enumerate(entries):
        groups.setdefault((entry.target.device, measurer(entry.target)), []).append(index)
    machines: dict[str, list[tuple[str, str]]] = {}
    for group in groups:
        machines.setdefault(device(group[0]).machine, []).append(group)
    found: dict[int, Row] = {}

    def on_machine(machine: str, tell: Progress) -> None:
        for done, group in enumerate(machines[machine]):
            members = groups[group]
            rows = MEASURERS[group[1]](
                [entries[index] for index in members],
                conditions,
                lambda share, what, done=done: tell(
                    f"timing {what}", (done + share) / len(machines[machine])
                ),
            )
            found.update(zip(members, rows, strict=True))

    beside_each_other(on_machine, list(machines), progress)
    return tuple(found[index] for index in range(len(entries)))
