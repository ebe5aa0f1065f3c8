"""Keep each kernel's own scale through the TFLite converter.

The converter takes a channel's scale from its largest weight, max|w| / 127. A kernel of 4 bits, one that was rounded
by an optimization or one whose scale was trained does not end at 127, so the converter is given a stand-in: the same
integers, but one weight of each such channel at 127. It then finds the scale exactly, and that one weight is put back
in the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.errors import ConversionError
from slimedge.export.tflite_edit import add_buffer
from slimedge.export.tracing import Weight

LARGEST = 127
# The converter divides and multiplies in float32.
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class StandIn:
    """A kernel with one weight of some channels moved to 127.

    Attributes:
        layer: path of the weight, for messages.
        value: float32, the kernel's shape: what the converter is given.
        scale: float32, shape (channels,).
        hidden: int8, shape (channels,): the integers that were moved; 127 where none was.
        sums: int64, shape (channels,): of the absolute integers given, by which a kernel is known again.
    """

    layer: str
    value: NDArray[np.float32]
    scale: NDArray[np.float32]
    hidden: NDArray[np.int8]
    sums: NDArray[np.int64]

    def is_same(self, other: StandIn) -> bool:
        """Whether two layers have the same kernel."""
        return (
            np.array_equal(self.value, other.value)
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.hidden, other.hidden)
        )


def stand_in(weight: Weight) -> StandIn | None:
    """Give what the converter is fed in place of a quantized weight; None where it finds the scales by itself.

    Example:
        >>> kernel = np.int8([[7, 127], [-3, 2]])
        >>> made = stand_in(Weight("dense/kernel", kernel, np.float32([[0.5, 1.0]])))
        >>> made.value.tolist(), made.hidden.tolist()
        ([[63.5, 127.0], [-1.5, 2.0]], [7, 127])
    """
    if weight.scale is None:
        return None
    lines = _by_channel(weight.value, weight.scale)
    places = np.argmax(np.abs(lines.astype(np.int16)), axis=1)
    channels = np.arange(len(lines))
    largest = np.abs(lines[channels, places].astype(np.int16))
    if np.all(largest == LARGEST):
        return None
    moved = lines.copy()
    hidden = np.where(largest == LARGEST, np.int8(LARGEST), lines[channels, places]).astype(np.int8)
    moved[channels, places] = np.where(largest == LARGEST, lines[channels, places], np.int8(LARGEST))
    order, shape = _channels_first(weight.scale), weight.value.shape
    whole = np.transpose(moved.reshape([shape[axis] for axis in order]), np.argsort(order))
    return StandIn(
        weight.layer,
        whole.astype(np.float32) * weight.scale,
        np.broadcast_to(weight.scale.reshape(-1), (len(lines),)).astype(np.float32),
        hidden,
        np.abs(moved.astype(np.int64)).sum(axis=1),
    )


def put_back(model: Any, stand_ins: Sequence[StandIn], schema: Any) -> None:
    """Put the weights that were moved back into a converted file.

    Args:
        model: `ModelT` of a flatbuffer, changed in place.
        stand_ins: all that the converter was fed.
        schema: the module of its classes.

    Raises:
        ConversionError: a kernel is not found in the file.
    """
    lost = list(stand_ins)
    types = schema.TensorType
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    for kind, dtype in (
        (types.INT8, np.int8),
        (types.FLOAT32, np.float32),
    ):  # float where there is no integer op
        for tensor in tensors if lost else ():
            data = model.buffers[tensor.buffer].data
            if tensor.type != kind or data is None:
                continue
            array = np.frombuffer(bytes(bytearray(data)), dtype).reshape(tensor.shape)
            # A layer that is called twice may have become two tensors.
            for one in (*lost, *(one for one in stand_ins if one not in lost)):
                whole = _completed(array, tensor.quantization, one)
                if whole is not None:
                    # Of its own: kernels of other layers may have had the same bytes.
                    tensor.buffer = add_buffer(model, schema, whole)
                    # The converter makes one tensor of equal kernels, too.
                    lost = [other for other in lost if not one.is_same(other)]
                    break
    _drop_unused(model, tensors)
    if lost:
        raise ConversionError(
            f"the TFLite converter did not keep the kernel {lost[0].layer} as one tensor, so its scales would change; "
            "export to ONNX, or leave that layer float with --exclude."
        )


def _drop_unused(model: Any, tensors: Sequence[Any]) -> None:
    """Empty the buffers that no tensor has any more."""
    used = {tensor.buffer for tensor in tensors} | {entry.buffer for entry in model.metadata or []}
    for index, buffer in enumerate(model.buffers):
        if index not in used:
            buffer.data = None


def _completed(array: NDArray[Any], quantization: Any, one: StandIn) -> NDArray[Any] | None:
    """A file's constant with the moved weights in their place; None where it is another kernel."""
    known = array.dtype == np.int8
    if known and (quantization is None or quantization.scale is None):
        return None
    axes = [quantization.quantizedDimension] if known else range(array.ndim)
    for axis in axes:
        if array.ndim < 2 or array.shape[axis] != one.scale.size:
            continue
        lines = np.moveaxis(array, axis, 0).reshape(one.scale.size, -1)
        scale = np.asarray(quantization.scale) if known else np.abs(lines).max(axis=1) / LARGEST
        if scale.size != one.scale.size or not np.allclose(scale, one.scale, rtol=TOLERANCE, atol=0):
            continue
        levels = lines if known else np.rint(lines / one.scale[:, None])
        sizes = np.abs(levels.astype(np.int64))
        if not np.array_equal(sizes.sum(axis=1), one.sums):
            continue
        channels = np.flatnonzero(one.hidden != LARGEST)
        filled = lines.copy()
        moved = one.hidden[channels].astype(array.dtype)
        filled[channels, np.argmax(sizes[channels], axis=1)] = moved if known else moved * one.scale[channels]
        front = filled.reshape([one.scale.size, *np.delete(array.shape, axis)])
        return np.ascontiguousarray(np.moveaxis(front, 0, axis))
    return None


def _channels_first(scale: NDArray[np.float32]) -> list[int]:
    """Order of axes that brings those with a scale of their own to the front."""
    kept = [axis for axis, size in enumerate(scale.shape) if size > 1]
    return [*kept, *(axis for axis in range(scale.ndim) if axis not in kept)]


def _by_channel(value: NDArray[np.int8], scale: NDArray[np.float32]) -> NDArray[np.int8]:
    return np.transpose(value, _channels_first(scale)).reshape(scale.size, -1)
