"""Calls of single nodes of a plan, as the float model makes them and as the quantized one does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slimedge.compress.planning import Grid, Kernel, Plan
from slimedge.graph import Node, Value, mapper
from slimedge.graph_making import layer_names, to_model


class Runner:
    """The layers of a plan's graph, ready to be called.

    Args:
        plan: what is rounded.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        made = {operation.name: operation for operation in to_model(plan.graph, kept=False).operations}
        self._operations = {layer: made[name] for layer, name in layer_names(plan.graph).items()}
        self._moved = {
            (node, value): plan.grids[plan.placement.groups[node.output]]
            for node, value in plan.placement.requantized
        }

    def call(self, node: Node, arrays: Mapping[Value, Any], weights: Sequence[Any] = ()) -> list[Any]:
        """Give the outputs of a node, with other weights in the places of its layer's where they are given."""
        import keras

        operation = self._operations[node.layer]
        fill = mapper(lambda value: arrays[value])
        variables = operation.weights if weights else ()
        with keras.StatelessScope(state_mapping=list(zip(variables, weights, strict=True))):
            return list(keras.tree.flatten(operation(*fill(node.args), **fill(dict(node.kwargs)))))

    def given(self, node: Node, rounded: Mapping[Value, Any]) -> dict[Value, Any]:
        """Give what a node takes in the quantized model."""
        return {
            value: _fake_quant(rounded[value], self._moved[node, value])
            if (node, value) in self._moved
            else rounded[value]
            for value in node.inputs
        }

    def on_grid(self, value: Value, array: Any) -> Any:
        """Give an activation as the quantized model has it."""
        group = self._plan.placement.groups.get(value)
        return array if group is None else _fake_quant(array, self._plan.grids[group])


def weights_of(kernel: Kernel, rounded: Any) -> list[Any]:
    """Give the weights of a layer with this rounded kernel."""
    return [rounded, *([] if kernel.bias is None else [kernel.bias])]


def _fake_quant(array: Any, grid: Grid) -> Any:
    import tensorflow as tf

    return tf.quantization.fake_quant_with_min_max_vars(array, grid.low, grid.high, num_bits=grid.bits)
