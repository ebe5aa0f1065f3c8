"""Lists of classes as short text, so that a report can keep what was answered to every example."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence

import numpy as np

# Bytes of a class: the second where one class does not fit in the first. The largest number stands for -1.
_WIDTHS = (2, 4)


def pack(classes: Sequence[int]) -> str:
    """Write classes as base64 of zlib of little-endian unsigned integers.

    Args:
        classes: each 0 or more, or -1 for no answer.

    Returns:
        ASCII text. An integer has 16 bits, 32 where a class is 65,535 or more; the largest of them stands for -1.

    Example:
        >>> unpack(pack([3, 0, -1, 9]), 4)
        (3, 0, -1, 9)
        >>> len(pack([index % 10 for index in range(10_000)])) < 200
        True
    """
    given = np.asarray(classes, np.int64)
    width = next(width for width in _WIDTHS if given.max(initial=0) < _no_answer(width))
    numbers = np.where(given < 0, _no_answer(width), given).astype(f"<u{width}")
    return base64.b64encode(zlib.compress(numbers.tobytes(), 9)).decode("ascii")


def unpack(text: str, n: int) -> tuple[int, ...]:
    """Read what `pack` wrote.

    Args:
        text: of `pack`.
        n: classes in it.

    Returns:
        The classes.

    Raises:
        ValueError: it is no such text, or holds another number of classes.
    """
    unpacker = zlib.decompressobj()
    try:
        # No more is unpacked than could be right, however much a hostile text would grow to.
        content = unpacker.decompress(base64.b64decode(text, validate=True), max(_WIDTHS) * n + 1)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise ValueError(f"is no packed list of classes ({error})") from error
    width = next((width for width in _WIDTHS if len(content) == width * n), None)
    if width is None or not unpacker.eof:
        raise ValueError(f"does not hold {n:,} classes")
    numbers = np.frombuffer(content, f"<u{width}").astype(np.int64)
    return tuple(np.where(numbers == _no_answer(width), -1, numbers).tolist())


def _no_answer(width: int) -> int:
    return (1 << (8 * width)) - 1
