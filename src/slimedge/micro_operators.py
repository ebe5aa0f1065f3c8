"""The operators that TFLite Micro has, by the methods that add them to its resolver, and which of a file's it lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from slimedge.errors import InputError
from slimedge.tflite_model import Opcode, opened

# BuiltinOperator of TensorFlow's schema.fbs to the method of MicroMutableOpResolver in TFLite Micro's
# micro_mutable_op_resolver.h (2026); the wheel registers all of them.
METHODS: Mapping[str, str] = {
    "ABS": "AddAbs",
    "ADD": "AddAdd",
    "ADD_N": "AddAddN",
    "ARG_MAX": "AddArgMax",
    "ARG_MIN": "AddArgMin",
    "ASSIGN_VARIABLE": "AddAssignVariable",
    "AVERAGE_POOL_2D": "AddAveragePool2D",
    "BATCH_MATMUL": "AddBatchMatMul",
    "BATCH_TO_SPACE_ND": "AddBatchToSpaceNd",
    "BROADCAST_ARGS": "AddBroadcastArgs",
    "BROADCAST_TO": "AddBroadcastTo",
    "CALL_ONCE": "AddCallOnce",
    "CAST": "AddCast",
    "CEIL": "AddCeil",
    "CONCATENATION": "AddConcatenation",
    "CONV_2D": "AddConv2D",
    "COS": "AddCos",
    "CUMSUM": "AddCumSum",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "DEPTH_TO_SPACE": "AddDepthToSpace",
    "DEQUANTIZE": "AddDequantize",
    "DIV": "AddDiv",
    "DYNAMIC_UPDATE_SLICE": "AddDynamicUpdateSlice",
    "ELU": "AddElu",
    "EMBEDDING_LOOKUP": "AddEmbeddingLookup",
    "EQUAL": "AddEqual",
    "EXP": "AddExp",
    "EXPAND_DIMS": "AddExpandDims",
    "FILL": "AddFill",
    "FLOOR": "AddFloor",
    "FLOOR_DIV": "AddFloorDiv",
    "FLOOR_MOD": "AddFloorMod",
    "FULLY_CONNECTED": "AddFullyConnected",
    "GATHER": "AddGather",
    "GATHER_ND": "AddGatherNd",
    "GREATER": "AddGreater",
    "GREATER_EQUAL": "AddGreaterEqual",
    "HARD_SWISH": "AddHardSwish",
    "IF": "AddIf",
    "L2_NORMALIZATION": "AddL2Normalization",
    "L2_POOL_2D": "AddL2Pool2D",
    "LEAKY_RELU": "AddLeakyRelu",
    "LESS": "AddLess",
    "LESS_EQUAL": "AddLessEqual",
    "LOG": "AddLog",
    "LOGICAL_AND": "AddLogicalAnd",
    "LOGICAL_NOT": "AddLogicalNot",
    "LOGICAL_OR": "AddLogicalOr",
    "LOGISTIC": "AddLogistic",
    "LOG_SOFTMAX": "AddLogSoftmax",
    "MAXIMUM": "AddMaximum",
    "MAX_POOL_2D": "AddMaxPool2D",
    "MEAN": "AddMean",
    "MINIMUM": "AddMinimum",
    "MIRROR_PAD": "AddMirrorPad",
    "MUL": "AddMul",
    "NEG": "AddNeg",
    "NOT_EQUAL": "AddNotEqual",
    "PACK": "AddPack",
    "PAD": "AddPad",
    "PADV2": "AddPadV2",
    "PRELU": "AddPrelu",
    "QUANTIZE": "AddQuantize",
    "READ_VARIABLE": "AddReadVariable",
    "REDUCE_ALL": "AddReduceAll",
    "REDUCE_MAX": "AddReduceMax",
    "REDUCE_MIN": "AddReduceMin",
    "RELU": "AddRelu",
    "RELU6": "AddRelu6",
    "RESHAPE": "AddReshape",
    "RESIZE_BILINEAR": "AddResizeBilinear",
    "RESIZE_NEAREST_NEIGHBOR": "AddResizeNearestNeighbor",
    "REVERSE_V2": "AddReverseV2",
    "ROUND": "AddRound",
    "RSQRT": "AddRsqrt",
    "SELECT_V2": "AddSelectV2",
    "SHAPE": "AddShape",
    "SIN": "AddSin",
    "SLICE": "AddSlice",
    "SOFTMAX": "AddSoftmax",
    "SPACE_TO_BATCH_ND": "AddSpaceToBatchNd",
    "SPACE_TO_DEPTH": "AddSpaceToDepth",
    "SPLIT": "AddSplit",
    "SPLIT_V": "AddSplitV",
    "SQRT": "AddSqrt",
    "SQUARE": "AddSquare",
    "SQUARED_DIFFERENCE": "AddSquaredDifference",
    "SQUEEZE": "AddSqueeze",
    "STRIDED_SLICE": "AddStridedSlice",
    "SUB": "AddSub",
    "SUM": "AddSum",
    "SVDF": "AddSvdf",
    "TANH": "AddTanh",
    "TRANSPOSE": "AddTranspose",
    "TRANSPOSE_CONV": "AddTransposeConv",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
    "UNPACK": "AddUnpack",
    "VAR_HANDLE": "AddVarHandle",
    "WHILE": "AddWhile",
    "ZEROS_LIKE": "AddZerosLike",
}
# Likewise for operators that are not built into TFLite, by the names that files have for them.
CUSTOM_METHODS: Mapping[str, str] = {
    "CIRCULAR_BUFFER": "AddCircularBuffer",
    "SignalDelay": "AddDelay",
    "SignalEnergy": "AddEnergy",
    "SignalFftAutoScale": "AddFftAutoScale",
    "SignalFilterBank": "AddFilterBank",
    "SignalFilterBankLog": "AddFilterBankLog",
    "SignalFilterBankSpectralSubtraction": "AddFilterBankSpectralSubtraction",
    "SignalFilterBankSquareRoot": "AddFilterBankSquareRoot",
    "SignalFramer": "AddFramer",
    "SignalIrfft": "AddIrfft",
    "SignalOverlapAdd": "AddOverlapAdd",
    "SignalPCAN": "AddPCAN",
    "SignalRfft": "AddRfft",
    "SignalStacker": "AddStacker",
    "SignalWindow": "AddWindow",
    "TFLM_DECODE": "AddDecode",
    "TFLite_Detection_PostProcess": "AddDetectionPostprocess",
    "ethos-u": "AddEthosU",
}
# What files call an operator that is not built in begins with this here.
CUSTOM = "custom "
# What Vela puts in the place of all that an Ethos-U runs.
NPU_OPERATOR = f"{CUSTOM}ethos-u"


def operators(path: Path) -> dict[str, int]:
    """Count the operators of a `.tflite` file, those inside of control flow too.

    Args:
        path: the file.

    Returns:
        Names as in schema.fbs (`CONV_2D`), or `custom NAME` for one that is not built in, in the order in which they
        come, to how often each does.

    Raises:
        InputError: not a TFLite model, cut off, or damaged.
    """
    with opened(Path(path)) as (_, model):
        return dict(Counter(_names(opcode for graph in model.subgraphs for opcode in graph.operators)))


def unsupported(names: Iterable[str]) -> tuple[str, ...]:
    """Give those operators that TFLite Micro does not have, in order.

    Example:
        >>> unsupported(["CONV_2D", "ERF", "custom FlexErf", "custom SignalRfft"])
        ('ERF', 'custom FlexErf')
    """
    return tuple(name for name in names if _method(name) is None)


def require_operators(path: Path) -> None:
    """Refuse a file that TFLite Micro cannot run, with all that it lacks.

    Args:
        path: of a `.tflite` file.

    Raises:
        InputError: it has operators that TFLite Micro does not have, or weights stored without their zeros; or it is no
            TFLite model, cut off, or damaged.
    """
    lacking = unsupported(operators(path))
    with opened(Path(path)) as (_, model):
        sparse = any(tensor.sparse for graph in model.subgraphs for tensor in graph.tensors)
    if sparse:
        raise InputError(
            f"{Path(path).name} has weights that are stored without their zeros, which TFLite Micro cannot read; "
            "export it with --dense."
        )
    if lacking:
        raise InputError(
            f"{Path(path).name} has operators that TFLite Micro does not have: {', '.join(lacking)}; replace the "
            "layers that they come from."
        )


def resolver_methods(names: Iterable[str]) -> tuple[str, ...]:
    """Give the methods of `MicroMutableOpResolver` that a firmware calls, sorted; those that it lacks are left out.

    Example:
        >>> resolver_methods(["SOFTMAX", "CONV_2D", "custom ethos-u"])
        ('AddConv2D', 'AddEthosU', 'AddSoftmax')
    """
    return tuple(sorted({method for name in names if (method := _method(name)) is not None}))


def _method(name: str) -> str | None:
    if name.startswith(CUSTOM):
        return CUSTOM_METHODS.get(name.removeprefix(CUSTOM))
    return METHODS.get(name)


def _names(opcodes: Iterable[Opcode]) -> Iterable[str]:
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    kinds = {number: name for name, number in vars(BuiltinOperator).items() if name.isupper()}
    for opcode in opcodes:
        known = kinds.get(opcode.builtin, f"operator {opcode.builtin}")
        yield f"{CUSTOM}{opcode.custom}" if known == "CUSTOM" else known
