"""Any model file that slimedge reads, told by its content and its ending."""

from __future__ import annotations

from pathlib import Path

from slimedge.artifact import Artifact, Format
from slimedge.errors import InputError
from slimedge.registry import Registry
from slimedge.sniffing import Content, sniff

# What reads a format, and what counts its weights; one line each.
READERS = Registry(
    "model format",
    {
        Format.KERAS: "slimedge.keras_file:read",
        Format.ONNX: "slimedge.onnx_file:read",
        Format.TFLITE: "slimedge.tflite_file:read",
    },
)
SUMMARIES = Registry(
    "model format",
    {
        Format.KERAS: "slimedge.keras_archive:weights_summary",
        Format.ONNX: "slimedge.onnx_file:weights_summary",
        Format.TFLITE: "slimedge.tflite_file:weights_summary",
    },
)
_FORMATS = {Content.ZIP: Format.KERAS, Content.ONNX: Format.ONNX, Content.TFLITE: Format.TFLITE}


def read_artifact(path: Path | str) -> Artifact:
    """Describe a model file: `.keras`, `.onnx` or `.tflite`.

    Args:
        path: the file.

    Raises:
        InputError: no model of these formats, another format than its name says, cut off, damaged or unsafe.
    """
    path = Path(path)
    artifact: Artifact = READERS[format_of(path)](path)
    return artifact


def weights_summary(path: Path | str) -> tuple[int, int]:
    """Count the numbers in the weights of a model file, and those that are not zero.

    Args:
        path: the file.

    Returns:
        Parameters and nonzero parameters.

    Raises:
        InputError: as `read_artifact`.
    """
    path = Path(path)
    parameters, nonzero = SUMMARIES[format_of(path)](path)
    return parameters, nonzero


def format_of(path: Path | str) -> Format:
    """Tell a file's format from its ending, and see that its content does not say otherwise.

    Args:
        path: the file; what is inside it is looked at no further than its first bytes.

    Raises:
        InputError: no model of these formats, or another format than its name says.
    """
    path = Path(path)
    content = sniff(path)
    ending = path.suffix.lower().lstrip(".")
    found = _FORMATS.get(content)
    if ending not in READERS:
        hint = f", so name it .{found}" if found else ""
        raise InputError(
            f"{path} is {content} and its name ends in none of {', '.join(f'.{name}' for name in READERS)}{hint}; "
            "give a model file in one of these formats."
        )
    if found is not None and found != ending:
        raise InputError(
            f"{path} is {content} under the name .{ending}; name it .{found}, or give another file."
        )
    return Format(ending)
