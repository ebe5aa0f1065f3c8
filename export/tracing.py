"""A Keras model as a TensorFlow graph with its weights as constants, or left out to be filled in later."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.export.tensorflow_graph import with_constants
from slimedge.weight_rounding import NARROW_BITS

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class Weight:
    """What a variable becomes in an artifact.

    Attributes:
        layer: path of the variable, for messages.
        value: float32, or int8 where it is quantized.
        scale: float32 of the same rank, size 1 on the axes that share a scale; None where it is float.
    """

    layer: str
    value: NDArray[Any]
    scale: NDArray[np.float32] | None = None

    def dequantized(self) -> NDArray[Any]:
        """Give the real numbers that the weight stands for."""
        return self.value if self.scale is None else self.value.astype(np.float32) * self.scale


@dataclass(frozen=True, slots=True)
class Traced:
    """A traced model.

    Attributes:
        definition: GraphDef.
        inputs: tensors of the model's inputs, then of the left-out weights.
        outputs: tensor of each output by its Keras name.
        left_out: placeholder name to the weight that belongs there.
    """

    definition: Any
    inputs: Sequence[Any]
    outputs: Mapping[str, Any]
    left_out: Mapping[str, Weight]


def weights_of(model: keras.Model) -> dict[int, Weight]:
    """Give what each variable of a model becomes, by the variable's id."""
    from slimedge.fake_quant import narrowed_range

    found = {}
    for layer in quantized_layers(model):
        integers = layer.integers()
        for variable in layer.layer.weights:
            if variable.name in integers:
                value, scale = integers[variable.name]
                found[id(variable)] = Weight(variable.path, value, scale)
    for layer in wide_activations(model):
        ends = narrowed_range(layer.grid()[0])
        for variable, end in zip((layer.low, layer.high), ends, strict=True):
            found[id(variable)] = Weight(variable.path, np.asarray(end, np.float32))
    for variable in model.variables:
        found.setdefault(id(variable), Weight(variable.path, np.asarray(variable)))
    return found


def quantized_layers(model: keras.Model) -> list[Any]:
    """Give the layers whose weights are on an integer grid."""
    return [layer for layer in model._flatten_layers() if type(layer).__name__ == "FakeQuantWeights"]


def wide_activations(model: keras.Model) -> list[Any]:
    """Give the layers that round activations to more than 8 bits; they are traced as of 8 bits with the same scale."""
    return [
        layer
        for layer in model._flatten_layers()
        if type(layer).__name__ == "FakeQuant" and layer.bits > NARROW_BITS
    ]


def activation_grids(model: keras.Model) -> list[tuple[int, float, int]]:
    """Give bits, scale and signed zero point of each activation that is rounded."""
    layers = [layer for layer in model._flatten_layers() if type(layer).__name__ == "FakeQuant"]
    grids = [(layer.bits, *layer.grid()) for layer in layers]
    return [(bits, scale, zero - 2 ** (bits - 1)) for bits, scale, zero in grids]


def trace(
    model: keras.Model,
    *,
    batch: int | None,
    leave_out: Callable[[Weight], bool] | None = None,
    stand_for: Callable[[Weight], NDArray[Any]] = Weight.dequantized,
    merging: bool = False,
) -> Traced:
    """Trace a model at inference.

    Args:
        model: built.
        batch: size of the first axis of every input, None for any.
        leave_out: which weights become placeholders; the others are constants in the graph.
        stand_for: the numbers that a constant weight has in the graph.
        merging: see `slimedge.fake_quant.lowering`.

    Returns:
        The graph; its inputs have the model's names.
    """
    import keras
    import tensorflow as tf

    from slimedge.fake_quant import lowering
    from slimedge.keras_file import input_specs, input_structure, output_specs, settle

    settle(model)
    weights = weights_of(model)
    variables = {id(variable): variable for variable in model.variables}
    names = {key: f"slimedge_weight_{number}" for number, key in enumerate(weights)}
    out = [key for key, weight in weights.items() if leave_out is not None and leave_out(weight)]
    inputs = input_specs(model)
    outputs = output_specs(model)

    def run(*tensors: Any) -> dict[str, Any]:
        given = tensors[: len(inputs)]
        fed = dict(zip(out, tensors[len(inputs) :], strict=True))
        mapping = [
            (variables[key], fed[key] if key in fed else tf.constant(stand_for(weight)))
            for key, weight in weights.items()
        ]
        with keras.StatelessScope(mapping), lowering(merging=merging):
            structure = keras.tree.pack_sequence_as(input_structure(model), list(given))
            result = keras.tree.flatten(model(structure, training=False))
        return {
            spec.name: tf.identity(tensor, name=f"output_{index}")
            for index, (spec, tensor) in enumerate(zip(outputs, result, strict=True))
        }

    signature = [tf.TensorSpec((batch, *spec.shape[1:]), spec.dtype, name=spec.name) for spec in inputs]
    signature += [tf.TensorSpec(weights[key].value.shape, tf.float32, name=names[key]) for key in out]
    function = tf.function(run, autograph=False).get_concrete_function(*signature)
    definition = function.graph.as_graph_def(add_shapes=True)
    with_constants(definition, function.graph.captures)
    given = function.inputs[: len(signature)]
    return Traced(definition, given, function.structured_outputs, {names[key]: weights[key] for key in out})
