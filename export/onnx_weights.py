"""Weight-only and dynamic schemes in an ONNX file."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from slimedge.errors import ConversionError
from slimedge.export.onnx_graph import OnnxGraph, attribute
from slimedge.export.onnx_opset import has_all_widths
from slimedge.export.weight_grid import Grid, Rounding, is_weight
from slimedge.weight_rounding import in_blocks

# Ops that ONNX Runtime computes on integers with activations rounded as they come. Convolutions are not among them:
# its ConvInteger is several times slower than float.
DYNAMIC_OPS = ("MatMul", "LSTM", "Attention")
# ONNX Runtime's Gather takes no 4-bit table.
GATHERED = (np.dtype(np.int8), np.dtype(np.float16))


def store_weights(graph: OnnxGraph, rounding: Rounding) -> dict[str, int]:
    """Keep each constant that was rounded in fewer bits, with a Cast behind it, and a Mul by its scales.

    ONNX Runtime folds these two when it loads the file, and computes with the same floats as before. It would not
    fold a DequantizeLinear: that it carries out at each run, or it turns a MatMul into one that rounds activations as
    well. Where a table is looked up by rows, the rows are cast, so the table stays small in memory, too.

    Args:
        graph: changed in place.
        rounding: of its weights; 4-bit ones are kept in 8 bits where its operator set has no 4-bit type.

    Returns:
        Element type to the number of weights that the file holds in it.
    """
    consumers = graph.consumers()
    nodes: list[NodeProto] = []
    stored: Counter[str] = Counter()
    for name in list(graph.constants):
        takers, array = consumers.get(name, []), graph.constants[name]
        found = rounding.form_of(array) if takers else None
        if found is None:
            stored["float32"] += array.size if takers and is_weight(array) else 0
            continue
        values = _values(found, int4=rounding.bits == 4 and has_all_widths(graph.model))
        stored[values.dtype.name] += values.size
        del graph.constants[name]
        small = graph.add_constant(f"{name}_{values.dtype.name}", values)
        looked_up = [node for node in takers if _looks_up_rows(node, name, found, values)]
        for node in looked_up:
            rows, made = f"{node.output[0]}_{values.dtype.name}", node.output[0]
            node.input[0], node.output[0] = small, rows
            place = next(index for index, other in enumerate(graph.nodes) if other is node) + 1
            scale = found.scale if isinstance(found, Grid) else None
            graph.nodes[place:place] = _floats(graph, rows, made, scale)
        if len(looked_up) < len(takers):
            nodes += _whole(graph, small, name, found)
    graph.nodes[:0] = nodes
    return {kind: count for kind, count in stored.items() if count}


def _values(found: Grid | NDArray[np.float16], *, int4: bool) -> NDArray[Any]:
    if not isinstance(found, Grid):
        return found
    values = found.values if found.block is None else in_blocks(found.values, found.axis, found.block)
    return values.astype(helper.tensor_dtype_to_np_dtype(TensorProto.INT4)) if int4 else values


def _looks_up_rows(
    node: NodeProto, name: str, found: Grid | NDArray[np.float16], values: NDArray[Any]
) -> bool:
    return (
        node.op_type == "Gather"
        and node.input[0] == name
        and name not in node.input[1:]
        and attribute(node, "axis", 0) == 0
        and values.dtype in GATHERED
        and not (isinstance(found, Grid) and (found.block or found.axis != found.values.ndim - 1))
    )


def _whole(graph: OnnxGraph, small: str, name: str, found: Grid | NDArray[np.float16]) -> list[NodeProto]:
    """Nodes that make a constant of its small form."""
    if not isinstance(found, Grid):
        return _floats(graph, small, name, None)
    if found.block is None:
        shape = [-1 if axis == found.axis else 1 for axis in range(found.values.ndim)]
        return _floats(graph, small, name, found.scale.reshape(shape))
    split = f"{name}_blocks"
    whole = graph.add_constant(f"{name}_shape", np.array(found.values.shape, np.int64))
    return [
        *_floats(graph, small, split, np.expand_dims(found.scale, found.axis + 1)),
        helper.make_node("Reshape", [split, whole], [name], f"{name}_reshape"),
    ]


def _floats(graph: OnnxGraph, source: str, target: str, scale: NDArray[np.float32] | None) -> list[NodeProto]:
    if scale is None:
        return [helper.make_node("Cast", [source], [target], f"{target}_cast", to=TensorProto.FLOAT)]
    step = graph.add_constant(f"{target}_scale", scale)
    whole = f"{target}_float"
    return [
        helper.make_node("Cast", [source], [whole], f"{target}_cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", [whole, step], [target], f"{target}_mul"),
    ]


def round_dynamically(proto: ModelProto, *, integers: str) -> ModelProto:
    """Let ONNX Runtime's `quantize_dynamic` turn the products with weights into integer ones.

    Args:
        proto: a float model.
        integers: `u8u8` gives uint8 kernels, which saturate on no CPU; any other int8 ones.

    Raises:
        ConversionError: ONNX Runtime cannot quantize the model.
    """
    import logging

    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().setLevel(logging.ERROR)  # it advises on the root logger to do what tf2onnx has done
    with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
        path = Path(folder) / "model.onnx"
        try:
            quantize_dynamic(
                proto,
                path,
                op_types_to_quantize=list(DYNAMIC_OPS),
                per_channel=True,
                weight_type=QuantType.QUInt8 if integers == "u8u8" else QuantType.QInt8,
            )
        except Exception as error:  # it raises whatever its operators raise
            reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
            raise ConversionError(
                f"ONNX Runtime's quantize_dynamic could not quantize the model: {reason}; use the scheme "
                "weight_only_wi8_afp32."
            ) from error
        return onnx.load(path)
