"""An ONNX file that computes in float16, for GPUs: inputs and outputs stay float32."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from onnx import ModelProto, NodeProto

from slimedge.errors import ConversionError
from slimedge.export.onnx_graph import captured


def compute_in_halves(proto: ModelProto) -> ModelProto:
    """Let every operator that can compute in float16, with a Cast behind each input and before each output.

    Numbers beyond 65504 become that, as in a mask of -1e9; the check of the finished file tells where it matters.

    Args:
        proto: a float model.

    Returns:
        Another model; operators without a form in float16 stay in float32 between two Casts.

    Raises:
        ConversionError: ONNX Runtime's converter fails.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    logging.getLogger("onnxruntime.transformers.float16").setLevel(logging.ERROR)
    try:
        halved: ModelProto = convert_float_to_float16(proto, keep_io_types=True)
    except Exception as error:  # it raises whatever its shape inference raises
        reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise ConversionError(
            f"ONNX Runtime's converter to float16 could not convert the model: {reason}; export it in float32."
        ) from error
    graph = halved.graph
    given = [value.name for value in (*graph.input, *graph.initializer)]
    nodes = in_order(graph.node, given)
    del graph.node[:]
    graph.node.extend(nodes)
    return halved


def in_order(nodes: Iterable[NodeProto], given: Iterable[str]) -> list[NodeProto]:
    """Sort nodes so that each comes after those whose results it takes, and else as they were.

    Args:
        nodes: of a graph; the converter appends its Casts at the end.
        given: tensors that no node makes.

    Raises:
        ConversionError: they go in a circle, or take a tensor that there is not.
    """
    made, waiting, found = {"", *given}, list(nodes), list[NodeProto]()
    while waiting:
        later = []
        for node in waiting:
            if made.issuperset((*node.input, *captured(node))):
                found.append(node)
                made.update(node.output)
            else:
                later.append(node)
        if len(later) == len(waiting):
            raise ConversionError(
                f"node {later[0].name} takes a tensor that no node before it makes; export in float32."
            )
        waiting = later
    return found
