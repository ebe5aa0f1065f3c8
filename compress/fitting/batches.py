"""The examples of a training in the order of each epoch, with labels and what the teacher says of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.fitting.aims import Aim, Labels

if TYPE_CHECKING:
    from slimedge.data import Data

# What a teacher says of all examples is kept where it is no more than this, and then computed once.
KEPT_BYTES = 1 << 29


@dataclass(frozen=True, slots=True)
class Batch:
    """Some examples.

    Attributes:
        feeds: inputs in Keras order, each (k, …).
        taught: what teachers say; empty where there are none.
        labels: by output name.
    """

    feeds: list[Any]
    taught: list[Any]
    labels: dict[str, Any]

    def __len__(self) -> int:
        return len(self.feeds[0])


class Batches:
    """Batches of data, whole ones in another order each epoch.

    Args:
        data: bound to the model's inputs.
        size: of a batch.
        aim: what is trained for.
        seed: of the order.
        epochs: how often the examples are read; a teacher's answers are kept for more than one.
    """

    def __init__(self, data: Data, size: int, aim: Aim, *, seed: int, epochs: int) -> None:
        self._data, self._size, self._aim, self._seed = data, min(size, len(data)), aim, seed
        self._labels: Labels = aim.labels(data)
        self._taught: list[NDArray[Any]] | None = None
        self._kept = aim.taught and epochs > 1 and self._told_bytes() <= KEPT_BYTES

    def __len__(self) -> int:
        """Batches in an epoch; what is left over comes in another one."""
        return len(self._data) // self._size

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Give the whole batches of an epoch, from one of them on."""
        order = int(np.random.SeedSequence((self._seed, number)).generate_state(1)[0])
        shuffled = self._data.take(len(self._data), seed=order)
        positions = self._positions(shuffled)[start * self._size : len(self) * self._size]
        yield from self._read(self._data.rows(positions), positions)

    def in_order(self) -> Iterator[Batch]:
        """Give all examples once, in the data's order; the last batch may be smaller."""
        yield from self._read(self._data, np.arange(len(self._data)))

    def _positions(self, shuffled: Data) -> NDArray[np.int64]:
        order = np.argsort(self._data.indices, kind="stable")
        found: NDArray[np.int64] = order[np.searchsorted(self._data.indices, shuffled.indices, sorter=order)]
        return found

    def _read(self, data: Data, positions: NDArray[np.int64]) -> Iterator[Batch]:
        import tensorflow as tf

        if self._kept and self._taught is None:
            self._taught = self._all_taught()
        names = data.input_names
        for index, (inputs, _) in enumerate(data.batches(self._size)):
            feeds = [tf.convert_to_tensor(inputs[name]) for name in names]
            rows = positions[index * self._size : index * self._size + len(feeds[0])]
            labels = {name: array[rows] for name, array in self._labels.items()}
            taught = []
            if self._taught is not None:
                taught = [array[rows] for array in self._taught]
            elif self._aim.taught:
                taught = list(self._aim.teach(feeds))
            yield Batch(feeds, taught, labels)

    def _told_bytes(self) -> int:
        """How much a teacher says of all examples, told by one."""
        inputs, _ = next(self._data.batches(1))
        said = self._aim.teach([inputs[name] for name in self._data.input_names])
        return len(self._data) * sum(np.asarray(one).nbytes for one in said)

    def _all_taught(self) -> list[NDArray[Any]]:
        pieces = [
            [np.asarray(one) for one in self._aim.teach([inputs[name] for name in self._data.input_names])]
            for inputs, _ in self._data.batches(self._size)
        ]
        return [np.concatenate(arrays) for arrays in zip(*pieces, strict=True)]
