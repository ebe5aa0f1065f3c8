"""Rows of a table in blocks, looked up in a TFLite graph without putting the whole table together at each run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from slimedge.export.tflite_edit import add_buffer, add_tensor, codes_of, new_operator


def looks_up_rows(model: Any, schema: Any, graph: Any, operator: Any, table: int) -> bool:
    """Tell whether an operator takes rows of a table, at ids whose number is known."""
    if codes_of(model)[operator.opcodeIndex] != schema.BuiltinOperator.GATHER:
        return False
    ids, made = graph.tensors[int(operator.inputs[1])], graph.tensors[int(operator.outputs[0])]
    return (
        [int(index) for index in operator.inputs].index(table) == 0
        and operator.builtinOptions.axis == 0
        and not operator.builtinOptions.batchDims
        and all(tensor.shapeSignature is None or min(tensor.shapeSignature) >= 0 for tensor in (ids, made))
        and ids.type in {schema.TensorType.INT32, schema.TensorType.INT64}
    )


def look_up_blocks(
    model: Any, schema: Any, graph: Any, operator: Any, blocks: int, shape: Sequence[int]
) -> list[Any]:
    """Give operators that look up all blocks of each row: row i of k blocks is the blocks i·k to i·k + k - 1.

    Args:
        model: `ModelT` of a flatbuffer.
        schema: the module of its classes.
        graph: that the operator is in; tensors are added.
        operator: a Gather of rows.
        blocks: tensor with a block in each row.
        shape: of the table, rows and features.
    """
    ids, made = int(operator.inputs[1]), graph.tensors[int(operator.outputs[0])]
    kind = "INT32" if graph.tensors[ids].type == schema.TensorType.INT32 else "INT64"
    size = int(graph.tensors[blocks].shape[1])
    each = shape[1] // size
    count = int(np.prod(graph.tensors[ids].shape))

    def constant(numbers: Any, dtype: str) -> int:
        array = np.array(numbers, dtype.lower())
        return add_tensor(
            schema, graph, made.name, array.shape, dtype, buffer=add_buffer(model, schema, array)
        )

    def tensor(sizes: Sequence[int], dtype: str) -> int:
        return add_tensor(schema, graph, made.name, sizes, dtype)

    column, first, places = (tensor((count, width), kind) for width in (1, 1, each))
    rows = tensor((count, each, size), "FLOAT32")
    whole = [int(length) for length in made.shape]
    offsets = constant([list(range(each))], kind)
    return [
        new_operator(
            model, schema, "RESHAPE", [ids, constant([count, 1], "INT32")], column, newShape=[count, 1]
        ),
        new_operator(model, schema, "MUL", [column, constant([[each]], kind)], first),
        new_operator(model, schema, "ADD", [first, offsets], places),
        new_operator(model, schema, "GATHER", [blocks, places], rows, axis=0),
        new_operator(
            model,
            schema,
            "RESHAPE",
            [rows, constant(whole, "INT32")],
            int(operator.outputs[0]),
            newShape=whole,
        ),
    ]
