"""The inside of a `.keras` file, checked before any library sees it: a zip of a config, metadata and weights.

A file is untrusted. Its members are listed, bounded in size and read once in pieces; its HDF5 part may
not point outside itself nor declare far more than it holds. Nothing here imports Keras.
"""

from __future__ import annotations

import io
import json
import math
import re
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from slimedge.errors import InputError
from slimedge.sniffing import Content, sniff

if TYPE_CHECKING:
    import h5py

CONFIG = "config.json"
METADATA = "metadata.json"
WEIGHTS = "model.weights.h5"

# NASNetLarge, the largest graph of keras.applications, has a config of 1.2 MB.
_MAX_BYTES = {CONFIG: 16 << 20, METADATA: 4 << 20}
# Keras stores members as they are. A model of which 95 % is zero deflates 15-fold; deflate ends at 1,032-fold.
_MAX_EXPANSION = 50
_UNSUSPICIOUS_BYTES = 32 << 20
_PIECE_BYTES = 1 << 20
_MAX_MEMBERS = 10_000
# Of a zip member: fixed fields, the last four bytes of which are the sizes of name and extra field.
_LOCAL_HEADER_BYTES = 30
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError)

_HINTS = {
    Content.TFLITE: "quantize and export start from the .keras file that it was made of",
    Content.ONNX: "quantize and export start from the .keras file that it was made of",
    Content.SAVED_MODEL: "load it in Python with what made it, and write model.save('model.keras') with Keras 3",
    Content.PICKLE: "a pickle runs code when it is opened, so load it where you trust it and save it as .keras",
    Content.HDF5: "if you made it yourself, name it .h5 and pass --trust (trust=True in Python)",
}


def not_keras(path: Path, content: Content) -> InputError:
    """Give the error for a file that is no `.keras` file, with the way out for what it is."""
    hint = _HINTS.get(content, "give a file that model.save('model.keras') wrote")
    return InputError(f"{path} is {content}, not a Keras model; {hint}.")


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a `.keras` file after checking every member's name, size and checksum.

    Args:
        path: the file.

    Yields:
        The archive; reading its members takes no more memory than `InputError` allows them.

    Raises:
        InputError: not a zip archive, cut off, damaged, or with members that Keras would not have written.
    """
    path = Path(path)
    content = sniff(path)
    if content is not Content.ZIP:
        raise not_keras(path, content)
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
            _check_members(archive, path)
            for member in archive.infolist():
                with archive.open(member) as file:
                    while file.read(_PIECE_BYTES):
                        pass
        except _DAMAGE as error:
            raise InputError(
                f"{path} is cut off or damaged ({str(error).rstrip('.').lower()}); "
                "copy it again, or save the model again."
            ) from error
        yield archive


def _check_members(archive: zipfile.ZipFile, path: Path) -> None:
    members = archive.infolist()
    names = [member.filename for member in members]
    if "data.pkl" in {PurePosixPath(name).name for name in names}:
        raise InputError(
            f"{path} is a PyTorch checkpoint, not a Keras model; slimedge starts from Keras models only."
        )
    if len(names) > _MAX_MEMBERS or len(set(names)) < len(names):
        raise InputError(
            f"{path} has more members, or the same member more than once, than Keras writes; save it again."
        )
    if CONFIG not in names:
        raise InputError(
            f"{path} is a zip archive without {CONFIG}, not a Keras model; "
            "give a file that model.save('model.keras') wrote."
        )
    if WEIGHTS not in names:
        raise InputError(
            f"{path} has no {WEIGHTS} in it; save the model again with model.save('model.keras')."
        )
    for member in members:
        _check_member(member, path)


def _check_member(member: zipfile.ZipInfo, path: Path) -> None:
    name = member.filename
    parts = name.rstrip("/").split("/")
    known = name in (CONFIG, METADATA, WEIGHTS) or parts[0] == "assets"
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    if not known or is_link or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise InputError(
            f"{path} has a member '{name}' that Keras does not write ({CONFIG}, {METADATA}, {WEIGHTS} and files "
            "in assets/ are allowed); save it again with model.save('model.keras')."
        )
    if member.flag_bits & 0x1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(
            f"{path} is encrypted or packed in a way that Keras does not use; save the model again."
        )
    expanded = member.file_size > max(_UNSUSPICIOUS_BYTES, _MAX_EXPANSION * member.compress_size)
    if expanded or member.file_size > _MAX_BYTES.get(name, member.file_size):
        allowed = _MAX_BYTES.get(name, max(_UNSUSPICIOUS_BYTES, _MAX_EXPANSION * member.compress_size))
        raise InputError(
            f"{path} has an oversized member '{name}' ({member.file_size:,} bytes from "
            f"{member.compress_size:,} packed, at most {allowed:,} are allowed); "
            "save the model again with model.save('model.keras')."
        )


def read_json(archive: zipfile.ZipFile, name: str, path: Path) -> dict[str, Any]:
    """Read a JSON member; an archive without it gives an empty dict.

    Raises:
        InputError: the member holds no JSON object.
    """
    if name not in archive.namelist():
        return {}
    try:
        value = json.loads(archive.read(name))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} has a {name} that is not JSON ({error}); save the model again.") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} has a {name} that describes no model; save the model again.")
    return value


@contextmanager
def opened_weights(archive: zipfile.ZipFile, path: Path) -> Iterator[h5py.File]:
    """Open the HDF5 member of a checked archive, without a copy where it is stored unpacked.

    Raises:
        InputError: it is damaged, points outside itself or declares more than it holds.
    """
    member = archive.getinfo(WEIGHTS)
    with archive.open(member) as packed, tempfile.TemporaryFile() as copy, path.open("rb") as whole:
        file: IO[bytes] = copy
        if member.compress_type == zipfile.ZIP_STORED:
            # Not through `packed`: HDF5 jumps about, and each jump back makes zipfile read from the start again.
            file = cast("IO[bytes]", io.BufferedReader(_Window(whole, member)))
        else:
            while piece := packed.read(_PIECE_BYTES):
                copy.write(piece)
        with opened_hdf5(file, member.file_size, path) as weights:
            yield weights


class _Window(io.RawIOBase):
    """The bytes of one unpacked member of an archive, as a file that can be searched."""

    def __init__(self, whole: IO[bytes], member: zipfile.ZipInfo) -> None:
        super().__init__()
        whole.seek(member.header_offset + _LOCAL_HEADER_BYTES - 4)
        name_bytes, extra_bytes = struct.unpack("<HH", whole.read(4))
        self._whole = whole
        self._start = member.header_offset + _LOCAL_HEADER_BYTES + name_bytes + extra_bytes
        self._size = member.file_size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        room = memoryview(buffer)[: max(0, self._size - self._at)]
        self._whole.seek(self._start + self._at)
        piece = self._whole.read(len(room))
        room[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


@contextmanager
def opened_hdf5(file: IO[bytes] | Path, size_bytes: int, path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file and check that it stands alone and is not a bomb.

    Args:
        file: what to open.
        size_bytes: how large it is.
        path: for messages.

    Raises:
        InputError: it is damaged, points outside itself or declares more than it holds.
    """
    import h5py

    try:
        with h5py.File(file, "r") as weights:
            declared_bytes = sum(
                _size(dataset) * dataset.dtype.itemsize for _, dataset in _datasets(weights, path)
            )
            if declared_bytes > max(_UNSUSPICIOUS_BYTES, _MAX_EXPANSION * size_bytes):
                raise InputError(
                    f"{path} declares weights of {declared_bytes:,} bytes and holds {size_bytes:,}; "
                    "save the model again with model.save('model.keras')."
                )
            yield weights
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{path} has weights that are cut off or damaged ({' '.join(str(error).split()).rstrip('.')}); "
            "copy it again, or save the model again."
        ) from error


def _datasets(weights: h5py.File, path: Path) -> Iterator[tuple[str, h5py.Dataset]]:
    """Walk over every dataset once, refusing whatever leads out of the file."""
    import h5py

    groups: list[tuple[str, h5py.Group]] = [("", weights)]
    seen = {hash(weights.id)}
    while groups:
        prefix, group = groups.pop()
        for key in group:
            name = f"{prefix}{key}"
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise InputError(
                    f"{path} has weights '{name}' that are a link to elsewhere; save the model again."
                )
            item = group[key]
            if hash(item.id) in seen:
                continue
            seen.add(hash(item.id))
            if isinstance(item, h5py.Group):
                groups.append((f"{name}/", item))
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise InputError(
                        f"{path} has weights '{name}' that lie in another file; save the model again."
                    )
                yield name, item


# What an optimizer, a metric, a random generator and a fake-quant keep are not the model's weights.
_NOT_WEIGHTS = re.compile(
    r"^(optimizer|compile_metrics|metrics)/|(^|/)(seed_generator|fake_quant)(_weights)?(_\d+)?/vars/"
)


def count_elements(weights: h5py.File, path: Path) -> int:
    """Give how many numbers the file holds, optimizer and all."""
    return sum(_size(dataset) for _, dataset in _datasets(weights, path))


def _size(dataset: h5py.Dataset) -> int:
    # h5py's own size and nbytes overflow for a hostile shape; a shape of None is an empty dataset.
    return 0 if dataset.shape is None else math.prod(dataset.shape)


def weights_summary(path: Path) -> tuple[int, int]:
    """Count the numbers in the weights of a `.keras` file, and those that are not zero.

    Optimizer state, random generators and quantization ranges are left out.

    Args:
        path: a `.keras` file.

    Returns:
        Parameters and nonzero parameters.

    Raises:
        InputError: the file cannot be used.
    """
    parameters = nonzero = 0
    with opened(path) as archive, opened_weights(archive, path) as weights:
        for name, dataset in _datasets(weights, path):
            if _NOT_WEIGHTS.search(name) or dataset.dtype.kind not in "fiuV":
                continue
            parameters += _size(dataset)
            nonzero += sum(_count_nonzero(piece) for piece in _pieces(dataset))
    return parameters, nonzero


def _pieces(dataset: h5py.Dataset) -> Iterator[Any]:
    """Read along the first axis, some 16 MiB at a time."""
    if not dataset.shape:
        yield np.empty(0) if dataset.shape is None else dataset[()]
        return
    rows = max(1, (16 * _PIECE_BYTES) * dataset.shape[0] // max(dataset.nbytes, 1))
    for start in range(0, dataset.shape[0], rows):
        yield dataset[start : start + rows]


def _count_nonzero(values: Any) -> int:
    values = np.asarray(values)
    if values.dtype.kind == "V":  # bfloat16: all bits but the sign
        values = values.view(np.uint16) & 0x7FFF
    return int(np.count_nonzero(values))
