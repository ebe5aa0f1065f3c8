"""Go through a graph layer by layer, with the float activations beside the quantized ones.

Methods that choose integers or biases look at each layer's inputs as they will be: made by the layers before it, with
their integers chosen already (Nagel et al., 2020, section 3.3, "asymmetric reconstruction").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.calibration import OPEN_SIZE, layer_batches
from slimedge.compress.planning import Grid, Kernel, Plan
from slimedge.graph import Graph, Layer, Node, Value, mapper
from slimedge.graph_making import layer_names, to_model

if TYPE_CHECKING:
    from slimedge.data import Data

EXAMPLES = 1024
# What the activations of all examples may take that are alive at one layer, float and quantized.
MEMORY_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Visit:
    """One layer with a kernel, on its way.

    Attributes:
        node: its only call.
        kernel: as the plan has it.
        exact: float32, its input in the float model, shape (examples, …).
        rounded: float32, its input in the quantized model.
        target: float32, its output in the float model, before an activation that follows.
    """

    node: Node
    kernel: Kernel
    exact: Any
    rounded: Any
    target: Any

    @property
    def layer(self) -> Layer:
        """What is called."""
        return self.node.layer


def walk(plan: Plan, data: Data, choose: Callable[[Visit, Callable[[Kernel], Any]], Kernel]) -> Plan:
    """Visit each layer with a kernel of one use, in order, and take the kernel that is chosen for it.

    Args:
        plan: what is rounded so far.
        data: bound; the first examples are used, 1,024 or what fits into the memory.
        choose: from a visit, and a function that gives the layer's output in the quantized model with any kernel, to
            the kernel that it gets.

    Returns:
        The plan with the chosen kernels.
    """
    graph, calls = plan.graph, plan.graph.calls()
    model = to_model(graph, kept=False)
    made = {operation.name: operation for operation in model.operations}
    names = layer_names(graph)
    kernels = dict(plan.kernels)
    moved = {
        (node, value): plan.grids[plan.placement.groups[node.output]]
        for node, value in plan.placement.requantized
    }
    last = _last_uses(graph)
    exact = _inputs(graph, data, plan)
    rounded = {value: _on(plan, value, array) for value, array in exact.items()}
    for index, node in enumerate(graph.nodes):
        operation = made[names[node.layer]]
        own = {
            value: _fake_quant(rounded[value], moved[node, value])
            if (node, value) in moved
            else rounded[value]
            for value in node.inputs
        }
        outputs = _call(operation, node, exact)
        exact.update(zip(node.outputs, outputs, strict=True))
        kernel = kernels.get(node.layer)
        if kernel is None:
            results = _call(operation, node, own)
        else:
            plain = operation.get_weights()

            def output(kernel: Kernel, node: Node = node, operation: Any = operation, own: Any = own) -> Any:
                operation.set_weights([kernel.rounded(), *([] if kernel.bias is None else [kernel.bias])])
                return _call(operation, node, own)[0]

            if calls[node.layer] == 1:
                source = node.inputs[0]
                visit = Visit(node, kernel, exact[source], own[source], outputs[0])
                kernel = kernels[node.layer] = choose(visit, output)
            results = [output(kernel)]
            operation.set_weights(plain)
        for value, array in zip(node.outputs, results, strict=True):
            rounded[value] = _on(plan, value, array)
        for value in [value for value in exact if last.get(value, -1) <= index]:
            del exact[value], rounded[value]
    return plan.with_kernels(kernels)


def _last_uses(graph: Graph) -> dict[Value, int]:
    return {value: index for index, node in enumerate(graph.nodes) for value in node.inputs}


def _inputs(graph: Graph, data: Data, plan: Plan) -> dict[Value, Any]:
    sizes = sorted(
        (
            4 * math.prod(OPEN_SIZE if size is None else size for size in value.shape[1:])
            for value in plan.placement.groups
        ),
        reverse=True,
    )
    # Inputs and outputs of a layer, of a branch beside it, and the same once more for the quantized model.
    limit = int(np.clip(MEMORY_BYTES // max(2 * sum(sizes[:4]), 1), 1, EXAMPLES))
    batches = list(layer_batches(data, min(limit, 256), limit))
    return {
        value: np.concatenate([np.asarray(batch[name]) for batch in batches])
        for name, value in zip(graph.input_names, graph.inputs, strict=True)
    }


def _call(operation: Any, node: Node, arrays: Mapping[Value, Any]) -> list[NDArray[Any]]:
    import keras

    fill = mapper(lambda value: arrays[value])
    return list(keras.tree.flatten(operation(*fill(node.args), **fill(dict(node.kwargs)))))


def _on(plan: Plan, value: Value, array: Any) -> Any:
    """An activation as the quantized model has it."""
    group = plan.placement.groups.get(value)
    return array if group is None else _fake_quant(array, plan.grids[group])


def _fake_quant(array: Any, grid: Grid) -> Any:
    import tensorflow as tf

    return tf.quantization.fake_quant_with_min_max_vars(array, grid.low, grid.high, num_bits=grid.bits)
