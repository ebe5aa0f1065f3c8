"""Training that was stopped in the middle goes on from there: what it has come to is written down now and then.

Whoever runs a training that may be stopped says where with `kept_in`; each training within the block then writes to a
file of its own there, in the order in which they start, and finds it again when the same block runs once more.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
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

from slimedge.errors import InputError
from slimedge.files import atomic_path

EVERY_S = 20.0
# Seconds between two checkpoints, in the place of the above.
VARIABLE = "SLIMEDGE_CHECKPOINT_S"
State = dict[str, NDArray[Any]]


@dataclass(slots=True)
class Checkpoints:
    """The checkpoints of what runs in a block.

    Attributes:
        folder: for the files.
        every_s: seconds between two of them.
        clock: gives seconds.
        resumed: trainings that went on from what an earlier block left.
        saved_s: seconds that these had taken before, and did not take again.
    """

    folder: Path
    every_s: float = EVERY_S
    clock: Callable[[], float] = time.monotonic
    resumed: int = field(default=0, init=False)
    saved_s: float = field(default=0.0, init=False)
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
        return Checkpoint(path, digest.hexdigest(), self)


_CURRENT: ContextVar[Checkpoints | None] = ContextVar("checkpoints", default=None)


@contextmanager
def kept_in(folder: Path, *, every_s: float | None = None) -> Iterator[Checkpoints]:
    """Let trainings in the block go on where they were stopped.

    What another training left is not taken: one with other settings, data or weights at its start. The rest that the
    block is told, as teachers, has to be the same for one folder, and all machines that train together have to be in
    such a block: the first one writes, and tells the others.

    Args:
        folder: for their files; whoever calls removes it when all is done.
        every_s: seconds between two checkpoints of one training; None for those of `interval_s`.

    Yields:
        What tells, after the block, which trainings went on.
    """
    kept = Checkpoints(folder, interval_s() if every_s is None else every_s)
    token = _CURRENT.set(kept)
    try:
        yield kept
    finally:
        _CURRENT.reset(token)


def interval_s() -> float:
    """Give the seconds between two checkpoints: those of the environment variable SLIMEDGE_CHECKPOINT_S, or 20.

    Raises:
        InputError: the variable is no number of seconds.
    """
    told = os.environ.get(VARIABLE)
    if not told:
        return EVERY_S
    try:
        found = float(told)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise InputError(f"{VARIABLE} is '{told}'; give seconds as 20, 0 for a checkpoint after every step.")
    return found


def current() -> Checkpoints | None:
    """Give where checkpoints go; None where nothing is to be kept."""
    return _CURRENT.get()


class Checkpoint:
    """What one training has come to.

    Args:
        path: of the file.
        key: of how the training started; what another one left is not taken.
        kept: the checkpoints of the block, which say how often, and are told what was saved.
    """

    def __init__(self, path: Path, key: str, kept: Checkpoints) -> None:
        self._path, self._key, self._kept = path, key, kept
        self._started_s = self._written_s = kept.clock()
        self._before_s = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return self._kept.clock() - self._written_s >= self._kept.every_s

    def read(self) -> State | None:
        """Give what was written, or None where there is nothing that fits."""
        try:
            with np.load(self._path) as arrays:
                if str(arrays["key"]) != self._key:
                    return None
                found = {name: arrays[name] for name in arrays.files if name not in {"key", "spent_s"}}
                self._before_s = float(arrays["spent_s"])
        except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile):
            return None
        self._kept.resumed += 1
        self._kept.saved_s += self._before_s
        return found

    def write(self, state: State) -> None:
        """Write what the training has come to.

        Raises:
            InputError: the folder may not be written, or the disk is full.
        """
        spent_s = self._before_s + self._kept.clock() - self._started_s
        with atomic_path(self._path) as temporary, temporary.open("wb") as file:
            np.savez(file, key=np.asarray(self._key), spent_s=np.asarray(spent_s), **state)  # type: ignore[arg-type]
        self._written_s = self._kept.clock()
