"""What every edit of a TFLite flatbuffer needs: its operator codes."""

from __future__ import annotations

from typing import Any


def codes_of(model: Any) -> list[int]:
    """Give the kind of each entry of a model's operator codes; small kinds stand in an older field."""
    return [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]


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
