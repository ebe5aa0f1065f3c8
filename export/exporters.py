"""The formats that a Keras model can be exported to: a new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from slimedge.errors import InputError
from slimedge.registry import Registry
from slimedge.weight_rounding import HALF, NARROW_BITS

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

# Other forms of a TFLite file: a function of its path, and of the `folder` and `name` for what is written.
PACKAGINGS = Registry("export format", {"c-array": "slimedge.export.c_array:write_c_array"})

# Types of inputs and outputs, and the bits of the activations that have them.
IO_TYPES = {"float32": None, "int8": 8, "int16": 16}

# What an ONNX file computes in where it computes in floats.
FLOATS = ("float32", "float16")

# Of it only the weights are rounded in Keras; the rest is done to the converted file.
DYNAMIC = "dynamic_wi8_afp32"


@dataclass(frozen=True, slots=True)
class Settings:
    """How a file is made; a format takes of it what it has.

    Attributes:
        io: `float32`, or `int8` or `int16` for integer inputs and outputs of a statically quantized model.
        batch: size of the first axis, where the format fixes it.
        integers: types of activations and kernels, one of `slimedge.integers.INTEGERS`.
        metadata: JSON values to keep in the file.
        scheme: how the model was quantized, None where it is float.
        block_size: how many weights share a scale; None for a scale for each channel.
        dense: whether zeros are stored as every other weight, where the format can leave them out.
        compute: what a float model computes in, one of `FLOATS`, where the format says that and not the runtime.
    """

    io: str
    batch: int
    integers: str
    metadata: Mapping[str, Any]
    scheme: str | None = None
    block_size: int | None = None
    dense: bool = False
    compute: str = "float32"


def check_format(name: str) -> None:
    """Refuse a format that a model cannot be exported to.

    Raises:
        InputError: naming those that there are.
    """
    Registry("export format", dict.fromkeys((*EXPORTERS, *PACKAGINGS), "")).check(name)


def check_io(model: keras.Model, io: str) -> None:
    """Refuse integer inputs and outputs of a model that has none of that width.

    Raises:
        InputError: naming what it is.
    """
    from slimedge.export.tracing import quantized_layers

    bits = IO_TYPES[io]
    if bits is None:
        return
    if not quantized_layers(model):
        scheme = "static_wi8_ai8" if io == "int8" else "static_wi8_ai16"
        raise InputError(
            f"model '{model.name}' computes in float, so it has no {io} inputs; quantize it with the scheme {scheme} "
            "first, or use float32."
        )
    wide = {
        layer.bits > NARROW_BITS for layer in model._flatten_layers() if type(layer).__name__ == "FakeQuant"
    }
    if wide and (bits > NARROW_BITS) not in wide:
        held, other = (16, "int16") if io == "int8" else (8, "int8")
        raise InputError(
            f"the activations of model '{model.name}' have {held} bits, so it has no {io} inputs; use {other} or "
            "float32."
        )


def check_compute(model: keras.Model, compute: str, scheme: str | None) -> None:
    """Refuse floats of 16 bits in a model that computes on integers.

    Raises:
        InputError: naming its scheme.
    """
    from slimedge.export.tracing import quantized_layers

    if compute != "float32" and (scheme not in {None, HALF} or quantized_layers(model)):
        raise InputError(
            f"model '{model.name}' was quantized to integers ({scheme or 'fake-quants'}) and cannot compute in "
            f"{compute}; export the float model, or one that was quantized with the scheme fp16."
        )


def with_storage(metadata: Mapping[str, Any], stored: Mapping[str, int]) -> dict[str, Any]:
    """Note in the lineage's last step how many weights a file holds in which type.

    Args:
        metadata: of the file.
        stored: element type to number of weights.
    """
    lineage = [dict(step) for step in metadata.get("lineage", [])]
    if lineage:
        lineage[-1]["settings"] = {**lineage[-1]["settings"], "weight_storage": dict(stored)}
    return {**metadata, "lineage": lineage}


class Exporter(Protocol):
    """Makes one file; runs in a process of its own."""

    def __call__(self, model: keras.Model, settings: Settings, /) -> tuple[bytes, Trial]:
        """Give the file's content and a way to run it."""
