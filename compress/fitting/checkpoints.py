"""Training that was stopped in the middle goes on from there: what it has come to is written down now and then.

Whoever runs a training that may be stopped says where with `kept_in`; each training within the block then writes to a
file of its own there, in the order in which they start, and finds it again when the same block runs once more.
"""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.files import atomic_path

EVERY_S = 20.0
State = dict[str, NDArray[Any]]


@dataclass(slots=True)
class Checkpoints:
    """The checkpoints of what runs in a block.

    Attributes:
        folder: for the files.
        every_s: seconds between two of them.
        clock: gives seconds.
    """

    folder: Path
    every_s: float = EVERY_S
    clock: Callable[[], float] = time.monotonic
    _started: int = field(default=0, init=False)

    def next(self, start: Mapping[str, Any], weights: list[NDArray[Any]]) -> Checkpoint:
        """Give that of the training that starts now; one that began otherwise is left alone.

        Args:
            start: what the training was told, as JSON values.
            weights: that it begins with.
        """
        self._started += 1
        digest = hashlib.sha256(json.dumps(dict(start), sort_keys=True, default=str).encode())
        for array in weights:
            digest.update(np.ascontiguousarray(array).tobytes())
        path = self.folder / f"training-{self._started}.npz"
        return Checkpoint(path, digest.hexdigest(), self.every_s, self.clock)


_CURRENT: ContextVar[Checkpoints | None] = ContextVar("checkpoints", default=None)


@contextmanager
def kept_in(folder: Path, *, every_s: float = EVERY_S) -> Iterator[None]:
    """Let trainings in the block go on where they were stopped.

    What another training left is not taken: one with other settings, data or weights at its start. The rest that the
    block is told, as teachers, has to be the same for one folder, and all machines that train together have to be in
    such a block: the first one writes, and tells the others.

    Args:
        folder: for their files; whoever calls removes it when all is done.
        every_s: seconds between two checkpoints of one training.
    """
    token = _CURRENT.set(Checkpoints(folder, every_s))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current() -> Checkpoints | None:
    """Give where checkpoints go; None where nothing is to be kept."""
    return _CURRENT.get()


class Checkpoint:
    """What one training has come to.

    Args:
        path: of the file.
        key: of how the training started; what another one left is not taken.
        every_s: seconds between two writes.
        clock: gives seconds.
    """

    def __init__(self, path: Path, key: str, every_s: float, clock: Callable[[], float]) -> None:
        self._path, self._key, self._every_s, self._clock = path, key, every_s, clock
        self._written_s = clock()

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return self._clock() - self._written_s >= self._every_s

    def read(self) -> State | None:
        """Give what was written, or None where there is nothing that fits."""
        try:
            with np.load(self._path) as arrays:
                if str(arrays["key"]) != self._key:
                    return None
                return {name: arrays[name] for name in arrays.files if name != "key"}
        except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile):
            return None

    def write(self, state: State) -> None:
        """Write what the training has come to.

        Raises:
            InputError: the folder may not be written, or the disk is full.
        """
        with atomic_path(self._path) as temporary, temporary.open("wb") as file:
            np.savez(file, key=np.asarray(self._key), **state)  # type: ignore[arg-type]
        self._written_s = self._clock()
