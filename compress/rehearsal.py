"""A net under any choice of bits, with the ranges of its activations found once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slimedge.canonical import canonical
from slimedge.compress.calibration import Watch, calibrate, layer_batches
from slimedge.compress.inserting import insert
from slimedge.compress.layer_bits import FLOAT
from slimedge.compress.placement import Placement, place
from slimedge.compress.planning import Bits
from slimedge.compress.rules import Role, role_of
from slimedge.compress.settings import EXCLUDED, Settings
from slimedge.compress.static import LEFT_WIDE, Ready, planned_with, prepare, refined, sources
from slimedge.graph import Graph, Value

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data

Arrays = Sequence[NDArray[np.float32]]
# From the outputs of a quantized net on the first examples, in Keras order, to how much worse its answers are than the
# float net's, as a share of those examples.
Drop = Callable[[Arrays], float | None]


@dataclass(frozen=True, slots=True)
class Effect:
    """What rounding does to the outputs.

    Attributes:
        noise: its power over that of the outputs, the mean of all outputs.
        drop: of the task's metric, as a share; None where there is none.
    """

    noise: float
    drop: float | None

    @property
    def sqnr_db(self) -> float:
        """The noise as a signal-to-quantization-noise ratio in dB; infinite without noise."""
        return float(-10 * np.log10(self.noise)) if self.noise > 0 else float("inf")


class Rehearsal:
    """Tries choices of bits on one net.

    Ranges are calibrated once, for every value that any choice may round. Where fewer values share a range than in the
    fully quantized net, each keeps that of all.

    Args:
        model: float.
        calibration: bound examples, for ranges and methods.
        examples: bound examples, on which outputs are compared.
        settings: of static quantization, without bits of layers.
        drop: from outputs to a drop of the task's metric.

    Raises:
        InputError: see `slimedge.compress.static.prepare`.
    """

    def __init__(
        self,
        model: keras.Model,
        calibration: Data,
        examples: Data,
        *,
        settings: Settings | None = None,
        drop: Drop | None = None,
    ) -> None:
        self._settings = replace(settings or Settings(), bits={})
        self._ready: Ready = prepare(canonical(model), calibration, self._settings)
        self._calibration, self._examples, self._drop = calibration, examples, drop
        placement = self._ready.placement
        self.layers: tuple[str, ...] = sources(self._ready.graph, placement)
        self._observed = _every_value(self._ready.graph, placement)
        self._ranges = calibrate(
            self._ready.graph,
            self._observed,
            calibration,
            observer=self._settings.observer,
            observers=self._settings.observers,
            progress=self._settings.progress,
        )
        self._exact = self._outputs(self._ready.graph, len(examples))

    def weights(self) -> dict[str, int]:
        """Give how many weights each layer has that can be rounded."""
        found = dict.fromkeys(self.layers, 0)
        kernels = self._ready.placement.kernels
        counted = set()
        for node in self._ready.graph.nodes:
            if node.layer in kernels and node.layer not in counted:
                counted.add(node.layer)
                found[node.source] += int(dict(node.layer.weights)["kernel"].size)
        return found

    def effect(self, bits: Mapping[str, int | str], *, limit: int | None = None) -> Effect:
        """Measure one choice, with the integers nearest to the weights.

        Args:
            bits: of each layer; one that is not named stays float.
            limit: examples that are looked at; None for all.
        """
        outputs = self.outputs(bits, methods=False, limit=limit)
        shares = []
        for all_exact, other in zip(self._exact, outputs, strict=True):
            exact = all_exact[: len(other)]
            signal = float(np.sum(np.square(exact, dtype=np.float64)))
            noise = float(np.sum(np.square(exact - other, dtype=np.float64)))
            shares.append(noise / signal if signal > 0 else float(noise > 0))
        return Effect(float(np.mean(shares)), None if self._drop is None else self._drop(outputs))

    def outputs(
        self, bits: Mapping[str, int | str], *, methods: bool = True, limit: int | None = None
    ) -> list[NDArray[np.float32]]:
        """Give the outputs of one choice, in Keras order.

        Args:
            bits: of each layer; one that is not named stays float.
            methods: whether the settings' methods choose the integers, or the nearest are taken.
            limit: examples that are looked at, the first ones; None for all.
        """
        count = len(self._examples) if limit is None else min(limit, len(self._examples))
        graph = self._rounded(bits, methods=methods)
        return [array[:count] for array in self._exact] if graph is None else self._outputs(graph, count)

    def _rounded(self, bits: Mapping[str, int | str], *, methods: bool) -> Graph | None:
        """Give the graph, or None where nothing is rounded."""
        ready = self._ready
        wide = [name for name in self.layers if bits.get(name, FLOAT) == FLOAT]
        reasons = dict.fromkeys(wide, LEFT_WIDE) | dict.fromkeys(self._settings.exclude, EXCLUDED)
        placement = place(ready.graph, exclude=reasons)
        if not placement.kernels:
            return None
        ranges: dict[int, tuple[float, float]] = {}
        for value, group in placement.groups.items():
            low, high = self._ranges[self._observed.groups[value]]
            before = ranges.get(group, (low, high))
            ranges[group] = (min(low, before[0]), max(high, before[1]))
        plan = planned_with(ready, placement, ranges | dict(placement.fixed), Bits(), bits)
        if methods:
            plan = refined(ready, plan, self._calibration)
        return insert(plan, trainable=False)

    def _outputs(self, graph: Graph, count: int) -> list[NDArray[np.float32]]:
        watch = Watch(graph, graph.outputs)
        pieces = [watch.run(batch) for batch in layer_batches(self._examples, watch.batch_size, count)]
        return [np.concatenate(arrays) for arrays in zip(*pieces, strict=True)]


def _every_value(graph: Graph, placement: Placement) -> Placement:
    """Give the placement with each value that would be rounded if a layer beside it stayed float."""
    groups: dict[Value, int] = dict(placement.groups)
    number = max(groups.values()) + 1
    for node in graph.nodes:
        if not isinstance(role_of(node), Role):
            continue
        for value in (*node.inputs, node.output):
            if value not in groups and value.dtype == "float32":
                groups[value] = number
                number += 1
    return replace(placement, groups=groups)
