"""The formats that a Keras model can be exported to: a new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from slimedge.registry import Registry

if TYPE_CHECKING:
    import keras

    from slimedge.export.trial import Trial

EXPORTERS = Registry(
    "export format",
    {
        "onnx": "slimedge.export.to_onnx:export_onnx",
        "tflite": "slimedge.export.to_tflite:export_tflite",
    },
)


@dataclass(frozen=True, slots=True)
class Settings:
    """How a file is made; a format takes of it what it has.

    Attributes:
        io: `float32`, or `int8` for integer inputs and outputs of a quantized model.
        batch: size of the first axis, where the format fixes it.
        integers: types of activations and kernels, one of `slimedge.integers.INTEGERS`.
        metadata: JSON values to keep in the file.
    """

    io: str
    batch: int
    integers: str
    metadata: Mapping[str, Any]


class Exporter(Protocol):
    """Makes one file; runs in a process of its own."""

    def __call__(self, model: keras.Model, settings: Settings, /) -> tuple[bytes, Trial]:
        """Give the file's content and a way to run it."""
