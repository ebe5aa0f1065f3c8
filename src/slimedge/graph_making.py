"""A `slimedge.graph.Graph` made into a Keras model again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slimedge.depth import any_depth
from slimedge.errors import InputError
from slimedge.graph import Graph, Layer, Value, fresh, mapper

if TYPE_CHECKING:
    import keras


def to_model(graph: Graph, *, kept: bool = True) -> keras.Model:
    """Make a new functional Keras model with the same names, structure and weights.

    Args:
        graph: any; the layer that makes a model output takes that output's name.
        kept: whether the model is for the user; one that is only run for a moment does without the layers'
            initializers, which would draw random numbers for weights that are replaced at once.

    Returns:
        A model that shares nothing with the one that the graph was read from.

    Raises:
        InputError: a layer cannot be made again from its config.
    """
    import keras

    tensors: dict[Value, Any] = {}
    for value, name in zip(graph.inputs, graph.input_names, strict=True):
        tensors[value] = keras.Input(batch_shape=value.shape, dtype=value.dtype, name=name)
    renamed = layer_names(graph)
    made: dict[Layer, Any] = {}
    fill = mapper(lambda value: tensors[value])
    for node in graph.nodes:
        layer = node.layer
        operation = made.get(layer)
        if operation is None:
            plain = layer if kept else layer.changed(**_zero_initializers(layer))
            operation = made[layer] = _made(plain, renamed[layer])
        outputs = operation(*fill(node.args), **fill(dict(node.kwargs)))
        tensors.update(zip(node.outputs, keras.tree.flatten(outputs), strict=True))
    for layer, operation in made.items():
        if layer.weights:
            try:
                operation.set_weights([array for _, array in layer.weights])
            except ValueError as error:
                raise cannot_copy(layer.name, layer.kind, error) from error
    with any_depth():
        model = keras.Model(fill(graph.input_structure), fill(graph.output_structure), name=graph.name)
    for layer in model._flatten_layers():
        if hasattr(layer, "finalize_state"):  # Normalization computes with a copy of its weights
            layer.finalize_state()
    return model


def _zero_initializers(layer: Layer) -> dict[str, Any]:
    return {name: "zeros" for name, value in layer.config.items() if name.endswith("_initializer") and value}


def layer_names(graph: Graph) -> dict[Layer, str]:
    """Give the name of each layer in the model that `to_model` makes; one that makes a model output has that's name."""
    producers = graph.producers()
    names: dict[Layer, str] = {}
    for value, wanted in zip(graph.outputs, graph.output_names, strict=True):
        if value in producers:
            names.setdefault(producers[value].layer, wanted)
    taken = set(names.values()) | set(graph.input_names)
    for node in graph.nodes:
        if node.layer not in names:
            name = node.layer.name
            if name in taken:
                name = fresh(f"{name}_{node.layer.kind.lower()}", taken)
            names[node.layer] = name
            taken.add(name)
    return names


def _made(layer: Layer, name: str) -> Any:
    """A new Keras layer or operation from its config."""
    try:
        return layer.type.from_config({**layer.config, "name": name})  # type: ignore[attr-defined]
    except (TypeError, ValueError, KeyError, AttributeError, NotImplementedError) as error:
        raise cannot_copy(layer.name, layer.kind, error) from error


def cannot_copy(name: str, kind: str, error: Exception) -> InputError:
    """Give the error for a layer that cannot be taken apart or made again."""
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return InputError(
        f"layer '{name}' ({kind}) cannot be made again from its config ({reason[:200].rstrip('.')}); a Lambda is "
        "better a registered layer class, and such a class needs a get_config with every argument of __init__."
    )
