"""The IDX files of MNIST: `train-images-idx3-ubyte[.gz]`, `t10k-labels-idx1-ubyte[.gz]`, … in one folder.

Reference: Y. LeCun, C. Cortes, C. Burges, "The MNIST database", section "the IDX file format".
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from slimedge.errors import InputError
from slimedge.readers.arrays import first_line
from slimedge.source import UNNAMED_LABELS, Array, ArraySource, Facts, Options, Source, join, refuse
from slimedge.spool import filled

_NAME = re.compile(r"(?P<set>.*?)(?P<part>train|t10k|test)-(?P<what>images|labels)[-.]idx\d-ubyte(?:\.gz)?")
_PARTS = {"train": "train", "t10k": "test", "test": "test"}
_UNSIGNED_BYTE = 0x08
_MOST_AXES = 4


class IdxReader:
    """Reads images and labels of an MNIST-like folder; `train` and `t10k` become the parts train and test."""

    def knows(self, given: Any) -> bool:
        """Tell an IDX folder by the names in it."""
        return isinstance(given, Path) and given.is_dir() and bool(_files(given))

    def open(self, given: Path, options: Options) -> Source:
        """Unpack the images (1 byte a pixel) into memory, or map them where they are not compressed."""
        refuse(options, str(given), "labels")
        files = _files(given)
        sets = {name for name, _, _ in files}
        if len(sets) > 1:
            raise InputError(
                f"{given} holds {len(sets)} data sets ({', '.join(sorted(sets))}); put the files of one into "
                "a folder of its own."
            )
        parts: dict[str, Source] = {}
        for part in ("train", "test"):
            paths = {what: path for (_, p, what), path in files.items() if p == part}
            if "images" in paths:
                parts[part] = _part(paths, options)
        if not parts:
            raise InputError(
                f"{given} holds IDX labels and no images; add train-images-idx3-ubyte.gz beside them."
            )
        return join(parts, options.part, str(given))


def _files(folder: Path) -> dict[tuple[str, str, str], Path]:
    """Give the IDX files by set, part and kind; a plain file comes before a compressed one."""
    found: dict[tuple[str, str, str], Path] = {}
    for path in sorted(folder.iterdir()):
        if match := _NAME.fullmatch(path.name):
            found.setdefault((match["set"], _PARTS[match["part"]], match["what"]), path)
    return found


def _part(paths: dict[str, Path], options: Options) -> Source:
    images = read_idx(paths["images"])
    if images.ndim not in {3, 4}:
        raise InputError(
            f"{paths['images']} has {images.ndim} axes, and images have 3 (count, height, width) or 4 (and "
            "channels); give a file of images."
        )
    labels = {UNNAMED_LABELS: read_idx(paths["labels"])} if "labels" in paths else {}
    return ArraySource(
        {options.name: images}, Facts(labels=labels, pixel_bytes=True), origin=str(paths["images"])
    )


def read_idx(path: Path) -> Array:
    """Read one IDX file of unsigned bytes.

    Args:
        path: plain, or ending in `.gz`.

    Returns:
        The array, uint8, in the shape that the header tells.

    Raises:
        InputError: it is no IDX file, is damaged, or its length is not what its header promises.
    """
    try:
        with _opened(path) as file:
            shape = _shape(file, path)
            if path.suffix != ".gz":
                return _mapped(path, shape, file.tell())
            array = filled(shape, np.dtype(np.uint8), file.read, str(path))
            if file.read(1):
                raise InputError(
                    f"{path} holds more than the {math.prod(shape):,} bytes that its header promises; copy "
                    "or download it again."
                )
            return array
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path} is damaged or cut short ({first_line(error)}); copy or download it again."
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from error


def _opened(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _shape(file: IO[bytes], path: Path) -> tuple[int, ...]:
    """Read the header: two zero bytes, the type, the number of axes, then a big-endian size for each."""
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or not 1 <= head[3] <= _MOST_AXES:
        raise InputError(
            f"{path} is no IDX file: it does not begin with the magic number of one; download it again."
        )
    if head[2] != _UNSIGNED_BYTE:
        raise InputError(
            f"{path} holds numbers of IDX type 0x{head[2]:02x}, and only unsigned bytes (0x08) are read; "
            "give the data as .npz instead."
        )
    sizes = file.read(4 * head[3])
    if len(sizes) < 4 * head[3]:
        raise InputError(f"{path} is cut short within its header; copy or download it again.")
    return struct.unpack(f">{head[3]}I", sizes)


def _mapped(path: Path, shape: tuple[int, ...], start: int) -> Array:
    promised, held = math.prod(shape), path.stat().st_size - start
    if promised != held:
        raise InputError(
            f"{path} is damaged: its header promises {promised:,} bytes and there are {held:,}; copy or "
            "download it again."
        )
    if promised == 0:
        return np.empty(shape, np.uint8)
    return np.memmap(path, np.uint8, "r", start, shape)
