"""Compare model files before and after: the same examples, one interleaved run, one report."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from slimedge.artifact import Artifact, Format, Step, TensorSpec
from slimedge.artifact_file import read_artifact
from slimedge.benchmarks import latency
from slimedge.benchmarks.assembling import Measured, assemble
from slimedge.benchmarks.details.collecting import collect
from slimedge.benchmarks.details.details import Details
from slimedge.benchmarks.entries import HDF5_ENDINGS, Entry, check_device, check_interfaces, opened
from slimedge.benchmarks.predicting import predict
from slimedge.benchmarks.profiles.profiling import profile
from slimedge.benchmarks.profiles.times import LayerTime
from slimedge.benchmarks.weighing import weigh
from slimedge.comparison import Comparison
from slimedge.errors import InputError, SlimedgeError
from slimedge.measurement import Environment
from slimedge.progress import Progress, silent
from slimedge.runtime.devices.naming import device
from slimedge.runtime.protocols import Device

if TYPE_CHECKING:
    import keras

    from slimedge.data import Checks, Data


@dataclass(frozen=True, slots=True)
class Conditions:
    """How models are compared.

    Attributes:
        targets: names of targets, one a format at most (`ort:cpu`); other formats run on their usual runtime. All files
            run on one device, as on `ssh://pi@board`.
        output: name of the output to score; None takes the first with labels, else the first.
        threads: of every runtime.
        effort: how long to measure latency: `quick`, `default` or `thorough`.
        allow_fallback: measure on the CPU where a provider cannot run.
        trust: whether an `.h5` may be opened.
        raw_inputs: names of inputs that take pixels in 0…255 because the model scales them itself; a Keras file
            and a file exported here tell it themselves.
        checks: of `Data.bind`.
    """

    targets: Collection[str] = ()
    output: str | None = None
    threads: int = 1
    effort: str = "default"
    allow_fallback: bool = False
    trust: bool = False
    raw_inputs: Collection[str] = ()
    checks: Checks = "strict"


def compare(
    baseline: keras.Model | Artifact | Path | str,
    variants: Sequence[keras.Model | Artifact | Path | str],
    data: Data | None = None,
    *,
    progress: Progress = silent,
    **conditions: Any,
) -> Comparison:
    """Compare variants of a model with a baseline: accuracy, agreement, size, latency, memory, and a verdict each.

    Args:
        baseline: a Keras model, an artifact, or the path of a `.keras`, `.onnx` or `.tflite` file.
        variants: likewise.
        data: the examples to compare on, all of them; None leaves accuracy, agreement and SQNR out.
        progress: told what is being done.
        conditions: fields of `Conditions`: `targets`, `output`, `threads`, `effort`, …

    Returns:
        The baseline and the variants, in the given order.

    Raises:
        InputError: a file, data or setting that cannot be used.
        UnavailableError: a runtime or provider that is not here.
        RunError: a model that would not run.
    """
    (comparison,) = compare_groups([[baseline, *variants]], data, Conditions(**conditions), progress=progress)
    return comparison


def compare_groups(
    groups: Sequence[Sequence[keras.Model | Artifact | Path | str]],
    data: Data | None = None,
    conditions: Conditions | None = None,
    *,
    progress: Progress = silent,
) -> tuple[Comparison, ...]:
    """Compare several groups of models in one interleaved run, each with the first of its group.

    Args:
        groups: each a baseline and its variants.
        data: the examples to compare on, all of them.
        conditions: None for those of `Conditions()`.
        progress: told what is being done.

    Returns:
        One comparison a group.

    Raises:
        InputError: as `compare`, and a group without a variant.
        UnavailableError: as `compare`.
        RunError: as `compare`.
    """
    with _looked_at(groups, data, conditions or Conditions(), progress) as (entries, _, measured):
        return _assembled(entries, measured)


@dataclass(frozen=True, slots=True)
class Detailed:
    """What one run gave.

    Attributes:
        comparisons: one a group.
        details: what lies behind their figures, by the names of the models.
    """

    comparisons: tuple[Comparison, ...]
    details: Mapping[str, Details]


def compare_groups_detailed(
    groups: Sequence[Sequence[keras.Model | Artifact | Path | str]],
    data: Data | None = None,
    conditions: Conditions | None = None,
    *,
    progress: Progress = silent,
) -> Detailed:
    """Compare as `compare_groups` does, and keep what lies behind the figures, for a page to draw.

    The layers of ONNX and TFLite files are timed, too, each file in a process of its own.

    Args:
        groups: each a baseline and its variants.
        data: the examples to compare on, all of them.
        conditions: None for those of `Conditions()`.
        progress: told what is being done.

    Raises:
        InputError: as `compare_groups`.
        UnavailableError: as `compare_groups`.
        RunError: as `compare_groups`.
    """
    with _looked_at(groups, data, conditions or Conditions(), progress) as (entries, bound, measured):
        comparisons = _assembled(entries, measured)
        details: dict[str, Details] = {}
        for group in entries:
            details |= collect(group, measured, bound)
        for entry in (entry for group in entries for entry in group):
            if entry.artifact.format is not Format.KERAS:
                progress(f"timing the layers of {entry.name}")
                times, notes = _layer_times(entry, measured.run.batch, conditions or Conditions())
                details[entry.name] = replace(details[entry.name], layer_times=times, notes=notes)
        return Detailed(comparisons, details)


def lineages(comparison: Comparison, models: Sequence[Path]) -> dict[str, tuple[Step, ...]]:
    """Give how the compared files were made, by the names that they have in the comparison.

    Args:
        comparison: of these files.
        models: paths in the order in which they were compared.
    """
    variants = (comparison.baseline, *comparison.variants)
    return {
        variant.name: read_artifact(path).lineage
        for variant, path in zip(variants, models, strict=True)
        if path.suffix.lower() not in HDF5_ENDINGS
    }


@contextmanager
def _looked_at(
    groups: Sequence[Sequence[keras.Model | Artifact | Path | str]],
    data: Data | None,
    conditions: Conditions,
    progress: Progress,
) -> Iterator[tuple[list[list[Entry]], Data | None, Measured]]:
    """Give the files, the data as they take it, and what was measured; models in memory are files meanwhile."""
    if any(len(group) < 2 for group in groups) or not groups:
        raise InputError("a comparison takes a baseline and at least one variant; name two models or more.")
    if conditions.effort not in latency.SETTINGS:
        raise InputError(
            f"effort '{conditions.effort}' is not known; it can be {', '.join(latency.SETTINGS)}."
        )
    with opened(groups, conditions.targets, trust=conditions.trust) as entries:
        everything = [entry for group in entries for entry in group]
        check_interfaces(everything)
        check_device(everything)
        bound = None if data is None else _bound(data, everything, conditions)
        with device(everything[0].target.device).reserved() as place:
            measured = _measured(everything, bound, conditions, place, progress)
        yield entries, bound, measured


def _assembled(entries: Sequence[Sequence[Entry]], measured: Measured) -> tuple[Comparison, ...]:
    return tuple(
        assemble(group, measured, notes=measured.notes if group is entries[0] else ()) for group in entries
    )


def _layer_times(
    entry: Entry, batch: int, conditions: Conditions
) -> tuple[tuple[LayerTime, ...], tuple[str, ...]]:
    """Give times and notes; a picture that cannot be had does not end a comparison."""
    try:
        with device(entry.target.device).reserved() as place:
            found = profile(
                entry.artifact,
                entry.target,
                device=place,
                threads=conditions.threads,
                batch=batch,
                options={"allow_fallback": conditions.allow_fallback},
            )
    except SlimedgeError as error:
        return (), (f"Its layers could not be timed: {error}",)
    return found.layers, ()


def _bound(data: Data, entries: Sequence[Entry], conditions: Conditions) -> Data:
    """Fit the data to the first file's inputs; the others take the same."""
    first = entries[0].artifact
    return data.bind(
        [_real(spec) for spec in first.inputs],
        preprocessing=set(conditions.raw_inputs) or _raw_inputs(entries),
        checks=conditions.checks,
        outputs=[_real(spec) for spec in first.outputs],
    )


def _measured(
    entries: Sequence[Entry], data: Data | None, conditions: Conditions, place: Device, progress: Progress
) -> Measured:
    """Weigh, run and time every file."""
    first = entries[0].artifact
    outputs = [_real(spec) for spec in first.outputs]
    labels = {} if data is None else data.labels_for(outputs)
    scored = _scored_output(conditions.output, outputs, labels)
    options = {"allow_fallback": conditions.allow_fallback}
    weights, predictions = {}, {}
    for entry in entries:
        progress(f"weighing {entry.name}")
        weights[entry.name] = weigh(entry.artifact)
    for entry in entries:
        predictions[entry.name] = predict(
            entry.artifact,
            entry.target,
            data,
            inputs=first.inputs,
            device=place,
            options=options,
            doing=f"running {entry.name}",
            progress=progress,
        )
    run = latency.measure_latency(
        [(entry.name, entry.artifact, entry.target) for entry in entries],
        inputs=_timed_inputs(entries, data),
        threads=conditions.threads,
        settings=latency.SETTINGS[conditions.effort],
        options=options,
        device=place,
        progress=lambda share, name: progress(f"timing {name}", share),
    )
    return Measured(
        run=run,
        weights=weights,
        predictions=predictions,
        scored=scored,
        position=[spec.name for spec in outputs].index(scored),
        labels=labels.get(scored),
        environment=_with_own_version(run.environment),
        notes=(*(() if data is None else data.notices), *run.notes, *_emulated(place)),
        fingerprint=None if data is None else data.fingerprint,
    )


def _emulated(place: Device) -> tuple[str, ...]:
    if place.instructions_per_second is None:
        return ()
    return (
        "Emulated: the times are those of a clock that goes on by a nanosecond an instruction, not of any real board.",
    )


def _real(spec: TensorSpec) -> TensorSpec:
    """Give an input or output as a session has it: floats, whatever integers the file takes."""
    return spec if spec.scale is None else replace(spec, dtype="float32", scale=None, zero_point=None)


def _raw_inputs(entries: Sequence[Entry]) -> set[str]:
    """Find which inputs take raw pixels: from the files' lineage, else from a Keras model among them."""
    for entry in entries:
        for step in entry.artifact.lineage:
            told = step.settings.get("raw_inputs")
            if isinstance(told, list):
                return {str(name) for name in told}
    for entry in entries:
        if entry.artifact.format is Format.KERAS:
            from slimedge.keras_file import load_model
            from slimedge.preprocessing import starts_with_preprocessing

            return set(starts_with_preprocessing(load_model(entry.artifact.path, compiled=False)))
    return set()


def _timed_inputs(entries: Sequence[Entry], data: Data | None) -> dict[str, NDArray[Any]] | None:
    """Give the first examples, one batch of them; None is random numbers."""
    if data is None:
        return None
    sizes = [
        spec.shape[0] for entry in entries for spec in entry.artifact.inputs if spec.shape and spec.shape[0]
    ]
    return next(data.batches(max(sizes, default=1)))[0]


def _scored_output(wanted: str | None, outputs: Sequence[TensorSpec], labels: Collection[str]) -> str:
    names = [spec.name for spec in outputs]
    if wanted is None:
        return next((name for name in names if name in labels), names[0])
    if wanted not in names:
        raise InputError(f"there is no output '{wanted}'; the models give {', '.join(names)}.")
    return wanted


def _with_own_version(environment: Environment) -> Environment:
    from slimedge import __version__

    return replace(environment, versions={"slimedge": __version__, **environment.versions})
