"""Follow channels through a graph: which weights each of them uses, and which must be removed together.

Every value gets an array of numbers that broadcasts against its shape without the batch; channels with one number go
together (Fang et al., 2023, "DepGraph: towards any structural pruning", which walks pairs of layers instead).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.channels.units import FIXED, Ids, Units
from slimedge.graph import Graph, Layer, Node, Value

# More numbers than this for one value are not worth following through a reshape.
LARGEST = 2**24

# Tells which of the channels with these numbers are kept.
Kept = Callable[[Ids], NDArray[np.bool_]]
# Gives what else changes in a layer's config.
Change = Callable[[Kept], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """One axis of a weight whose positions belong to channels.

    Attributes:
        layer: whose weight it is.
        weight: its place in `layer.weights`.
        axis: of the weight.
        ids: of each position along it.
        role: `out` where the positions make the channels, `in` where a sum over the channels takes them, `own` where
            each acts on its channel alone.
    """

    layer: Layer
    weight: int
    axis: int
    ids: Ids
    role: str


@dataclass(slots=True)
class Tracing:
    """What was found out about a graph so far.

    Attributes:
        units: the numbers.
        ids: of each value.
        uses: by layer, weight and axis.
        changes: of the config, by layer.
        outputs: what each layer made when it was called before.
    """

    units: Units = field(default_factory=Units)
    ids: dict[Value, Ids] = field(default_factory=dict)
    uses: dict[tuple[Layer, int, int], Use] = field(default_factory=dict)
    changes: dict[Layer, Change] = field(default_factory=dict)
    outputs: dict[Layer, Ids] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a layer, with what a rule may ask and say."""

    node: Node
    tracing: Tracing

    @property
    def layer(self) -> Layer:
        """What is called."""
        return self.node.layer

    @property
    def config(self) -> Mapping[str, Any]:
        """Its settings."""
        return self.layer.config

    def ids(self, value: Value) -> Ids:
        """Give the numbers of a value."""
        return self.tracing.ids[value]

    def new(self, count: int) -> Ids:
        """Give numbers for channels that this layer makes; the same for each call of it."""
        if self.layer not in self.tracing.outputs:
            self.tracing.outputs[self.layer] = self.tracing.units.new(count)
        return self.tracing.outputs[self.layer]

    def tie(self, one: Ids, other: Ids) -> None:
        """Make channels go together."""
        self.tracing.units.tie(one, other)

    def fix(self, ids: Ids) -> None:
        """Make channels stay."""
        self.tracing.units.fix(ids)

    def channels(self, value: Value | None = None, axis: int = -1) -> Ids:
        """Give the number of each position along one axis of a value, its last where nothing else is said.

        Args:
            value: the call's first input where it is None.
            axis: counted without the batch, or from the end.

        Returns:
            Shape (size of the axis,); all FIXED where the numbers differ along other axes, too.
        """
        value = self.node.inputs[0] if value is None else value
        if len(value.shape) < 2:
            return np.full(1, FIXED)
        size = value.shape[1:][axis]
        if size is None:
            self.fix(self.ids(value))
            return np.full(1, FIXED)
        ids = self.ids(value)
        if ids.size != ids.shape[axis]:
            self.fix(ids)
            return np.full(size, FIXED)
        return np.broadcast_to(ids.reshape(-1), (size,))

    def use(self, weight: str | int, axis: int, ids: Ids, role: str) -> None:
        """Say that an axis of a weight belongs to channels; a weight that the layer has not is passed over.

        Args:
            weight: its name or its place.
            axis: of it, from the start or the end.
            ids: of each position along it.
            role: see `Use`.
        """
        if isinstance(weight, str):
            names = [name for name, _ in self.layer.weights]
            if weight not in names:
                return
            weight = names.index(weight)
        shape = self.layer.weights[weight][1].shape
        axis %= len(shape)
        ids = np.broadcast_to(ids, (shape[axis],))
        key = (self.layer, weight, axis)
        if key in self.tracing.uses:
            self.tie(self.tracing.uses[key].ids, ids)
        else:
            self.tracing.uses[key] = Use(self.layer, weight, axis, ids, role)

    def change(self, change: Change) -> None:
        """Say what else changes in the config."""
        self.tracing.changes.setdefault(self.layer, change)

    def count(self, setting: str, ids: Ids) -> None:
        """Say that a setting of the config counts channels."""
        self.change(lambda kept: {setting: int(kept(ids).sum())})


# From a call to the numbers of each output, or None where it is not understood.
Rule = Callable[[Call], list[Ids] | None]


def trace(graph: Graph, rules: Mapping[str, Rule]) -> Tracing:
    """Follow the channels of a graph.

    Args:
        graph: any; what reaches a model input or output must stay, and so must what a layer without a rule touches.
        rules: by the kind of a layer; of an operation, by `ops.` and its kind.
    """
    tracing = Tracing()
    for value in graph.inputs:
        tracing.ids[value] = fixed(value)
    for node in graph.nodes:
        rule = rules.get(key_of(node.layer))
        made = rule(Call(node, tracing)) if rule is not None and node.inputs else None
        if made is None:
            for value in node.inputs:
                tracing.units.fix(tracing.ids[value])
            made = [fixed(value) for value in node.outputs]
        tracing.ids.update(zip(node.outputs, made, strict=True))
    for value in graph.outputs:
        tracing.units.fix(tracing.ids[value])
    return tracing


def key_of(layer: Layer) -> str:
    """Give the name of a layer's rule.

    Example:
        >>> import keras
        >>> key_of(Layer(keras.layers.Reshape, {"target_shape": (4,)}))
        'Reshape'
    """
    import keras

    return layer.kind if issubclass(layer.type, keras.Layer) else f"ops.{layer.kind}"


def fixed(value: Value) -> Ids:
    """Give numbers that say that all of a value must stay."""
    return np.full((1,) * (len(value.shape) - 1), FIXED)


def along(ids: Ids, value: Value, axis: int = -1) -> Ids:
    """Spread the numbers of one axis so that they broadcast against a value."""
    shape = [1] * (len(value.shape) - 1)
    shape[axis] = len(ids)
    return ids.reshape(shape)


def whole(ids: Ids, value: Value) -> Ids | None:
    """Give a number for each element of a value without its batch; None where a size is open."""
    shape = value.shape[1:]
    sizes = [size for size in shape if size is not None]
    if len(sizes) < len(shape) or math.prod(sizes) > LARGEST:
        return None
    return np.broadcast_to(ids, sizes)


def narrow(ids: Ids) -> Ids:
    """Give numbers with one entry along each axis along which they do not differ."""
    for axis in range(ids.ndim):
        first = ids.take([0], axis)
        if ids.shape[axis] > 1 and bool(np.all(ids == first)):
            ids = first
    return np.ascontiguousarray(ids)
