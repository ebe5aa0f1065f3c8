"""Put together what was measured of each file, and judge it; nothing is measured here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from numpy.typing import NDArray

from slimedge.artifact import Artifact, Format
from slimedge.benchmarks import latency
from slimedge.benchmarks.accuracy import Score, classes, score
from slimedge.benchmarks.entries import Entry
from slimedge.benchmarks.judging import judge
from slimedge.benchmarks.predicting import Predictions
from slimedge.benchmarks.weighing import Weight
from slimedge.comparison import Comparison, Evaluation, LayerSqnr, Variant
from slimedge.integers import WIDE_ACTIVATIONS, kernel_bits, saturates
from slimedge.measurement import Environment

_IN_KERAS = (
    "It runs in Keras, which nobody deploys: for the speed that quantizing alone gains, compare a float export with "
    "an integer one."
)
_SIMULATED = "It computes its integers in floats: what they save shows in its exports only."
_SATURATES = (
    "Its ONNX integers are of 8 bits with signed kernels, and this CPU has no VNNI: products may saturate and answers "
    "change; export with "
    "--portable."
)
_WIDE = {
    Format.ONNX: (
        "Its activations have 16 bits, for which ONNX Runtime has no kernels on a CPU: it computes in float and rounds "
        "in between."
    ),
    Format.TFLITE: (
        "Its activations have 16 bits, for which LiteRT has plain kernels only on a CPU; they pay on accelerators and "
        "microcontrollers that compute with 16-bit activations and 8-bit weights."
    ),
}
# Rounding to few bits makes zeros, too: some 20 % of normally distributed weights of 4 bits.
_MORE_ZEROS = 0.25
_UNLABELLED = "The data has no labels: agreement and SQNR stand in for accuracy."


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of several files in one run.

    Attributes:
        run: latencies.
        weights: by name.
        predictions: by name.
        scored: name of the output that is scored.
        position: of that output, in Keras order.
        labels: (n, …) for it, None without.
        environment: where.
        notes: what the reader should know about the whole run.
        fingerprint: of the examples, None without.
    """

    run: latency.LatencyRun
    weights: Mapping[str, Weight]
    predictions: Mapping[str, Predictions]
    scored: str
    position: int
    labels: NDArray[Any] | None
    environment: Environment
    notes: tuple[str, ...]
    fingerprint: str | None = None


def assemble(group: Sequence[Entry], measured: Measured, *, notes: Sequence[str] = ()) -> Comparison:
    """Compare a group of files by what was measured of them.

    Args:
        group: the baseline, then its variants.
        measured: of these files, and perhaps of others.
        notes: what the reader should know, told with the baseline.

    Returns:
        The comparison, each variant judged.

    Raises:
        InputError: the labels do not belong to the scored output.
    """
    baseline, *others = group
    truth = measured.predictions[baseline.name].outputs
    first = _variant(baseline, measured, None)
    kinds = {entry.artifact.format for entry in others}
    if baseline.artifact.format is Format.KERAS and kinds != {Format.KERAS}:
        notes = (*notes, _IN_KERAS)
    if truth is not None and measured.labels is None:
        notes = (*notes, _UNLABELLED)
    first = replace(first, notes=(*first.notes, *notes))
    speedups = latency.speedups(measured.run, baseline.name)
    variants = []
    for entry in others:
        against = None if truth is None else truth[measured.position]
        variant = replace(_variant(entry, measured, against), speedup=speedups[entry.name])
        if not measured.weights[entry.name].stored_sparsely:
            variant = replace(variant, notes=(*variant.notes, *zeros_notes(variant, first)))
        variants.append(replace(variant, verdict=judge(variant, first).verdict))
    return Comparison(first, tuple(variants), measured.environment, evaluation=_evaluation(group, measured))


def zeros_notes(variant: Variant, baseline: Variant) -> tuple[str, ...]:
    """Say of weights that are masked only, where there are many, that zeros which are multiplied save no time.

    Args:
        variant: whose file stores zeros like other numbers.
        baseline: what it was made of.

    Returns:
        A sentence where the share of zeros is at least 0.25 above the baseline's and the MACs are the same, else none.
    """
    if variant.sparsity is None or baseline.sparsity is None or variant.macs is None:
        return ()
    if variant.sparsity - baseline.sparsity < _MORE_ZEROS or variant.macs != baseline.macs:
        return ()
    note = (
        f"{100 * variant.sparsity:.0f} % of the weights are zeros, and it multiplies with all of them: a mask alone "
        "does not make it faster, only smaller once compressed; for speed, remove whole channels, which leaves fewer "
        "MACs."
    )
    return (note,)


def layer_sqnr(artifact: Artifact) -> tuple[LayerSqnr, ...]:
    """Give the SQNR of each layer that a quantized file carries in its lineage; empty where it carries none."""
    levels: Mapping[str, Any] = {}
    for step in artifact.lineage:
        found = step.settings.get("layer_sqnr_db")
        levels = found if isinstance(found, Mapping) else levels
    return tuple(
        LayerSqnr(str(layer), float(level))
        for layer, level in levels.items()
        if isinstance(level, int | float)
    )


def _evaluation(group: Sequence[Entry], measured: Measured) -> Evaluation | None:
    """Keep what was answered, so that a later run can be held against it example by example."""
    outputs = {
        entry.name: given[measured.position]
        for entry in group
        if (given := measured.predictions[entry.name].outputs) is not None
    }
    if measured.fingerprint is None or not outputs:
        return None
    found = classes(outputs, group[0].name, measured.labels, name=measured.scored)
    if found is None:
        return None
    truth, answers = found
    return Evaluation(
        fingerprint=measured.fingerprint,
        n=len(outputs[group[0].name]),
        truth=None if truth is None else tuple(truth.tolist()),
        answers={name: tuple(given.tolist()) for name, given in answers.items()},
    )


def _variant(entry: Entry, measured: Measured, against: NDArray[Any] | None) -> Variant:
    """Describe one file; `against` is what the baseline answered, None for the baseline itself."""
    timed, weight = measured.run[entry.name], measured.weights[entry.name]
    predictions = measured.predictions[entry.name]
    found = Score(None, None, None, None, ())
    if predictions.outputs is not None:
        found = score(predictions.outputs[measured.position], against, measured.labels, name=measured.scored)
    notes = [*weight.notes, *predictions.notes, *found.notes]
    if any(
        saturates(
            step.settings.get("integers", ""), measured.environment.isa, kernel_bits(entry.artifact.lineage)
        )
        for step in entry.artifact.lineage
    ):
        notes.append(_SATURATES)
    if any(
        str(step.settings.get("scheme", "")).endswith(WIDE_ACTIVATIONS) for step in entry.artifact.lineage
    ):
        notes += [note for kind, note in _WIDE.items() if kind is entry.artifact.format]
    if entry.artifact.format is Format.KERAS and any(
        step.name == "quantize" for step in entry.artifact.lineage
    ):
        notes.append(_SIMULATED)
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
        activation_bytes=weight.activations.bytes if weight.activations else None,
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
