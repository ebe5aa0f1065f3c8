"""NumPy's .npz: a zip of arrays, read without pickle and with no more memory than its headers promise."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from slimedge.errors import InputError
from slimedge.readers.arrays import first_line, split_labels
from slimedge.source import Array, ArraySource, Options, Source, join, refuse
from slimedge.spool import IN_MEMORY_BYTES, filled

_ZIP_LOCAL_HEADER = struct.Struct("<26xHH")
"""The fixed part of a zip member's own header: lengths of its name and its extra field at the end."""


class NpzReader:
    """Reads arrays by input name, labels `y`; names that all end in `_train` or `_test` make two parts."""

    def knows(self, given: Any) -> bool:
        """Tell an .npz by its ending."""
        return isinstance(given, Path) and given.suffix.lower() == ".npz"

    def open(self, given: Path, options: Options) -> Source:
        """Read the small arrays into memory and map the large ones from the file."""
        arrays = _read_all(given)
        origin = str(given)
        halves = {part: _ending(arrays, f"_{part}") for part in ("train", "test")}
        if all(halves.values()) and len(arrays) == sum(len(half) for half in halves.values()):
            parts = {
                part: ArraySource(*split_labels(half, options, origin), origin=f"the {part} part of {origin}")
                for part, half in halves.items()
            }
            return join(parts, options.part, origin)
        refuse(options, origin, "part")
        return ArraySource(*split_labels(arrays, options, origin), origin=origin)


def _ending(arrays: dict[str, Array], ending: str) -> dict[str, Array]:
    return {name.removesuffix(ending): array for name, array in arrays.items() if name.endswith(ending)}


def _read_all(path: Path) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                info.filename.removesuffix(".npy"): _read(path, archive, info) for info in archive.infolist()
            }
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error) as error:
        raise InputError(
            f"{path} is no .npz file or is damaged ({first_line(error)}); make it again with "
            "np.savez_compressed, or copy it again."
        ) from error
    except (NotImplementedError, RuntimeError) as error:  # another compression, or a password
        raise InputError(
            f"{path} cannot be unpacked ({first_line(error)}); make it again with np.savez_compressed."
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from error


def _read(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    name = info.filename.removesuffix(".npy")
    what = f"'{name}' in {path}"
    if name == info.filename:
        raise InputError(
            f"{path} holds '{name}', which is no array; leave only arrays in it, as np.savez does."
        )
    with archive.open(info) as member:
        shape, fortran, dtype = _header(member, what)
        promised, held = math.prod(shape) * dtype.itemsize, info.file_size - member.tell()
        if promised != held:
            raise InputError(
                f"{what} is damaged: its header promises {promised:,} bytes and there are {held:,}; make the "
                "file again with np.savez_compressed."
            )
        stored = shape[::-1] if fortran else shape
        if info.compress_type == zipfile.ZIP_STORED and promised > IN_MEMORY_BYTES:
            start = _data_start(path, info) + member.tell()
            array: Array = np.memmap(path, dtype, "r", start, stored)
        else:
            array = filled(stored, dtype, member.read, what)
            member.read(1)  # reaching the end checks the archive's CRC
    return array.T if fortran else array


def _header(member: IO[bytes], what: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = npy.read_magic(member)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(member)
    except (ValueError, TypeError, SyntaxError, OverflowError, MemoryError, RecursionError) as error:
        raise InputError(
            f"{what} has a header that is none of NumPy's ({first_line(error)}); make the file again with "
            "np.savez_compressed."
        ) from error
    if dtype.hasobject:
        raise InputError(
            f"{what} holds pickled Python objects, which could run code and are never loaded; save arrays of "
            "numbers, with .astype('float32')."
        )
    if any(size < 0 for size in shape):
        raise InputError(f"{what} has the impossible shape {shape}; make the file again.")
    return shape, fortran, dtype


def _data_start(path: Path, info: zipfile.ZipInfo) -> int:
    with path.open("rb") as file:
        file.seek(info.header_offset)
        name_length, extra_length = _ZIP_LOCAL_HEADER.unpack(file.read(_ZIP_LOCAL_HEADER.size))
    return info.header_offset + _ZIP_LOCAL_HEADER.size + int(name_length) + int(extra_length)
