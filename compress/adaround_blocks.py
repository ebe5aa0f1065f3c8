"""AdaRound of all layers of a block together, so that the block's output changes least."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.adaround import adaptively_rounded
from slimedge.compress.blocks import Block, blocks_of
from slimedge.compress.calibration import OPEN_SIZE
from slimedge.compress.methods import Method
from slimedge.compress.planning import Kernel, Plan
from slimedge.compress.reconstruction import quadratic_of, with_integers
from slimedge.compress.running import Runner, weights_of
from slimedge.compress.walking import MEMORY_BYTES, Visit, Way
from slimedge.graph import Layer, Value
from slimedge.weight_rounding import largest_integer

if TYPE_CHECKING:
    from slimedge.data import Data

# Multiplications that the steps of one block may take in all; a block for which these are few steps is left.
OPERATIONS = 5e11
FEWEST_STEPS = 100
# Steps between two looks at the error on all examples.
LOOK_EVERY = 50
# Where the loss is measured.
PIECE = 64

Arrays = dict[Value, Any]


@dataclass(frozen=True, slots=True)
class AdaRoundBlocks(Method):
    """Adaptive rounding (Nagel et al., 2020) of blocks (Li et al., 2021, "BRECQ", section 3.2).

    What is made small is the squared error of a block's output, behind its activations and sums, on the inputs that
    the quantized blocks before it make. Each weight has a share between 0 and 1 that says whether it goes to the
    integer below or above it. The block is run with the rounded shares, and the gradient goes straight through their
    rounding (Bengio et al., 2013), so that no annealing is needed for what few steps there are.

    It starts at the integers that were chosen before, those of `adaround` where none were, and keeps the best that it
    met, so that no block's error becomes larger than it was.

    Args:
        steps: of Adam on each block; fewer for wide ones.
        batch_size: examples in a step.
        learning_rate: of Adam at the start; a cosine takes it to 0.
        trust: how far the shares start from those of the trained weights, 0, to those of the integers chosen before,
            1; above 0.5 the first step starts from exactly these integers.
    """

    steps: int = 500
    batch_size: int = 64
    learning_rate: float = 0.002
    trust: float = 0.55

    def refine(self, plan: Plan, data: Data) -> Plan:
        """Choose the integers of each block, in the order of the graph."""
        calls, way = plan.graph.calls(), Way(plan, data)
        once = {layer for layer in plan.kernels if calls[layer] == 1}
        for block in blocks_of(plan.graph, plan.placement.groups, once):
            given = {value: way.rounded[value] for value in block.inputs}
            way.along(block.nodes, _by_itself, kept=block.outputs)
            target, before = (
                {value: arrays[value] for value in block.outputs} for arrays in (way.exact, way.rounded)
            )
            own = {node.layer: way.kernels[node.layer] for node in block.nodes if node.layer in way.kernels}
            moving = [layer for layer in own if layer in once]
            # One layer by itself is as good as it gets.
            if steps := self._steps(block, own) if len(moving) > 1 else 0:
                stretch = _Stretch(block, way.runner, own)
                found, after = self._descended(stretch, moving, given, target, before, steps)
                way.kernels |= found
                way.rounded |= after
        return plan.with_kernels(way.kernels)

    def _batch_size(self, block: Block, examples: int) -> int:
        # Each value, and what gradients need of it, in the float and in the rounded graph.
        held = 4 * 4 * sum(_size(value) for node in block.nodes for value in node.outputs)
        return int(np.clip(MEMORY_BYTES // max(held, 1), 1, min(self.batch_size, examples)))

    def _steps(self, block: Block, own: Mapping[Layer, Kernel]) -> int:
        """How many there is time for; 0 where they are too few to be of use, or the output is not of numbers."""
        if not block.outputs or any(value.dtype != "float32" for value in block.outputs):
            return 0
        products = sum(
            own[node.layer].value.size * max(_size(node.output) // (node.output.shape[-1] or 1), 1)
            for node in block.nodes
            if node.layer in own
        )
        # Twice as many again for the gradients.
        steps = int(OPERATIONS / (3 * self.batch_size * products))
        return min(steps, self.steps) if steps >= FEWEST_STEPS else 0

    def _descended(
        self,
        stretch: _Stretch,
        moving: Sequence[Layer],
        given: Arrays,
        target: Arrays,
        before: Arrays,
        steps: int,
    ) -> tuple[dict[Layer, Kernel], Arrays]:
        """Kernels with the best integers on the way down of a block's error, and the outputs that they make."""
        import keras
        import tensorflow as tf

        between = [_Between.of(layer, stretch.kernels[layer], self.trust) for layer in moving]
        fixed = _rounded({layer: kernel for layer, kernel in stretch.kernels.items() if layer not in moving})
        scale = np.maximum(_errors(before, target), np.finfo(np.float32).tiny)
        shares = [tf.Variable(one.share) for one in between]
        adam = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(self.learning_rate, steps))
        adam.build(shares)
        inputs, outputs = stretch.block.inputs, stretch.block.outputs

        @tf.function(autograph=False)  # type: ignore[untyped-decorator]
        def step(batch: Any, wanted: Any) -> None:
            with tf.GradientTape() as tape:
                rounded = [share + tf.stop_gradient(tf.round(share) - share) for share in shares]
                kernels = {
                    layer: one.kernel(share)
                    for layer, one, share in zip(moving, between, rounded, strict=True)
                }
                made = stretch.rounded(dict(zip(inputs, batch, strict=True)), fixed | kernels)
                loss = tf.add_n(
                    [
                        tf.reduce_mean(tf.math.squared_difference(made[value], array)) / error
                        for value, array, error in zip(outputs, wanted, scale, strict=True)
                    ]
                )
            adam.apply(tape.gradient(loss, shares, unconnected_gradients="zero"), shares)
            for share in shares:
                share.assign(tf.clip_by_value(share, 0.0, 1.0))

        best: dict[Layer, Kernel] = {}
        least, made = float(np.sum(_errors(before, target) / scale)), before
        size = self._batch_size(stretch.block, len(given[inputs[0]]))
        generator = np.random.default_rng(0)
        for index in range(1, steps + 1):
            rows = np.sort(generator.choice(len(given[inputs[0]]), size, replace=False))
            step(
                [tf.gather(given[value], rows) for value in inputs],
                [tf.gather(target[value], rows) for value in outputs],
            )
            if index % LOOK_EVERY and index != steps:
                continue
            found = {
                layer: replace(stretch.kernels[layer], value=one.kernel(np.rint(share.numpy())))
                for layer, one, share in zip(moving, between, shares, strict=True)
            }
            tried = stretch.on_all(given, fixed | _rounded(found))
            error = float(np.sum(_errors(tried, target) / scale))
            if error < least:
                least, best, made = error, found, tried
        return best, made


ADAROUND_BLOCKS = AdaRoundBlocks()


def _by_itself(visit: Visit, output: Callable[[Kernel], Any]) -> Kernel:
    """The kernel with its integers as they were chosen before, or else by AdaRound of the layer."""
    del output
    chosen = visit.kernel.value is not visit.layer.weight("kernel")
    quadratic = None if chosen else quadratic_of(visit)
    if quadratic is None:
        return visit.kernel
    return with_integers(visit, quadratic, adaptively_rounded(quadratic))


@dataclass(frozen=True, slots=True)
class _Between:
    """A kernel between two neighbouring integers for each weight.

    Attributes:
        low: the lower one, float32.
        scale: of the kernel; 0 where the weight is 0, as pruning left it, and stays so.
        share: float32, at the start, how far it is from the lower to the upper one.
    """

    low: NDArray[np.float32]
    scale: NDArray[np.float32]
    share: NDArray[np.float32]

    @classmethod
    def of(cls, layer: Layer, kernel: Kernel, trust: float) -> _Between:
        limit = largest_integer(kernel.bits)
        weights = np.asarray(layer.weight("kernel"), np.float64) / kernel.scale
        chosen = np.rint(kernel.rounded() / kernel.scale).astype(np.float64)
        low = np.clip(np.where(weights > chosen, chosen, chosen - 1), -limit, limit - 1)
        share = (1 - trust) * np.clip(weights - low, 0, 1) + trust * (chosen - low)
        scale = np.where(weights == 0, np.float32(0), kernel.scale)
        return cls(low.astype(np.float32), scale, share.astype(np.float32))

    def kernel(self, share: Any) -> Any:
        return (self.low + share) * self.scale


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A block that can be run."""

    block: Block
    runner: Runner
    kernels: Mapping[Layer, Kernel]

    def rounded(self, arrays: Arrays, rounded: Mapping[Layer, Any]) -> Arrays:
        for node in self.block.nodes:
            layer = node.layer
            weights = weights_of(self.kernels[layer], rounded[layer]) if layer in rounded else ()
            outputs = self.runner.call(node, self.runner.given(node, arrays), weights)
            arrays |= {
                value: self.runner.on_grid(value, array)
                for value, array in zip(node.outputs, outputs, strict=True)
            }
        return arrays

    def on_all(self, given: Arrays, rounded: Mapping[Layer, Any]) -> Arrays:
        """The block's outputs on all examples."""
        made: dict[Value, list[Any]] = {value: [] for value in self.block.outputs}
        for start in range(0, len(given[self.block.inputs[0]]), PIECE):
            piece = {value: given[value][start : start + PIECE] for value in self.block.inputs}
            outputs = self.rounded(piece, rounded)
            for value, arrays in made.items():
                arrays.append(np.asarray(outputs[value]))
        return {value: np.concatenate(arrays) for value, arrays in made.items()}


def _rounded(kernels: Mapping[Layer, Kernel]) -> dict[Layer, Any]:
    return {layer: kernel.rounded() for layer, kernel in kernels.items()}


def _errors(made: Arrays, target: Arrays) -> NDArray[np.float64]:
    """Mean squared error of each output."""
    return np.array([np.mean(np.square(made[value] - target[value]), dtype=np.float64) for value in target])


def _size(value: Value) -> int:
    return math.prod(OPEN_SIZE if size is None else size for size in value.shape[1:])
