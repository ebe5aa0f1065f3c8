"""Transposed convolutions on integers: ONNX Runtime has no such kernel, so each becomes an ordinary one.

A transposed convolution of stride s is s² ordinary ones, one for each position of an output pixel in its s×s block,
on the same input; their outputs are interleaved (Shi et al., 2016, "Is the deconvolution layer the same as a
convolutional layer?"). The integers, scales and products stay the same, so the numbers do, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from slimedge.export.onnx_graph import OnnxGraph, attribute

END = np.iinfo(np.int64).max


def mend_paddings(graph: OnnxGraph) -> None:
    """Write a negative padding at the end, which tf2onnx gives a kernel smaller than its stride, as output padding."""
    for node in graph.nodes:
        pads = list(attribute(node, "pads", [])) if node.op_type == "ConvTranspose" else []
        starts, ends = pads[: len(pads) // 2], pads[len(pads) // 2 :]
        if any(size < 0 for size in ends) and attribute(node, "output_padding") is None:
            kept = [item for item in node.attribute if item.name != "pads"]
            del node.attribute[:]
            node.attribute.extend(kept)
            node.attribute.append(helper.make_attribute("pads", [*starts, *(max(size, 0) for size in ends)]))
            node.attribute.append(helper.make_attribute("output_padding", [max(-size, 0) for size in ends]))


def as_convolutions(graph: OnnxGraph) -> None:
    """Turn each integer ConvTranspose of equal strides into Conv, DepthToSpace and Slice.

    Args:
        graph: changed in place; kernels and biases are integers with a DequantizeLinear.
    """
    for node in [node for node in graph.nodes if node.op_type == "ConvTranspose"]:
        stride = _stride(node)
        kernel = graph.producer(node.input[1])
        if stride is None or kernel is None or kernel.op_type != "DequantizeLinear":
            continue
        takers = graph.consumers().get(node.output[0], [])
        if any(taker.op_type == "QuantizeLinear" and not graph.rounds_to_bytes(taker) for taker in takers):
            continue
        if kernel.input[0] in graph.constants and graph.constants[kernel.input[0]].ndim == 4:
            _turn(graph, node, kernel, stride)
    graph.remove_unused()


def _stride(node: NodeProto) -> int | None:
    """The stride of a plain ConvTranspose with known paddings, None for any other."""
    strides, plain = attribute(node, "strides", [1, 1]), attribute(node, "group", 1) == 1
    known = attribute(node, "pads") is not None and not attribute(node, "output_shape")
    dilated = any(size != 1 for size in attribute(node, "dilations", [1, 1]))
    return int(strides[0]) if plain and known and not dilated and len(set(strides)) == 1 else None


def phase_kernel(kernel: NDArray[np.generic], stride: int) -> NDArray[np.generic]:
    """Give the kernel of the ordinary convolution.

    Args:
        kernel: of the transposed one, (inputs, outputs, height, width).
        stride: in both directions.

    Returns:
        (outputs · stride², inputs, ceil(height / stride), ceil(width / stride)); a block's positions lie together.
    """
    inputs, outputs, height, width = kernel.shape
    rows, columns = -(-height // stride), -(-width // stride)
    whole = np.zeros((inputs, outputs, rows * stride, columns * stride), kernel.dtype)
    whole[:, :, :height, :width] = kernel
    taps = whole.reshape(inputs, outputs, rows, stride, columns, stride)[:, :, ::-1, :, ::-1, :]
    return taps.transpose(1, 3, 5, 0, 2, 4).reshape(outputs * stride**2, inputs, rows, columns)


def _turn(graph: OnnxGraph, node: NodeProto, kernel: NodeProto, stride: int) -> None:
    values = graph.constants[kernel.input[0]]
    sizes, pads, more = values.shape[2:], attribute(node, "pads"), attribute(node, "output_padding", [0, 0])
    taps = [-(-size // stride) for size in sizes]
    before = [taps[axis] - 1 - pads[axis] // stride for axis in (0, 1)]
    surplus = [stride * taps[axis] - sizes[axis] + pads[2 + axis] - more[axis] for axis in (0, 1)]
    after = [taps[axis] - 1 - surplus[axis] // stride for axis in (0, 1)]
    starts = [pads[axis] % stride for axis in (0, 1)]
    ends = [-(surplus[axis] % stride) or END for axis in (0, 1)]

    name = node.output[0]
    repeats = stride**2
    parts = [
        phase_kernel(values, stride),
        *(_repeated(graph, kernel.input[1 + part], repeats) for part in (0, 1)),
    ]
    inputs = [graph.add_constant(f"{name}_{part}", array) for part, array in zip("wsz", parts, strict=True)]
    axis: dict[str, Any] = {"axis": 0} if parts[1].ndim else {}
    graph.insert_before(
        node, helper.make_node("DequantizeLinear", inputs, [f"{name}_kernel"], kernel.name, **axis)
    )
    node.input[1] = f"{name}_kernel"
    if len(node.input) > 2 and node.input[2]:
        node.input[2] = _repeated_bias(graph, node, node.input[2], repeats)
    node.op_type = "Conv"
    del node.attribute[:]
    node.attribute.extend(
        [
            helper.make_attribute("kernel_shape", taps),
            helper.make_attribute("pads", [*before, *after]),
            helper.make_attribute("strides", [1, 1]),
        ]
    )
    _interleave(graph, node, stride, starts, ends)


def _repeated(graph: OnnxGraph, name: str, count: int) -> NDArray[np.generic]:
    array = graph.constants[name]
    return np.repeat(array, count) if array.ndim else array


def _repeated_bias(graph: OnnxGraph, node: NodeProto, bias: str, count: int) -> str:
    if bias in graph.constants:
        return graph.add_constant(f"{bias}_repeated", np.repeat(graph.constants[bias], count))
    maker = graph.producer(bias)
    if maker is None:
        raise ValueError(f"nothing makes the bias {bias}")
    inputs = [graph.add_constant(f"{part}_repeated", _repeated(graph, part, count)) for part in maker.input]
    new = helper.make_node("DequantizeLinear", inputs, [f"{bias}_repeated"], maker.name)
    new.attribute.extend(maker.attribute)
    graph.insert_before(node, new)
    return f"{bias}_repeated"


def _interleave(graph: OnnxGraph, node: NodeProto, stride: int, starts: list[int], ends: list[int]) -> None:
    """Put blocks together and cut the padding off; behind a QuantizeLinear, so that it is done to bytes."""
    takers = graph.consumers().get(node.output[0], [])
    last = takers[0] if len(takers) == 1 and takers[0].op_type == "QuantizeLinear" else node
    final = last.output[0]
    new: list[tuple[str, list[str], dict[str, Any]]] = []
    if stride > 1:
        new.append(("DepthToSpace", [], {"blocksize": stride, "mode": "CRD"}))
    if any(starts) or any(end != END for end in ends):
        bounds = [np.array(values, np.int64) for values in (starts, ends, [2, 3])]
        new.append(("Slice", [graph.add_constant(f"{final}_bounds", array) for array in bounds], {}))
    if not new:
        return
    last.output[0] = source = f"{final}_blocks"
    place = next(index for index, other in enumerate(graph.nodes) if other is last) + 1
    for number, (kind, more, attributes) in enumerate(new):
        target = final if number == len(new) - 1 else f"{final}_whole"
        made = helper.make_node(kind, [source, *more], [target], f"{node.name}/{kind}", **attributes)
        graph.nodes.insert(place + number, made)
        source = target
