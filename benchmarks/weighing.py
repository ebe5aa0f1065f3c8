"""What a model file weighs before it is run: bytes, numbers in its weights, multiply-accumulates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slimedge import macs
from slimedge.artifact import Artifact, Format
from slimedge.benchmarks import file_macs, size

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Weight:
    """What was found.

    Attributes:
        file_bytes: of the file, external weights included.
        gzip_bytes: the same after gzip level 9.
        parameters: numbers in the weights.
        nonzero_parameters: those that are not zero.
        macs: multiply-accumulates for one example; None where some op could not be counted.
        notes: what the reader should know.
    """

    file_bytes: int
    gzip_bytes: int
    parameters: int
    nonzero_parameters: int
    macs: int | None
    notes: tuple[str, ...] = ()


def weigh(artifact: Artifact) -> Weight:
    """Weigh a model file.

    Args:
        artifact: any format; a Keras file is opened for its layers.

    Raises:
        InputError: the file cannot be used.
    """
    files = files_of(artifact)
    parameters, nonzero = _WEIGHTS[artifact.format](artifact.path)
    counted = _MACS[artifact.format](artifact.path)
    return Weight(
        file_bytes=size.file_bytes(files),
        gzip_bytes=size.gzip_bytes(files),
        parameters=parameters,
        nonzero_parameters=nonzero,
        macs=counted.total,
        notes=macs_notes(counted),
    )


def files_of(artifact: Artifact) -> tuple[Path, ...]:
    """Give the files that a model consists of: the file itself, then its external weights."""
    if artifact.format is not Format.ONNX:
        return (artifact.path,)
    from slimedge.onnx_file import external_files

    return (artifact.path, *external_files(artifact.path))


def macs_notes(counted: macs.Macs) -> tuple[str, ...]:
    """Name the layers that were not counted, if any."""
    left = counted.uncounted
    if not left:
        return ()
    more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
    return (f"MACs are not known: {', '.join(left[:_NAMED])}{more} could not be counted.",)


def _keras_weights(path: Path) -> tuple[int, int]:
    from slimedge.keras_file import weights_summary

    return weights_summary(path)


def _onnx_weights(path: Path) -> tuple[int, int]:
    from slimedge.onnx_file import weights_summary

    return weights_summary(path)


def _tflite_weights(path: Path) -> tuple[int, int]:
    from slimedge.tflite_file import weights_summary

    return weights_summary(path)


def _keras_macs(path: Path) -> macs.Macs:
    from slimedge.keras_file import load_model

    return macs.count(load_model(path, compiled=False))


_WEIGHTS: dict[Format, Callable[[Path], tuple[int, int]]] = {
    Format.KERAS: _keras_weights,
    Format.ONNX: _onnx_weights,
    Format.TFLITE: _tflite_weights,
}
_MACS: dict[Format, Callable[[Path], macs.Macs]] = {
    Format.KERAS: _keras_macs,
    Format.ONNX: file_macs.count_onnx,
    Format.TFLITE: file_macs.count_tflite,
}
