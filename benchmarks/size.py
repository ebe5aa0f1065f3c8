"""How many bytes a model takes to store and to send, external weights included."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

_CHUNK_BYTES = 1 << 20


def file_bytes(paths: Iterable[Path]) -> int:
    """Add up the sizes of a model's files."""
    return sum(path.stat().st_size for path in paths)


def gzip_bytes(paths: Iterable[Path]) -> int:
    """Give the size of a model's files after `gzip -9`, without writing it; the same for the same content.

    Args:
        paths: the files, compressed one after the other as one stream.
    """
    counter = _Counter()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=counter, mtime=0) as packed:
        for path in paths:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    packed.write(chunk)
    return counter.count


class _Counter:
    """A file that only counts what is written to it."""

    def __init__(self) -> None:
        self.count = 0

    def write(self, data: bytes) -> int:
        self.count += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""
