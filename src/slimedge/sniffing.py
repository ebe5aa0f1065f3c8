"""What a file is, told from its first bytes: nothing is opened by a library, nothing is run."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from slimedge.errors import InputError


class Content(StrEnum):
    """Kinds of content that are told apart; the value fits into a sentence."""

    EMPTY = "an empty file"
    FOLDER = "a folder"
    SAVED_MODEL = "a SavedModel folder"
    ZIP = "a zip archive"
    HDF5 = "an HDF5 file"
    TFLITE = "a TFLite model"
    ONNX = "an ONNX model"
    PICKLE = "a pickle"
    GZIP = "a gzip file"
    TEXT = "a text file"
    UNKNOWN = "a file of an unknown kind"


# A ModelProto begins with ir_version (field 1); what follows is one of its fields 2 to 8. Versions below 3
# are from before ONNX 1.0, and look like a SavedModel's protobuf.
_ONNX_IR_VERSIONS = range(3, 64)
_ONNX_NEXT_TAGS = bytes((0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42))
_HEAD_BYTES = 4096


def sniff(path: Path) -> Content:
    """Tell what lies at `path`, from at most 4 KiB of it.

    Args:
        path: a file or a folder.

    Returns:
        The kind of content; a cut-off file is of the kind that its beginning shows.

    Raises:
        InputError: there is nothing at `path`, or it may not be read.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return Content.SAVED_MODEL if (path / "saved_model.pb").exists() else Content.FOLDER
        if not path.exists():
            raise InputError(f"there is no file {path}; check the name, or make the model first.")
        if not path.is_file():
            raise InputError(f"{path} is a pipe or a device, not a file; give the path of a model file.")
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({(error.strerror or str(error)).lower()}); give a file that you may read."
        ) from error
    return _content_of(head)


def _content_of(head: bytes) -> Content:
    if not head:
        return Content.EMPTY
    if head[4:8] == b"TFL3":
        return Content.TFLITE
    for magic, content in (
        (b"PK\x03\x04", Content.ZIP),
        (b"PK\x05\x06", Content.ZIP),
        (b"\x89HDF\r\n\x1a\n", Content.HDF5),
        (b"\x1f\x8b", Content.GZIP),
    ):
        if head.startswith(magic):
            return content
    if len(head) > 2 and head[0] == 0x08 and head[1] in _ONNX_IR_VERSIONS and head[2] in _ONNX_NEXT_TAGS:
        return Content.ONNX
    if len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5:
        return Content.PICKLE
    return Content.TEXT if _is_text(head) else Content.UNKNOWN


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The head may end inside a character.
        if len(head) - error.start > 3:
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character.isspace() for character in text)
