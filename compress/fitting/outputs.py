"""What a loss compares: a model's outputs, from in front of a softmax or sigmoid where one makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from slimedge.compress.rules import activation_of
from slimedge.compress.simplifying import split_activations
from slimedge.errors import InputError
from slimedge.fake_quant import FakeQuant
from slimedge.graph import Graph, Node, Value

# Probabilities on a grid of 1/256 have no logarithm at 0, and their clipped one no slope: the examples that are
# the furthest off would teach nothing. So these two are left to the loss.
LEFT_TO_LOSS = ("softmax", "sigmoid")


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """One output of a model.

    Attributes:
        position: among the model's outputs.
        value: what the loss takes.
        function: `softmax` or `sigmoid` where the model's output is that of `value`; `identity` where it is `value`.
    """

    position: int
    value: Value
    function: str


def trained_outputs(graph: Graph) -> tuple[Output, ...]:
    """Give the float outputs of a graph that its layers make.

    Raises:
        InputError: there is none.
    """
    producers = graph.producers()
    found = []
    for position, value in enumerate(graph.outputs):
        maker = producers.get(value)
        if maker is None or not value.dtype.startswith("float"):
            continue
        activation = _unrounded(maker, graph)
        function = activation_of(activation)
        if function in LEFT_TO_LOSS and len(activation.inputs) == 1:
            found.append(Output(position, activation.inputs[0], str(function)))
        else:
            found.append(Output(position, value, "identity"))
    if not found:
        raise InputError(
            f"no output of model '{graph.name}' is made of floats, so there is nothing to train."
        )
    return tuple(found)


def opened(graph: Graph) -> Graph:
    """Give a float graph in which a softmax or sigmoid that makes an output is a layer of its own."""
    producers, calls = graph.producers(), graph.calls()
    last = {producers[value].layer for value in graph.outputs if value in producers}
    split = {layer for layer in last if calls[layer] == 1 and layer.config.get("activation") in LEFT_TO_LOSS}
    return split_activations(graph, only=split)


def cut_to(graph: Graph, outputs: Sequence[Output], names: Sequence[str]) -> Graph:
    """Give a graph with what losses compare as its outputs, and with lists as its inputs and outputs.

    Args:
        graph: any.
        outputs: of it; what only others need is gone.
        names: of the new outputs.
    """
    cut = replace(
        graph,
        outputs=tuple(output.value for output in outputs),
        output_names=tuple(names),
        output_structure=[output.value for output in outputs],
        input_structure=list(graph.inputs),
    )
    return cut.with_nodes(cut.nodes)


def _unrounded(maker: Node, graph: Graph) -> Node:
    inner = graph.producers().get(maker.inputs[0]) if maker.layer.type is FakeQuant else None
    return maker if inner is None else inner
