"""What edits of a TFLite flatbuffer need: its operator codes, and new buffers, tensors and operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def codes_of(model: Any) -> list[int]:
    """Give the kind of each entry of a model's operator codes; small kinds stand in an older field."""
    return [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]


def kind_of(model: Any, operator: Any, schema: Any) -> str:
    """Give the name of an operator's kind, as `BuiltinOperator` has it."""
    code = codes_of(model)[operator.opcodeIndex]
    return next(str(name) for name, value in vars(schema.BuiltinOperator).items() if value == code)


def is_constant(model: Any, tensor: Any) -> bool:
    """Tell whether the file holds a tensor's numbers."""
    return model.buffers[tensor.buffer].data is not None


def grid_of(tensor: Any) -> tuple[float, int]:
    """Give scale and zero point of a tensor that has one of each."""
    return float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])


def opcode_of(model: Any, kind: int, version: int, schema: Any) -> int:
    """Give the index of an operator kind among a model's codes; it is added where it is missing.

    Args:
        model: `ModelT` of a flatbuffer.
        kind: a `BuiltinOperator`.
        version: the least that the operator needs.
        schema: the module of its classes.
    """
    codes = codes_of(model)
    if kind not in codes:
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode = kind, min(kind, 127)
        code.version = version
        model.operatorCodes.append(code)
        return len(codes)
    found = codes.index(kind)
    model.operatorCodes[found].version = max(version, model.operatorCodes[found].version)
    return found


def add_buffer(model: Any, schema: Any, values: NDArray[Any]) -> int:
    """Add the bytes of an array, and give the index of their buffer."""
    buffer = schema.BufferT()
    buffer.data = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def add_tensor(
    schema: Any, graph: Any, name: Any, shape: Sequence[int], kind: str, *, buffer: int = 0
) -> int:
    """Add a tensor of a `TensorType`, and give its index; it is a constant where it has a buffer."""
    tensor = schema.TensorT()
    tensor.name, tensor.shape = name, list(shape)
    tensor.type, tensor.buffer = getattr(schema.TensorType, kind), buffer
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def new_operator(
    model: Any,
    schema: Any,
    kind: str,
    inputs: Sequence[int],
    output: int,
    *,
    version: int = 1,
    **options: Any,
) -> Any:
    """Make an operator of one output, which is put into no graph.

    Args:
        model: `ModelT` of a flatbuffer; the operator's code is added to it.
        schema: the module of its classes.
        kind: name of a `BuiltinOperator` of one word.
        inputs: indices of tensors.
        output: index of a tensor.
        version: the least that the operator needs.
        options: of its kind, as the schema calls them.
    """
    operator = schema.OperatorT()
    operator.opcodeIndex = opcode_of(model, getattr(schema.BuiltinOperator, kind), version, schema)
    operator.inputs, operator.outputs = list(inputs), [output]
    name = f"{kind.title()}Options"
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
    operator.builtinOptions = getattr(schema, f"{name}T")()
    for option, value in options.items():
        setattr(operator.builtinOptions, option, value)
    return operator
