"""A graph as JSON and arrays, so that a process with another Keras can build it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from slimedge.compress.rules import MERGING
from slimedge.errors import InputError
from slimedge.graph import Graph, Layer, Node, Value

# Settings of a layer that say nothing on what a trained one computes.
_LEFT_OUT = ("_initializer", "_regularizer", "_constraint")


def described(graph: Graph) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give a graph as JSON values, and its weights by `LAYER/WEIGHT`, both numbers.

    Args:
        graph: float, with layers of Keras only; an addition or another operation of two tensors counts as its layer.

    Raises:
        InputError: a layer or operation that Keras 2 cannot have.
    """
    numbers = {value: index for index, value in enumerate(graph.inputs)}
    layers: dict[Layer, int] = {}
    nodes = []
    for node in graph.nodes:
        args = _merged(node)
        layers.setdefault(node.layer, len(layers))
        numbers.update((value, len(numbers) + index) for index, value in enumerate(node.outputs))
        kwargs = {name: value for name, value in node.kwargs.items() if value is not None}
        nodes.append(
            {
                "layer": layers[node.layer],
                "args": _plain(args, numbers, node),
                "kwargs": _plain(kwargs, numbers, node),
                "outputs": [numbers[value] for value in node.outputs],
            }
        )
    description = {
        "name": graph.name,
        "inputs": [
            {"name": name, "shape": list(value.shape), "dtype": value.dtype}
            for value, name in zip(graph.inputs, graph.input_names, strict=True)
        ],
        "layers": [
            {"kind": layer.kind, "config": _config(layer), "weights": [name for name, _ in layer.weights]}
            for layer in layers
        ],
        "nodes": nodes,
        "outputs": [numbers[value] for value in graph.outputs],
        "output_names": list(graph.output_names),
    }
    arrays = {
        f"{number}/{index}": array
        for layer, number in layers.items()
        for index, (_, array) in enumerate(layer.weights)
    }
    return description, arrays


def not_rebuilt(name: str, kind: str, reason: str) -> InputError:
    """Give the error for a layer that tf-keras cannot have."""
    return InputError(
        f"layer '{name}' ({kind}) cannot be rebuilt in tf-keras, which TFMOT needs ({reason}); train this model with "
        "engine='keras'."
    )


def _merged(node: Node) -> tuple[Any, ...]:
    """Give the arguments of a call as those of a layer of Keras."""
    import keras

    kind = node.layer.kind
    if issubclass(node.layer.type, keras.layers.Layer):
        if "." in kind or node.layer.type.__module__.startswith("slimedge"):
            raise not_rebuilt(node.source, kind, "it is no layer of Keras")
        return node.args
    tensors = [*node.args, *node.kwargs.values()]
    if kind in MERGING and len(tensors) == 2 and all(isinstance(tensor, Value) for tensor in tensors):
        return (tensors,)
    raise not_rebuilt(node.source, kind, "it is an operation of keras.ops and no layer")


def _plain(structure: Any, numbers: Mapping[Value, int], node: Node) -> Any:
    if isinstance(structure, Value):
        return {"value": numbers[structure]}
    if isinstance(structure, Mapping):
        return {"items": {name: _plain(inner, numbers, node) for name, inner in structure.items()}}
    if isinstance(structure, (list, tuple)):
        return [_plain(inner, numbers, node) for inner in structure]
    if structure is None or isinstance(structure, (bool, int, float, str)):
        return structure
    raise not_rebuilt(node.source, node.layer.kind, "one of its arguments is a constant")


def _config(layer: Layer) -> dict[str, Any]:
    import keras

    if not issubclass(layer.type, keras.layers.Layer):
        return {"name": layer.name}
    kept = {name: value for name, value in layer.config.items() if not name.endswith(_LEFT_OUT)}
    kept["dtype"] = "float32"
    try:
        told: dict[str, Any] = json.loads(json.dumps(kept, default=_number), object_hook=_single)
    except TypeError as error:
        raise not_rebuilt(layer.name, layer.kind, str(error).rstrip(".")) from error
    return told


def _single(settings: dict[str, Any]) -> Any:
    """Give what Keras 2 calls a type, within the config of a layer in a layer."""
    return "float32" if settings.get("class_name") == "DTypePolicy" else settings


def _number(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"its config holds a {type(value).__name__}")
