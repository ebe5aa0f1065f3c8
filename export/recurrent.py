"""Recurrent layers taken out of a model, so that a format's own operator can stand in their place.

TensorFlow runs a recurrent layer as a loop over time steps, and a converter that sees the loop writes a loop. So the
model is converted without the layer: what goes into it is an output more, what comes out of it an input more, and
the exporter joins the two by one operator with the layer's weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.graph import Graph, Layer, Node, Value, with_arguments
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model

if TYPE_CHECKING:
    import keras

STATES = {"LSTM": 2, "GRU": 1}
GATES = {"LSTM": 4, "GRU": 3}
_USUAL = {"activation": "tanh", "recurrent_activation": "sigmoid", "stateful": False}


@dataclass(frozen=True, slots=True)
class Direction:
    """The weights of a pass over time, as Keras has them.

    Attributes:
        kernel: (features, gates · units); gates i f c o of an LSTM, z r h of a GRU.
        recurrent_kernel: (units, gates · units).
        bias: (gates · units,), or (2, gates · units) for a GRU that resets after its product; zeros where it has none.
        backwards: whether it begins at the last step.
    """

    kernel: NDArray[Any]
    recurrent_kernel: NDArray[Any]
    bias: NDArray[Any]
    backwards: bool


@dataclass(frozen=True, slots=True)
class Recurrence:
    """A recurrent layer that was taken out.

    Attributes:
        call: a name of its own; a shared layer is called several times.
        layer: its name.
        kind: `LSTM` or `GRU`.
        directions: one pass, or two whose outputs are concatenated.
        sequences: whether its first output has every step.
        reset_after: of a GRU, whether the reset gate acts on the product with the recurrent kernel.
        given: name of the output that carries its input.
        made: names of the inputs that carry its outputs: the first output, then final states by direction.
    """

    call: str
    layer: str
    kind: str
    directions: tuple[Direction, ...]
    sequences: bool
    reset_after: bool
    given: str
    made: tuple[str, ...]

    @property
    def units(self) -> int:
        """Size of the state."""
        return int(self.directions[0].recurrent_kernel.shape[0])


@dataclass(frozen=True, slots=True)
class Joint:
    """Where a recurrence belongs in a converted graph.

    Attributes:
        recurrence: what stands there.
        given: tensor of shape (batch, steps, features) that the graph gives.
        made: tensors that the graph takes, as in `Recurrence.made`.
    """

    recurrence: Recurrence
    given: str
    made: Sequence[str]


def without_recurrences(model: keras.Model) -> tuple[keras.Model, tuple[Recurrence, ...]]:
    """Take out the recurrent layers that one operator can stand for.

    Those are LSTM and GRU, alone or in a Bidirectional that concatenates, with tanh and sigmoid, without masks,
    initial states and carried state. Any other stays where it is.

    Args:
        model: functional.

    Returns:
        A model with more inputs and outputs, and what was taken out; the model itself where nothing was.
    """
    if not any(type(layer).__name__ in (*STATES, "Bidirectional") for layer in model._flatten_layers()):
        return model, ()
    graph = from_model(model)
    if any(node.layer.config.get("mask_zero") or node.layer.kind == "Masking" for node in graph.nodes):
        return model, ()
    found: dict[Node, Recurrence] = {}
    for node in graph.nodes:
        recurrence = _recurrence(node, len(found))
        if recurrence is not None:
            found[node] = recurrence
    return (to_model(_cut(graph, found)), tuple(found.values())) if found else (model, ())


def _recurrence(node: Node, number: int) -> Recurrence | None:
    layer = node.layer
    config: Mapping[str, Any] = layer.config
    kind, passes = layer.kind, 1
    if kind == "Bidirectional":
        inner = config["layer"]
        if config.get("merge_mode") != "concat" or not _mirrors(inner, config.get("backward_layer")):
            return None
        kind, config, passes = inner["class_name"], inner["config"], 2
    states = passes * STATES.get(kind, 0)
    if not states or not _is_plain(node, config) or (passes == 2 and config.get("go_backwards")):
        return None
    each = len(layer.weights) // passes
    arrays = [array for _, array in layer.weights]
    if each != (3 if config["use_bias"] else 2) or any(array.dtype != np.float32 for array in arrays):
        return None
    if len(node.outputs) != (1 + states if config.get("return_state") else 1):
        return None
    if config.get("go_backwards") and config.get("return_sequences"):
        return None  # Keras gives these steps in the order in which it made them
    reset_after = bool(kind == "GRU" and config.get("reset_after"))
    directions = tuple(
        _direction(
            arrays[each * index : each * (index + 1)], reset_after, index == 1 or bool(config["go_backwards"])
        )
        for index in range(passes)
    )
    return Recurrence(
        call=node.name,
        layer=layer.name,
        kind=kind,
        directions=directions,
        sequences=bool(config.get("return_sequences")),
        reset_after=reset_after,
        given=f"slimedge_given_{number}",
        made=tuple(f"slimedge_made_{number}_{index}" for index in range(len(node.outputs))),
    )


def _mirrors(forward: Mapping[str, Any], backward: Mapping[str, Any] | None) -> bool:
    """Whether the backward layer is the forward one, but for its direction; None where Keras makes it so."""
    if backward is None:
        return True
    one, other = forward["config"], backward["config"]
    telling = ("units", "use_bias", "return_sequences", "return_state", "reset_after", *_USUAL)
    same = all(one.get(key) == other.get(key) for key in telling)
    return forward["class_name"] == backward["class_name"] and same and bool(other["go_backwards"])


def _is_plain(node: Node, config: Mapping[str, Any]) -> bool:
    usual = all(config.get(key) == value for key, value in _USUAL.items())
    single = len(node.inputs) == 1 and len(node.inputs[0].shape) == 3 and node.inputs[0].dtype == "float32"
    return usual and single


def _direction(arrays: list[NDArray[Any]], reset_after: bool, backwards: bool) -> Direction:
    kernel, recurrent_kernel = arrays[:2]
    shape = (2, kernel.shape[1]) if reset_after else (kernel.shape[1],)
    bias = arrays[2] if len(arrays) == 3 else np.zeros(shape, np.float32)
    return Direction(kernel, recurrent_kernel, bias, backwards)


def _cut(graph: Graph, found: Mapping[Node, Recurrence]) -> Graph:
    """The graph with an output for what each recurrent layer takes and an input for all that it makes."""
    nodes: list[Node] = []
    inputs, outputs = list(graph.inputs), list(graph.outputs)
    input_names, output_names = list(graph.input_names), list(graph.output_names)
    passed: dict[Value, Value] = {}
    for node in graph.nodes:
        recurrence = found.get(node)
        if recurrence is None:
            nodes.append(node)
            continue
        given = _identity(recurrence.given, node.inputs[0])
        nodes.append(given)
        outputs.append(given.output)
        output_names.append(recurrence.given)
        inputs += node.outputs
        input_names += recurrence.made
        for index, value in enumerate(node.outputs):
            if value in graph.outputs:
                through = _identity(f"slimedge_passed_{recurrence.given}_{index}", value)
                nodes.append(through)
                passed[value] = through.output
    outputs = [passed.get(value, value) for value in outputs]
    return replace(
        graph,
        nodes=tuple(nodes),
        inputs=tuple(inputs),
        input_names=tuple(input_names),
        outputs=tuple(outputs),
        output_names=tuple(output_names),
        input_structure=list(inputs),
        output_structure=with_arguments(list(outputs), passed),
    )


def _identity(name: str, value: Value) -> Node:
    from keras import layers

    layer = Layer(layers.Identity, {"name": name, "dtype": value.dtype})
    return Node(name, name, layer, (value,), {}, (Value(value.shape, value.dtype),))
