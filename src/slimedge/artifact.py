"""A model on disk: what it is, what it takes and gives, and how it came to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Format(StrEnum):
    """The file formats that slimedge reads, and one that it only writes; the value is the file's ending."""

    KERAS = "keras"
    ONNX = "onnx"
    TFLITE = "tflite"
    C_ARRAY = "cc"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model.

    Attributes:
        name: the Keras name, the same in every format.
        shape: sizes, batch first; None where any size goes.
        dtype: numpy's name of the element type in the file (`float32`, `int8`, …).
        scale: quantization scale, None for a tensor that is not quantized.
        zero_point: quantization zero point, None for a tensor that is not quantized.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done to a model: `Step("quantize", {"scheme": "static_wi8_ai8"})`."""

    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model file, identified by its content: two are equal when their bytes are, wherever they lie.

    Attributes:
        path: where it lies.
        format: what it is.
        sha256: of the file (of an ONNX file's external weights as well), in hexadecimal.
        inputs: in Keras order.
        outputs: in Keras order.
        lineage: the steps that led here, oldest first; empty when the file does not say.
    """

    path: Path = field(compare=False)
    format: Format = field(compare=False)
    sha256: str
    inputs: tuple[TensorSpec, ...] = field(compare=False)
    outputs: tuple[TensorSpec, ...] = field(compare=False)
    lineage: tuple[Step, ...] = field(default=(), compare=False)
