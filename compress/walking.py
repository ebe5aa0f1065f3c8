"""Go through a graph layer by layer, with the float activations beside the quantized ones.

Methods that choose integers or biases look at each layer's inputs as they will be: made by the layers before it, with
their integers chosen already (Nagel et al., 2020, section 3.3, "asymmetric reconstruction").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from slimedge.compress.calibration import OPEN_SIZE, layer_batches
from slimedge.compress.planning import Kernel, Plan
from slimedge.compress.running import Runner, weights_of
from slimedge.graph import Graph, Layer, Node, Value

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


Choose = Callable[[Visit, Callable[[Kernel], Any]], Kernel]


def walk(plan: Plan, data: Data, choose: Choose) -> Plan:
    """Visit each layer with a kernel of one use, in order, and take the kernel that is chosen for it.

    Args:
        plan: what is rounded so far.
        data: bound; the first examples are used, 1,024 or what fits into the memory.
        choose: from a visit, and a function that gives the layer's output in the quantized model with any kernel, to
            the kernel that it gets.

    Returns:
        The plan with the chosen kernels.
    """
    way = Way(plan, data)
    way.along(plan.graph.nodes, choose)
    return plan.with_kernels(way.kernels)


class Way:
    """How far a graph was gone through: its activations there, and the kernels chosen so far.

    Args:
        plan: what is rounded.
        data: bound; see `walk`.
    """

    def __init__(self, plan: Plan, data: Data) -> None:
        self.runner = Runner(plan)
        self.kernels = dict(plan.kernels)
        self.exact = _inputs(plan.graph, data, plan)
        self.rounded = {value: self.runner.on_grid(value, array) for value, array in self.exact.items()}
        self._calls = plan.graph.calls()
        self._last = {value: node for node in plan.graph.nodes for value in node.inputs}

    def along(self, nodes: Iterable[Node], choose: Choose, kept: Collection[Value] = ()) -> None:
        """Go through the nodes that come next.

        Args:
            nodes: in the order of the graph.
            choose: as in `walk`.
            kept: values that stay, whether a later node takes them or not.
        """
        for node in nodes:
            own = self.runner.given(node, self.rounded)
            outputs = self.runner.call(node, self.exact)
            self.exact.update(zip(node.outputs, outputs, strict=True))
            kernel = self.kernels.get(node.layer)
            if kernel is None:
                results = self.runner.call(node, own)
            else:

                def output(kernel: Kernel, node: Node = node, own: Any = own) -> Any:
                    return self.runner.call(node, own, weights_of(kernel, kernel.rounded()))[0]

                if self._calls[node.layer] == 1:
                    source = node.inputs[0]
                    visit = Visit(node, kernel, self.exact[source], own[source], outputs[0])
                    kernel = self.kernels[node.layer] = choose(visit, output)
                results = [output(kernel)]
            for value, array in zip(node.outputs, results, strict=True):
                self.rounded[value] = self.runner.on_grid(value, array)
            for value in (*node.inputs, *node.outputs):
                if self._last.get(value, node) is node and value not in kept:
                    self.exact.pop(value, None)
                    self.rounded.pop(value, None)


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
