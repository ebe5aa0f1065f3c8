"""Reads a FlatBuffer that nobody vouches for: every offset is checked before it is followed.

The generated readers of the `flatbuffers` package trust the file; a vector that claims two thousand million
entries keeps them busy, and a bad offset reads whatever lies there. Layout as in "FlatBuffers
internals" (Google, 2014): a table begins with a signed offset back to its vtable, which holds a 16-bit
offset per field (0: absent); vectors, strings and tables are reached by unsigned 32-bit offsets.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from mmap import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The offset that leads to it, and the one that leads to its vtable.
_SMALLEST_TABLE_BYTES = 8


class MalformedError(ValueError):
    """An offset or a size that leads out of the file; the words say which."""


@dataclass(slots=True)
class Buffer:
    """The bytes of a file, with a bound on how much is read of it by pointing at the same bytes again and again.

    Args:
        data: the whole file.
    """

    data: bytes | mmap
    _charged: int = field(default=0, init=False)

    def number(self, code: str, at: int) -> Any:
        """Read one little-endian number; `code` is struct's."""
        try:
            if at < 0:
                raise MalformedError(f"an offset leads to {at}, before the beginning")
            return struct.unpack_from(f"<{code}", self.data, at)[0]
        except struct.error as error:
            raise MalformedError(f"an offset leads to byte {at:,} of {len(self.data):,}") from error

    def root(self) -> Table:
        """Give the table that everything hangs on."""
        return Table(self, self.number("I", 0))

    def charge(self, read_bytes: int) -> None:
        """Count what tables and vectors take up: in a well-made file each lies there for itself, but for a few."""
        self._charged += read_bytes
        if self._charged > 2 * len(self.data):
            raise MalformedError("more tables and vectors than the file has room for")


class Table:
    """One table; fields are asked for by their number in the schema.

    Args:
        buffer: the file.
        at: where the table lies.

    Raises:
        MalformedError: it does not lie in the file.
    """

    __slots__ = ("_at", "_buffer", "_fields", "_vtable")

    def __init__(self, buffer: Buffer, at: int) -> None:
        buffer.charge(_SMALLEST_TABLE_BYTES)
        self._buffer, self._at = buffer, at
        self._vtable = at - buffer.number("i", at)
        self._fields = (buffer.number("H", self._vtable) - 4) // 2

    def _find(self, number: int) -> int | None:
        if number >= self._fields:
            return None
        offset = self._buffer.number("H", self._vtable + 4 + 2 * number)
        return self._at + offset if offset else None

    def _follow(self, number: int) -> int | None:
        at = self._find(number)
        return None if at is None else at + self._buffer.number("I", at)

    def has(self, number: int) -> bool:
        """Tell whether a field is there."""
        return self._find(number) is not None

    def number(self, number: int, code: str, default: int = 0) -> int:
        """Give a scalar field; `code` is struct's."""
        at = self._find(number)
        return default if at is None else int(self._buffer.number(code, at))

    def table(self, number: int) -> Table | None:
        """Give a table field."""
        at = self._follow(number)
        return None if at is None else Table(self._buffer, at)

    def span(self, number: int, item_bytes: int = 1) -> tuple[int, int]:
        """Give where the items of a vector begin, and how many there are; (0, 0) where there is none."""
        at = self._follow(number)
        if at is None:
            return 0, 0
        count = self._buffer.number("I", at)
        if at + 4 + count * item_bytes > len(self._buffer.data):
            raise MalformedError(f"{count:,} items at byte {at:,} of {len(self._buffer.data):,}")
        self._buffer.charge(count * item_bytes)
        return at + 4, count

    def values(self, number: int, dtype: str) -> NDArray[Any]:
        """Give a vector of numbers; `dtype` is numpy's."""
        start, count = self.span(number, np.dtype(dtype).itemsize)
        return np.frombuffer(self._buffer.data[start : start + count * np.dtype(dtype).itemsize], dtype)

    def text(self, number: int) -> str:
        """Give a string, empty where there is none; what is not UTF-8 in it is replaced."""
        start, count = self.span(number)
        return bytes(self._buffer.data[start : start + count]).decode("utf-8", errors="replace")

    def tables(self, number: int) -> Iterator[Table]:
        """Give the tables of a vector one after the other."""
        start, count = self.span(number, 4)
        for at in range(start, start + 4 * count, 4):
            yield Table(self._buffer, at + self._buffer.number("I", at))
