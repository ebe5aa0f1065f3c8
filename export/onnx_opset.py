"""From the operator set that tf2onnx writes to the first one with 4-bit integers."""

from __future__ import annotations

from onnx import ModelProto

INT4_OPSET = 21
# The first version of the file format with 4-bit tensors.
INT4_IR_VERSION = 10


def with_int4(proto: ModelProto) -> ModelProto:
    """Give a model in the first operator set with INT4, or as it is where ONNX's converter does not manage it.

    Operators that changed their form since (axes of ReduceMean as an input, the outputs of Split as a number) change
    theirs. The weights are no part of it yet, so nothing large is copied.

    Args:
        proto: without its large constants.
    """
    import onnx
    from onnx import version_converter

    try:
        raised = version_converter.convert_version(proto, INT4_OPSET)
        raised.ir_version = max(raised.ir_version, INT4_IR_VERSION)
        onnx.checker.check_model(raised, full_check=True)
    except Exception:  # noqa: BLE001 - it raises whatever its adapters and the checker raise
        return proto
    return raised


def has_int4(proto: ModelProto) -> bool:
    """Tell whether a model's operator set has 4-bit integers."""
    return any(not entry.domain and entry.version >= INT4_OPSET for entry in proto.opset_import)
