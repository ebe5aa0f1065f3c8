"""Run a graph on batches of data and see, tensor by tensor, what flows through it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.observers import maker
from slimedge.compress.observers.assigning import assigned
from slimedge.compress.placement import Placement
from slimedge.depth import any_depth
from slimedge.errors import InputError
from slimedge.graph import Graph, Value
from slimedge.graph_making import to_model

if TYPE_CHECKING:
    from slimedge.data import Data

# What all observed tensors of one batch may take together; while it is observed, the next one is computed.
ACTIVATION_BUDGET_BYTES = 128 * 2**20
LARGEST_BATCH = 64
# A graph is compiled where it runs on more batches: that costs more than a few batches save.
EAGER_BATCHES = 32
# Values looked at together.
PIECE = 1 << 16
# Taken for a height, width or length that the model leaves open.
OPEN_SIZE = 256

Batch = Mapping[str, NDArray[Any]]


def calibrate(
    graph: Graph,
    placement: Placement,
    data: Data,
    *,
    observer: str = "minmax",
    observers: Mapping[str, str] | None = None,
    bits: Mapping[int, int] | None = None,
    batch_size: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[int, tuple[float, float]]:
    """Find the range of every group of values.

    Args:
        graph: float.
        placement: which values are observed.
        data: bound to the model; every example is used once.
        observer: a name in `OBSERVERS`, with a setting behind a colon where it has one.
        observers: likewise, by pattern of names; see `assigned`.
        bits: of the integers, by group; 8 for a group that is not in it.
        batch_size: examples at a time; by default as many as the budget of memory allows, at most 64.
        progress: told the number of examples after each batch.

    Returns:
        Lowest and highest real value by group; groups of a fixed range have that.

    Raises:
        InputError: no such observer, a pattern that matches nothing, or a layer that gave NaN or infinity.
    """
    names = assigned(graph, placement, observer, observers or {})
    seers = {group: maker(name)((bits or {}).get(group, 8)) for group, name in names.items()}
    watched = [value for value, group in placement.groups.items() if group in seers]
    members: dict[int, list[int]] = {}
    for index, value in enumerate(watched):
        members.setdefault(placement.groups[value], []).append(index)
    size = batch_size or batch_size_for(watched)
    seen = Watch(graph, watched, compiled=len(data) > EAGER_BATCHES * size)

    def observe(group: int, arrays: Sequence[NDArray[np.float32]]) -> None:
        for pieces in _pieces(arrays):
            for index, piece in zip(members[group], pieces, strict=True):
                _check_finite(graph, watched[index], piece)
            seers[group].update(_joined(pieces))

    # TensorFlow and numpy compute without Python's lock, so one batch is observed while the next one is computed. With
    # as many threads as cores beside TensorFlow's own, they push each other's tensors out of the caches.
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // 2)) as pool:
        observing: list[Future[None]] = []
        for batch, _ in data.batches(size):
            arrays = seen.run(batch)
            _finish(observing)
            observing = [
                pool.submit(observe, group, [arrays[index] for index in indices])
                for group, indices in members.items()
            ]
            if progress is not None:
                progress(len(next(iter(batch.values()))))
        _finish(observing)
        ranges = dict(zip(seers, pool.map(lambda seer: seer.range(), seers.values()), strict=True))
    return ranges | dict(placement.fixed)


def _finish(observing: Iterable[Future[None]]) -> None:
    for future in observing:
        future.result()


def _pieces(arrays: Sequence[NDArray[np.float32]]) -> Iterator[list[NDArray[np.float32]]]:
    """Cut tensors into some examples at a time, so that a processor's cache keeps them while they are looked at."""
    rows = len(arrays[0])
    step = max(1, PIECE * rows // max(1, sum(array.size for array in arrays)))
    if any(len(array) != rows for array in arrays):
        step = rows
    for start in range(0, rows, step):
        yield [array[start : start + step] for array in arrays]


def _joined(arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Put the tensors that share a range beside each other, example by example."""
    if len(arrays) == 1:
        return arrays[0]
    rows = len(arrays[0]) if len({len(array) for array in arrays}) == 1 else 1
    return np.concatenate([array.reshape(rows, -1) for array in arrays], axis=1)


class Watch:
    """A graph as a function from a batch to any of its values.

    Args:
        graph: what is run.
        values: of the graph, in the order in which their arrays are given.
        compiled: turn it into a TensorFlow function first, which takes seconds and then runs two to four times as fast.
    """

    def __init__(self, graph: Graph, values: Sequence[Value], *, compiled: bool = False) -> None:
        import keras

        self.names = graph.input_names
        tied = [value for value in values if value not in graph.inputs]
        self._inputs = {index: graph.inputs.index(v) for index, v in enumerate(values) if v in graph.inputs}
        self._count = len(values)
        self.batch_size = batch_size_for(values)
        self._call: Callable[[Any], Any] | None = None
        if tied:
            probe = replace(
                graph,
                outputs=tuple(tied),
                output_names=tuple(f"watched_{index}" for index in range(len(tied))),
                output_structure=list(tied),
                input_structure=list(graph.inputs),
            )
            model = to_model(probe.with_nodes(probe.nodes), kept=False)
            with any_depth():
                model = keras.Model(model.inputs, model.outputs)
            self._call = _compiled(model, graph) if compiled else partial(model, training=False)

    def run(self, batch: Batch) -> list[NDArray[np.float32]]:
        """Give the arrays of the watched values for one batch of inputs by name."""
        import keras

        feeds = [np.asarray(batch[name]) for name in self.names]
        made = [] if self._call is None else self._call(feeds)
        given = iter(keras.tree.flatten(made))  # one output comes without its list
        return [
            feeds[self._inputs[index]] if index in self._inputs else np.asarray(next(given))
            for index in range(self._count)
        ]


def _compiled(model: Any, graph: Graph) -> Callable[[Any], Any]:
    """Give a model as a TensorFlow function of any batch size, so that a shorter last batch needs no other one."""
    import tensorflow as tf

    signature = [
        tf.TensorSpec((None, *value.shape[1:]), value.dtype, name=f"input_{index}")
        for index, value in enumerate(graph.inputs)
    ]

    run: Callable[[Any], Any] = tf.function(
        partial(model, training=False), input_signature=[signature], autograph=False
    )
    return run


def signal_to_noise(
    pairs: Iterable[tuple[Sequence[NDArray[np.float32]], Sequence[NDArray[np.float32]]]],
) -> list[float]:
    """Give the SQNR of each tensor over a stream of (float tensors, quantized tensors).

    SQNR = 10 log10(sum x² / sum (x - q)²) dB; infinite where nothing differs.
    """
    signal: NDArray[np.float64] | None = None
    noise: NDArray[np.float64] | None = None
    for exact, rounded in pairs:
        powers = np.array([np.sum(np.square(x, dtype=np.float64)) for x in exact])
        errors = np.array(
            [np.sum(np.square(x - q, dtype=np.float64)) for x, q in zip(exact, rounded, strict=True)]
        )
        signal = powers if signal is None else signal + powers
        noise = errors if noise is None else noise + errors
    if signal is None or noise is None:
        return []
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = 10 * np.log10(signal / noise)
    return [float(value) for value in np.where(noise == 0, np.inf, ratio)]


def layer_batches(data: Data, batch_size: int, limit: int) -> Iterator[Batch]:
    """Give batches of inputs by name, `limit` examples in all."""
    left = limit
    for batch, _ in data.batches(batch_size):
        if left <= 0:
            return
        yield {name: array[:left] for name, array in batch.items()}
        left -= len(next(iter(batch.values())))


def _check_finite(graph: Graph, value: Value, array: NDArray[np.float32]) -> None:
    # Both ends are finite only where everything between them is: NaN is the smallest and the largest of all.
    if np.isfinite(array.min(initial=0)) and np.isfinite(array.max(initial=0)):
        return
    producer = graph.producers().get(value)
    where = "an input" if producer is None else f"layer '{producer.source}'"
    raise InputError(
        f"{where} of model '{graph.name}' gave NaN or infinity in calibration; the float model needs finite values "
        "before it can be quantized."
    )


def batch_size_for(values: Sequence[Value]) -> int:
    """Give how many examples of these values are looked at together: 64, or what fits into the memory."""
    sizes = ([OPEN_SIZE if size is None else size for size in value.shape[1:]] for value in values)
    per_example = sum(4 * math.prod(size) for size in sizes)
    return int(np.clip(ACTIVATION_BUDGET_BYTES // max(per_example, 1), 1, LARGEST_BATCH))
