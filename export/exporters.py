"""The formats that a Keras model can be exported to: a new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from slimedge.errors import InputError
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

# Schemes that round weights only in Keras; the rest is done to the converted file.
WEIGHT_ONLY = "weight_only_wi8_afp32"
DYNAMIC = "dynamic_wi8_afp32"


@dataclass(frozen=True, slots=True)
class Settings:
    """How a file is made; a format takes of it what it has.

    Attributes:
        io: `float32`, or `int8` for integer inputs and outputs of a statically quantized model.
        batch: size of the first axis, where the format fixes it.
        integers: types of activations and kernels, one of `slimedge.integers.INTEGERS`.
        metadata: JSON values to keep in the file.
        scheme: how the model was quantized, None where it is float.
    """

    io: str
    batch: int
    integers: str
    metadata: Mapping[str, Any]
    scheme: str | None = None


def check_io(model: keras.Model, io: str) -> None:
    """Refuse integer inputs and outputs of a model that computes in float.

    Raises:
        InputError: naming what it is.
    """
    from slimedge.export.tracing import quantized_layers

    if io == "int8" and not quantized_layers(model):
        raise InputError(
            f"model '{model.name}' computes in float, so it has no int8 inputs; quantize it with the scheme "
            "static_wi8_ai8 first, or use float32."
        )


class Exporter(Protocol):
    """Makes one file; runs in a process of its own."""

    def __call__(self, model: keras.Model, settings: Settings, /) -> tuple[bytes, Trial]:
        """Give the file's content and a way to run it."""
