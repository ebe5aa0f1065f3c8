"""Integers in an ONNX file: int32 biases, the types of activations and kernels, integer inputs and outputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from slimedge.export.onnx_graph import MOVES, OnnxGraph
from slimedge.export.onnx_naming import layer_of_scope


def quantize_biases(graph: OnnxGraph) -> None:
    """Write the bias of each integer layer as int32 in units of input scale · kernel scale."""
    producers = graph.producers()
    for node in list(graph.nodes):
        if node.op_type not in {"Conv", "ConvTranspose", "Gemm"} or len(node.input) < 3:
            continue
        kernel, given = producers.get(node.input[1]), _dequantized(producers, node.input[0])
        bias = graph.constants.get(node.input[2])
        if kernel is None or kernel.op_type != "DequantizeLinear" or given is None or bias is None:
            continue
        step = graph.constants[given.input[1]].astype(np.float64) * graph.constants[kernel.input[1]]
        scale = np.asarray(step, np.float32)
        limits = np.iinfo(np.int32)
        integers = np.clip(np.rint(bias / scale.astype(np.float64)), limits.min, limits.max).astype(np.int32)
        name = f"{node.output[0]}_bias"
        inputs = [graph.add_constant(f"{name}_int32", integers), graph.add_constant(f"{name}_scale", scale)]
        inputs.append(graph.add_constant(f"{name}_zero", np.zeros(scale.shape, np.int32)))
        extra: dict[str, Any] = {"axis": 0} if scale.ndim else {}
        graph.insert_before(node, helper.make_node("DequantizeLinear", inputs, [name], name, **extra))
        node.input[2] = name


def _dequantized(producers: Mapping[str, NodeProto], tensor: str) -> NodeProto | None:
    """The DequantizeLinear from which a tensor comes, through ops that only move numbers."""
    node = producers.get(tensor)
    while node is not None and node.op_type in MOVES | {"Pad"}:
        node = producers.get(node.input[0])
    return node if node is not None and node.op_type == "DequantizeLinear" else None


def widen_activations(graph: OnnxGraph, wide: Collection[str], layers: Collection[str]) -> None:
    """Make the activations of some layers int16 around 0, with the scale that they have as integers of 8 bits.

    Args:
        graph: as tf2onnx gives it, with the names of layers in those of its nodes.
        wide: names of `FakeQuant` layers of 16 bits.
        layers: names of all layers.
    """
    zero = graph.add_constant("zero_int16", np.zeros((), np.int16)) if wide else ""
    for node in graph.nodes:
        if (
            node.op_type in {"QuantizeLinear", "DequantizeLinear"}
            and layer_of_scope(node.name, layers) in wide
        ):
            node.input[2] = zero


def signed_activations(graph: OnnxGraph) -> None:
    """Turn uint8 activations into int8 ones: the same grid, every zero point 128 lower."""
    signed: dict[str, str] = {}
    for node in graph.nodes:
        if node.op_type not in {"QuantizeLinear", "DequantizeLinear"} or len(node.input) < 3:
            continue
        zero = graph.constants[node.input[2]]
        if zero.dtype == np.uint8:
            if node.input[2] not in signed:
                shifted = (zero.astype(np.int16) - 128).astype(np.int8)
                signed[node.input[2]] = graph.add_constant(f"{node.input[2]}_signed", shifted)
            node.input[2] = signed[node.input[2]]


def unsigned_kernels(graph: OnnxGraph) -> None:
    """Turn int8 kernels into uint8 ones with zero point 128: the same grid, and no x86 kernel saturates on it."""
    for node in graph.nodes:
        if node.op_type != "DequantizeLinear" or node.input[0] not in graph.constants:
            continue
        values, zero = graph.constants[node.input[0]], graph.constants[node.input[2]]
        if values.dtype == np.int8:
            shifted = (values.astype(np.int16) + 128).astype(np.uint8)
            node.input[0] = graph.add_constant(f"{node.input[0]}_unsigned", shifted)
            node.input[2] = graph.add_constant(
                f"{node.input[2]}_unsigned", np.full(zero.shape, 128, np.uint8)
            )


def integer_io(graph: OnnxGraph) -> None:
    """Take and give integers: remove each QuantizeLinear on an input and DequantizeLinear on an output."""
    consumers = graph.consumers()
    for value in graph.model.graph.input:
        takers = consumers.get(value.name, [])
        if not takers or any(taker.op_type != "QuantizeLinear" for taker in takers):
            continue
        zero = graph.constants[takers[0].input[2]]
        if any(list(taker.input[1:3]) != list(takers[0].input[1:3]) for taker in takers):
            continue
        value.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(zero.dtype)
        graph.remove(takers)
        for taker in takers:
            graph.redirect(taker.output[0], value.name)
    producers, consumers = graph.producers(), graph.consumers()
    for value in graph.model.graph.output:
        node = producers.get(value.name)
        source = None if node is None else producers.get(node.input[0])
        if node is None or node.op_type != "DequantizeLinear" or source is None:
            continue
        value.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(
            graph.constants[node.input[2]].dtype
        )
        inner = node.input[0]
        if value.name in consumers:  # it is used inside as well, as real numbers
            node.output[0] = f"{value.name}/DequantizeLinear:out"
            graph.redirect(value.name, node.output[0])
        else:
            graph.remove([node])
        source.output[0] = value.name
        graph.redirect(inner, value.name)
