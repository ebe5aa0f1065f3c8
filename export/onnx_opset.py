"""From the operator set that tf2onnx writes to the first one that quantizes to 4 and 16 bits."""

from __future__ import annotations

from onnx import ModelProto

ALL_WIDTHS_OPSET = 21
# The first version of the file format with 4-bit tensors.
ALL_WIDTHS_IR_VERSION = 10


def with_all_widths(proto: ModelProto) -> ModelProto:
    """Give a model in the first operator set whose QuantizeLinear knows 4 and 16 bits.

    It stays as it is where ONNX's converter does not manage it.

    Operators that changed their form since (axes of ReduceMean as an input, the outputs of Split as a number) change
    theirs. The weights are no part of it yet, so nothing large is copied.

    Args:
        proto: without its large constants.
    """
    import onnx
    from onnx import version_converter

    try:
        raised = version_converter.convert_version(proto, ALL_WIDTHS_OPSET)
        raised.ir_version = max(raised.ir_version, ALL_WIDTHS_IR_VERSION)
        onnx.checker.check_model(raised, full_check=True)
    except Exception:  # noqa: BLE001 - it raises whatever its adapters and the checker raise
        return proto
    return raised


def has_all_widths(proto: ModelProto) -> bool:
    """Tell whether a model's operator set quantizes to 4 and 16 bits."""
    return any(not entry.domain and entry.version >= ALL_WIDTHS_OPSET for entry in proto.opset_import)
