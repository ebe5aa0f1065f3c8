"""Weight-only and dynamic int8 in an ONNX file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from slimedge.errors import ConversionError
from slimedge.export.onnx_graph import OnnxGraph, attribute
from slimedge.export.weight_grid import Grid, grid_of

# Ops that ONNX Runtime computes on integers with activations rounded as they come. Convolutions are not among them:
# its ConvInteger is several times slower than float.
DYNAMIC_OPS = ("MatMul", "LSTM", "Attention")


def store_integers(graph: OnnxGraph) -> None:
    """Keep each constant that lies on an int8 grid as int8, with a Cast and a Mul by its scales behind it.

    ONNX Runtime folds these two when it loads the file, and computes with the same floats as before. It would not
    fold a DequantizeLinear: that it carries out at each run, or it turns a MatMul into one that rounds activations as
    well. Where a table is looked up by rows, the rows are cast, so the table stays int8 in memory, too.

    Args:
        graph: changed in place.
    """
    consumers = graph.consumers()
    nodes: list[NodeProto] = []
    for name in list(graph.constants):
        takers = consumers.get(name, [])
        found = grid_of(graph.constants[name]) if takers else None
        if found is None:
            continue
        del graph.constants[name]
        values = graph.add_constant(f"{name}_int8", found.values)
        looked_up = [node for node in takers if _looks_up_rows(node, name, found)]
        for node in looked_up:
            rows, made = f"{node.output[0]}_int8", node.output[0]
            node.input[0], node.output[0] = values, rows
            place = next(index for index, other in enumerate(graph.nodes) if other is node) + 1
            graph.nodes[place:place] = _scaled(graph, rows, made, found.scale)
        if len(looked_up) < len(takers):
            shape = [-1 if axis == found.axis else 1 for axis in range(found.values.ndim)]
            nodes += _scaled(graph, values, name, found.scale.reshape(shape))
    graph.nodes[:0] = nodes


def _looks_up_rows(node: NodeProto, name: str, found: Grid) -> bool:
    return (
        node.op_type == "Gather"
        and node.input[0] == name
        and name not in node.input[1:]
        and attribute(node, "axis", 0) == 0
        and found.axis == found.values.ndim - 1
    )


def _scaled(graph: OnnxGraph, source: str, target: str, scale: NDArray[np.float32]) -> list[NodeProto]:
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
