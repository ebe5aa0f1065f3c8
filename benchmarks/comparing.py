"""Compare model files before and after: the same examples, one interleaved run, one report."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from slimedge.artifact import Artifact, Format, Step, TensorSpec
from slimedge.artifact_file import read_artifact
from slimedge.benchmarks import latency
from slimedge.benchmarks.accuracy import Score, score
from slimedge.benchmarks.entries import HDF5_ENDINGS, Entry, check_interfaces, opened
from slimedge.benchmarks.judging import judge
from slimedge.benchmarks.predicting import Predictions, predict
from slimedge.benchmarks.weighing import Weight, weigh
from slimedge.comparison import Comparison, LayerSqnr, Variant
from slimedge.errors import InputError
from slimedge.measurement import Environment
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras

    from slimedge.data import Checks, Data


def compare(
    baseline: keras.Model | Artifact | Path | str,
    variants: Sequence[keras.Model | Artifact | Path | str],
    data: Data | None = None,
    *,
    targets: Collection[str] = (),
    output: str | None = None,
    threads: int = 1,
    effort: str = "default",
    allow_fallback: bool = False,
    trust: bool = False,
    raw_inputs: Collection[str] = (),
    checks: Checks = "strict",
    progress: Progress = silent,
) -> Comparison:
    """Compare variants of a model with a baseline: accuracy, agreement, size, latency, memory, and a verdict each.

    Args:
        baseline: a Keras model, an artifact, or the path of a `.keras`, `.onnx` or `.tflite` file.
        variants: likewise.
        data: the examples to compare on, all of them; None leaves accuracy, agreement and SQNR out.
        targets: names of targets, one a format at most (`ort:cpu`); other formats run on their usual runtime.
        output: name of the output to score; None takes the first with labels, else the first.
        threads: of every runtime.
        effort: how long to measure latency: `quick`, `default` or `thorough`.
        allow_fallback: measure on the CPU where a provider cannot run.
        trust: whether an `.h5` may be opened.
        raw_inputs: names of inputs that take pixels in 0…255 because the model scales them itself; a Keras file
            and a file exported here tell it themselves.
        checks: of `Data.bind`.
        progress: told what is being done.

    Returns:
        The baseline and the variants, in the given order.

    Raises:
        InputError: a file, data or setting that cannot be used.
        UnavailableError: a runtime or provider that is not here.
        RunError: a model that would not run.
    """
    (comparison,) = compare_groups(
        [[baseline, *variants]],
        data,
        targets=targets,
        output=output,
        threads=threads,
        effort=effort,
        allow_fallback=allow_fallback,
        trust=trust,
        raw_inputs=raw_inputs,
        checks=checks,
        progress=progress,
    )
    return comparison


def compare_groups(
    groups: Sequence[Sequence[keras.Model | Artifact | Path | str]],
    data: Data | None = None,
    *,
    targets: Collection[str] = (),
    output: str | None = None,
    threads: int = 1,
    effort: str = "default",
    allow_fallback: bool = False,
    trust: bool = False,
    raw_inputs: Collection[str] = (),
    checks: Checks = "strict",
    progress: Progress = silent,
) -> tuple[Comparison, ...]:
    """Compare several groups of models in one interleaved run, each with the first of its group.

    Args:
        groups: each a baseline and its variants; the other arguments are those of `compare`.

    Returns:
        One comparison a group.
    """
    if any(len(group) < 2 for group in groups) or not groups:
        raise InputError("a comparison takes a baseline and at least one variant; name two models or more.")
    if effort not in latency.SETTINGS:
        raise InputError(f"effort '{effort}' is not known; it can be {', '.join(latency.SETTINGS)}.")
    with opened(groups, targets, trust=trust) as entries:
        everything = [entry for group in entries for entry in group]
        first = everything[0].artifact
        check_interfaces(everything)
        bound = None
        if data is not None:
            raw = set(raw_inputs) or _raw_inputs(everything, trust=trust)
            specs = [_real(spec) for spec in first.inputs]
            bound = data.bind(specs, preprocessing=raw, checks=checks, outputs=[_real(s) for s in first.outputs])
        options = {"allow_fallback": allow_fallback}
        weights = {}
        for entry in everything:
            progress(f"weighing {entry.name}")
            weights[entry.name] = weigh(entry.artifact)
        predictions = {
            entry.name: predict(
                entry.artifact,
                entry.target,
                bound,
                inputs=first.inputs,
                options=options,
                doing=f"running {entry.name}",
                progress=progress,
            )
            for entry in everything
        }
        run = latency.measure_latency(
            [(entry.name, entry.artifact, entry.target) for entry in everything],
            inputs=_timed_inputs(everything, bound),
            threads=threads,
            settings=latency.SETTINGS[effort],
            options=options,
            progress=lambda share, name: progress(f"timing {name}", share),
        )
        outputs = [_real(spec) for spec in first.outputs]
        labels = {} if bound is None else bound.labels_for(outputs)
        scored = _scored_output(output, outputs, labels)
        position = [spec.name for spec in outputs].index(scored)
        environment = _with_own_version(run.environment)
        return tuple(
            _comparison(
                group,
                run,
                weights,
                predictions,
                position=position,
                scored=scored,
                labels=labels.get(scored),
                environment=environment,
                notes=(*(bound.notices if bound is not None else ()), *run.notes) if group is entries[0] else (),
            )
            for group in entries
        )


def _comparison(
    group: Sequence[Entry],
    run: latency.LatencyRun,
    weights: Mapping[str, Weight],
    predictions: Mapping[str, Predictions],
    *,
    position: int,
    scored: str,
    labels: NDArray[Any] | None,
    environment: Environment,
    notes: Sequence[str],
) -> Comparison:
    """Put together what was measured of one group; pure."""
    baseline, *others = group
    reference = predictions[baseline.name].outputs
    truth = None if reference is None else reference[position]

    def described(entry: Entry) -> Variant:
        given = predictions[entry.name].outputs
        found = Score(None, None, None, None, ())
        if given is not None:
            against = None if entry is baseline else truth
            found = score(given[position], against, labels, name=scored)
        return _variant(entry, run[entry.name], weights[entry.name], predictions[entry.name], found)

    first = described(baseline)
    if baseline.artifact.format is Format.KERAS and any(e.artifact.format is not Format.KERAS for e in others):
        notes = (
            *notes,
            "It runs in Keras, which nobody deploys: for the speed that quantizing alone gains, compare a float "
            "export with an integer one.",
        )
    if truth is not None and labels is None:
        notes = (*notes, "The data has no labels: agreement and SQNR stand in for accuracy.")
    first = replace(first, notes=(*first.notes, *notes))
    speedups = latency.speedups(run, baseline.name)
    variants = []
    for entry in others:
        variant = replace(described(entry), speedup=speedups[entry.name])
        variants.append(replace(variant, verdict=judge(variant, first).verdict))
    return Comparison(first, tuple(variants), environment)


def _variant(
    entry: Entry, timed: latency.Timed, weight: Weight, predictions: Predictions, found: Score
) -> Variant:
    notes = [*weight.notes, *predictions.notes, *found.notes]
    if entry.artifact.format is Format.KERAS and any(step.name == "quantize" for step in entry.artifact.lineage):
        notes.append("It computes its integers in floats: what they save shows in its exports only.")
    if entry.target.provider != "cpu" and entry.target.provider not in timed.provider.lower():
        notes.append(f"'{entry.target}' was asked for and could not run it; this is {timed.provider}.")
    return Variant(
        name=entry.name,
        format=str(entry.artifact.format),
        runtime=entry.target.backend,
        provider=timed.provider,
        integer_ops=predictions.integer_ops,
        total_ops=predictions.total_ops,
        file_bytes=weight.file_bytes,
        gzip_bytes=weight.gzip_bytes,
        parameters=weight.parameters,
        nonzero_parameters=weight.nonzero_parameters,
        macs=weight.macs,
        accuracy=found.accuracy,
        accuracy_delta=found.accuracy_delta,
        agreement=found.agreement,
        sqnr_db=found.sqnr_db,
        load_s=median(timed.load_s),
        first_run_s=median(timed.first_run_s),
        latency_s=timed.latency,
        peak_rss_bytes=round(median(timed.peak_rss_bytes)) if timed.peak_rss_bytes else None,
        notes=tuple(notes),
        layer_sqnr=layer_sqnr(entry.artifact),
    )


def layer_sqnr(artifact: Artifact) -> tuple[LayerSqnr, ...]:
    """Give the SQNR of each layer that a quantized file carries in its lineage; empty where it carries none."""
    levels: Mapping[str, Any] = {}
    for step in artifact.lineage:
        found = step.settings.get("layer_sqnr_db")
        levels = found if isinstance(found, Mapping) else levels
    return tuple(
        LayerSqnr(str(layer), float(level)) for layer, level in levels.items() if isinstance(level, int | float)
    )


def _real(spec: TensorSpec) -> TensorSpec:
    """Give an input or output as a session has it: floats, whatever integers the file takes."""
    return spec if spec.scale is None else replace(spec, dtype="float32", scale=None, zero_point=None)


def _raw_inputs(entries: Sequence[Entry], *, trust: bool) -> set[str]:
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

            return set(starts_with_preprocessing(load_model(entry.artifact.path, trust=trust, compiled=False)))
    return set()


def _timed_inputs(entries: Sequence[Entry], data: Data | None) -> dict[str, NDArray[Any]] | None:
    """Give the first examples, one batch of them; None is random numbers."""
    if data is None:
        return None
    sizes = [spec.shape[0] for entry in entries for spec in entry.artifact.inputs if spec.shape and spec.shape[0]]
    return next(data.batches(max(sizes, default=1)))[0]


def _scored_output(wanted: str | None, outputs: Sequence[TensorSpec], labels: Mapping[str, Any]) -> str:
    names = [spec.name for spec in outputs]
    if wanted is None:
        return next((name for name in names if name in labels), names[0])
    if wanted not in names:
        raise InputError(f"there is no output '{wanted}'; the models give {', '.join(names)}.")
    return wanted


def _with_own_version(environment: Environment) -> Environment:
    from slimedge import __version__

    return replace(environment, versions={"slimedge": __version__, **environment.versions})


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
