"""Large arrays without the memory for them: small ones in memory, big ones in an unnamed temporary file."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

import numpy as np

from slimedge.errors import InputError
from slimedge.source import Array

IN_MEMORY_BYTES = 2**30
"""Arrays up to this size are kept in memory."""

_PIECE_BYTES = 2**22


def filled(shape: Sequence[int], dtype: np.dtype[Any], read: Callable[[int], bytes], origin: str) -> Array:
    """Give an array of the promised size, filled from a stream of which no more than that is read.

    Args:
        shape: as the header of the file promises it.
        dtype: of the elements.
        read: gives at most so many bytes, and none at the end.
        origin: what is read, for messages.

    Returns:
        The array (*shape), in memory up to `IN_MEMORY_BYTES`, else in a temporary file.

    Raises:
        InputError: the stream ends early, or the array is larger than the free disk.
    """
    size = math.prod(shape) * dtype.itemsize
    if size > IN_MEMORY_BYTES:
        return _kept_in_a_file(size, read, origin).view(dtype).reshape(shape)
    buffer = np.empty(size, np.uint8)
    done = 0
    for piece in _pieces(size, read, origin):
        buffer[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
        done += len(piece)
    return buffer.view(dtype).reshape(shape)


def _pieces(size: int, read: Callable[[int], bytes], origin: str) -> Iterator[bytes]:
    done = 0
    while done < size:
        piece = read(min(_PIECE_BYTES, size - done))
        if not piece:
            raise InputError(
                f"{origin} is cut short: it promises {size:,} bytes of data and holds {done:,}; "
                "copy or download it again."
            )
        done += len(piece)
        yield piece


def _kept_in_a_file(size: int, read: Callable[[int], bytes], origin: str) -> Array:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if size > free:
        raise InputError(
            f"{origin} promises {size:,} bytes of data, and {folder} has room for {free:,}; give a smaller "
            "file, or set TMPDIR to a folder with more room."
        )
    spool = Spool(origin, "data")
    for piece in _pieces(size, read, origin):
        spool.append(np.frombuffer(piece, np.uint8))
    return spool.array()


class Spool:
    """Rows of unknown number, gathered in an unnamed temporary file that goes away with the array.

    Args:
        origin: what the rows come from, for messages.
        name: what they are, for messages.
    """

    def __init__(self, origin: str, name: str) -> None:
        self._origin = origin
        self._name = name
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed by array()
        self._shape: tuple[int, ...] = ()
        self._dtype: np.dtype[Any] = np.dtype(np.float32)
        self.rows = 0

    def append(self, rows: Array) -> None:
        """Add rows (k, …).

        Raises:
            InputError: they have another shape or type than those before, or the disk is full.
        """
        if self.rows == 0:
            self._shape, self._dtype = rows.shape[1:], rows.dtype
        elif (rows.shape[1:], rows.dtype) != (self._shape, self._dtype):
            raise InputError(
                f"the examples of {self._origin} differ: {self._name} is {self._shape} {self._dtype} first "
                f"and {rows.shape[1:]} {rows.dtype} at example {self.rows}; give all one shape and type."
            )
        try:
            self._file.write(np.ascontiguousarray(rows).data)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InputError(
                f"could not keep the examples of {self._origin} in {tempfile.gettempdir()}: {reason}; give "
                "fewer (limit=), or set TMPDIR to a folder with more room."
            ) from error
        self.rows += len(rows)

    def array(self) -> Array:
        """Give all rows (n, …) and end the gathering."""
        with self._file as file:
            if self.rows == 0 or math.prod(self._shape) == 0:
                return np.empty((self.rows, *self._shape), self._dtype)
            file.flush()
            return np.memmap(file, self._dtype, "r", shape=(self.rows, *self._shape))
