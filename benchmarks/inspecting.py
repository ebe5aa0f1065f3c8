"""What is in a model: layers or ops, shapes, parameters, MACs, memory, sparsity, types, sizes, how it was made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slimedge import macs, weight_facts
from slimedge.artifact import Format, Step, TensorSpec
from slimedge.benchmarks import activation_graphs, size, weighing
from slimedge.benchmarks.entries import HDF5_ENDINGS
from slimedge.errors import SlimedgeError
from slimedge.progress import Progress, silent
from slimedge.weight_facts import WeightFacts

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from slimedge.artifact import Artifact
    from slimedge.graph import Layer


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """One layer of a Keras model.

    Attributes:
        name: as in the model; layers of nested models are listed like the others.
        kind: its class, of a rounded layer that of the layer inside.
        output_shape: batch first, None where any size goes.
        dtype: of its output.
        parameters: numbers in its weights, quantization scales and ranges left out.
        nonzero_parameters: those that are not zero.
        macs: for one example; None where it could not be counted.
        distinct_values: the most that one of its weights has, where it has so few that a palette makes each smaller
            (`slimedge.weight_facts`); else None.
        pattern: `2:4` where each of its weights with an input keeps to it; likewise `1:4` and `4:8`.
    """

    name: str
    kind: str
    output_shape: tuple[int | None, ...]
    dtype: str
    parameters: int
    nonzero_parameters: int
    macs: int | None
    distinct_values: int | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found in a model; None for what it does not tell.

    Attributes:
        name: of the model, or of its file.
        format: of the file; `keras` for a model in memory.
        inputs: in Keras order.
        outputs: in Keras order.
        parameters: numbers in the weights.
        nonzero_parameters: those that are not zero.
        macs: multiply-accumulates for one example.
        activation_bytes: the largest sum of tensors that are alive at the same time, for one example.
        activation_peak: the layer or op that runs then, the first of them.
        file_bytes: None for a model in memory.
        gzip_bytes: likewise.
        layers: of a Keras model, in the order of their calls.
        weights: of an ONNX or TFLite file, in its order.
        ops: of an ONNX or TFLite file: op type to how often it stands there.
        weight_types: element type to how many numbers of the weights have it.
        integer_ops: ops that the runtime executes on integers, after its own optimization.
        total_ops: all that it executes.
        lineage: the steps that led here.
        notes: what the reader should know.
    """

    name: str
    format: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: int
    nonzero_parameters: int
    macs: int | None
    file_bytes: int | None
    gzip_bytes: int | None
    activation_bytes: int | None = None
    activation_peak: str | None = None
    layers: tuple[LayerFacts, ...] = ()
    weights: tuple[WeightFacts, ...] = ()
    ops: Mapping[str, int] | None = None
    weight_types: Mapping[str, int] | None = None
    integer_ops: int | None = None
    total_ops: int | None = None
    lineage: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def sparsity(self) -> float | None:
        """Share of the weights that are zero; None without weights."""
        return 1.0 - self.nonzero_parameters / self.parameters if self.parameters else None


def inspect(
    model: keras.Model | Artifact | Path | str, *, trust: bool = False, progress: Progress = silent
) -> Inspection:
    """Look into a model without running it, but for the ops that its runtime would execute.

    Args:
        model: a Keras model, an artifact, or the path of a `.keras`, `.onnx` or `.tflite` file.
        trust: whether an `.h5` may be opened.
        progress: told what is being done.

    Returns:
        What was found.

    Raises:
        InputError: a file that cannot be used.
    """
    from slimedge.artifact import Artifact
    from slimedge.artifact_file import read_artifact
    from slimedge.keras_file import load_model

    if not isinstance(model, Artifact | Path | str):
        return _keras(model, None)
    path = model.path if isinstance(model, Artifact) else Path(model)
    progress(f"reading {path.name}")
    if path.suffix.lower() in HDF5_ENDINGS:
        return _keras(load_model(path, trust=trust, compiled=False), path)
    artifact = model if isinstance(model, Artifact) else read_artifact(path)
    if artifact.format is Format.KERAS:
        return _keras(load_model(path, trust=trust, compiled=False), path)
    return _exported(artifact, progress)


def _keras(model: keras.Model, path: Path | None) -> Inspection:
    from slimedge.keras_file import input_specs, output_specs
    from slimedge.lineage import lineage_of

    counted = macs.count(model)
    activations = activation_graphs.of_model(model)
    layers = _layers(model, counted)
    types: Counter[str] = Counter()
    for layer in layers:
        types[layer.dtype] += layer.parameters
    return Inspection(
        name=path.name if path is not None else str(model.name),
        format=str(Format.KERAS),
        inputs=input_specs(model),
        outputs=output_specs(model),
        parameters=sum(layer.parameters for layer in layers),
        nonzero_parameters=sum(layer.nonzero_parameters for layer in layers),
        macs=counted.total,
        file_bytes=None if path is None else size.file_bytes([path]),
        gzip_bytes=None if path is None else size.gzip_bytes([path]),
        activation_bytes=activations.bytes if activations else None,
        activation_peak=activations.op if activations else None,
        layers=layers,
        weight_types=dict(types),
        lineage=lineage_of(model),
        notes=weighing.macs_notes(counted),
    )


def _layers(model: keras.Model, counted: macs.Macs) -> tuple[LayerFacts, ...]:
    from slimedge import graph_reading

    found: dict[str, LayerFacts] = {}
    for node in graph_reading.from_model(model).nodes:
        layer = node.layer
        if layer.name in found:
            continue
        named = [(name, array) for name, array in layer.weights if not _is_quantization(layer.kind, name)]
        weights = [array for _, array in named]
        found[layer.name] = LayerFacts(
            name=layer.name,
            kind=_kind(layer),
            output_shape=node.output.shape,
            dtype=node.output.dtype,
            parameters=sum(array.size for array in weights),
            nonzero_parameters=sum(int(np.count_nonzero(array)) for array in weights),
            macs=None if layer.name in counted.uncounted else counted.by_layer[layer.name],
            distinct_values=_distinct_values(weights),
            pattern=_pattern(layer, named),
        )
    return tuple(found.values())


def _distinct_values(weights: Sequence[NDArray[Any]]) -> int | None:
    """Give the most values of a weight that is large enough for a palette; None where one of these has too many."""
    found = [
        weight_facts.distinct_values(array, weight_facts.nonzero(array), 8 * array.dtype.itemsize, array.size)
        for array in weights
        if array.size > weight_facts.MOST_VALUES
    ]
    return max((count for count in found if count is not None), default=None) if None not in found else None


def _pattern(layer: Layer, weights: Iterable[tuple[str, NDArray[Any]]]) -> str | None:
    """Give the pattern of kernels, whose last two axes are input and output; None where they differ."""
    if _inner(layer) in _OTHER_AXES:
        return None
    found = {
        weight_facts.pattern(weight_facts.nonzero(array), array.ndim - 2)
        for name, array in weights
        if name in _KERNELS and array.ndim >= 2
    }
    return found.pop() if len(found) == 1 else None


def _kind(layer: Layer) -> str:
    return f"{_inner(layer)} int8" if layer.kind == "FakeQuantWeights" else layer.kind


def _inner(layer: Layer) -> str:
    """Give the kind of a layer, of a rounded one that of the layer inside."""
    return str(layer.config["layer"]["class_name"] if layer.kind == "FakeQuantWeights" else layer.kind)


def _is_quantization(kind: str, weight: str) -> bool:
    """Tell scales and ranges, which a fake-quant keeps as variables, from weights."""
    return kind == "FakeQuant" or (kind == "FakeQuantWeights" and weight.endswith("_scale"))


def _exported(artifact: Artifact, progress: Progress) -> Inspection:
    from slimedge.runtime.ops import count_ops

    weight = weighing.weigh(artifact)
    notes = list(weight.notes)
    integer = total = None
    progress(f"loading {artifact.path.name} in its runtime")
    try:
        executed = count_ops(artifact)
        integer, total = executed.integer_ops, executed.total_ops
    except SlimedgeError as error:
        notes.append(f"What the runtime executes is not known: {error}")
    return Inspection(
        name=artifact.path.name,
        format=str(artifact.format),
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        parameters=weight.parameters,
        nonzero_parameters=weight.nonzero_parameters,
        macs=weight.macs,
        file_bytes=weight.file_bytes,
        gzip_bytes=weight.gzip_bytes,
        activation_bytes=weight.activations.bytes if weight.activations else None,
        activation_peak=weight.activations.op if weight.activations else None,
        weights=weight.weights,
        ops=dict(Counter(op.kind for op in weight.graph.ops).most_common()) if weight.graph else None,
        weight_types=dict(weight.graph.constants) if weight.graph else None,
        integer_ops=integer,
        total_ops=total,
        lineage=artifact.lineage,
        notes=tuple(notes),
    )


_KERNELS = frozenset({"kernel", "recurrent_kernel", "pointwise_kernel"})
# Kernels whose last two axes are not input and output.
_OTHER_AXES = frozenset({"Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "EinsumDense"})
