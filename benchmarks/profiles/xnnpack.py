"""Which op of a TFLite file an XNNPACK kernel runs for: they come in one order, though not one for one.

XNNPACK makes kernels without a word on which op they come from. An activation or padding that went into a convolution
has none; a convolution of one pixel is a fully connected kernel; quantizing on the fly, or clamping behind an addition,
is one more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# What runs ops of other names than its own; one of the same name needs no row.
KINDS = {
    "APPROXGELU": {"GELU"},
    "AVERAGEPOOLING": {"AVERAGE_POOL_2D", "MEAN"},
    "BATCHMATRIXMULTIPLY": {"BATCH_MATMUL", "FULLY_CONNECTED"},
    "BANKDERSROUNDING": {"ROUND"},
    "CLAMP": {"RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1"},
    "CONSTANTPAD": {"PAD", "PADV2"},
    "CONVERT": {"QUANTIZE", "DEQUANTIZE", "CAST"},
    "CONVOLUTION": {"CONV_2D", "DEPTHWISE_CONV_2D"},
    "COPY": {"RESHAPE", "EXPAND_DIMS", "SQUEEZE", "CONCATENATION", "SPLIT", "BROADCAST_TO"},
    "DECONVOLUTION": {"TRANSPOSE_CONV"},
    "DIVIDE": {"DIV"},
    "DYNAMICFULLYCONNECTED": {"FULLY_CONNECTED", "BATCH_MATMUL"},
    "FULLYCONNECTED": {"FULLY_CONNECTED", "CONV_2D", "BATCH_MATMUL"},
    "MAXPOOLING": {"MAX_POOL_2D"},
    "MULTIPLY": {"MUL"},
    "NEGATE": {"NEG"},
    "RECIPROCALSQUAREROOT": {"RSQRT"},
    "RESIZEBILINEAR": {"RESIZE_BILINEAR"},
    "SIGMOID": {"LOGISTIC"},
    "SLICE": {"SLICE", "STRIDED_SLICE"},
    "SQUAREROOT": {"SQRT"},
    "STATICRESHAPE": {"RESHAPE", "EXPAND_DIMS", "SQUEEZE"},
    "SUBCONVOLUTION": {"TRANSPOSE_CONV"},
    "SUBTRACT": {"SUB"},
}
HEAVY = {"CONVOLUTION", "DECONVOLUTION", "FULLYCONNECTED", "DYNAMICFULLYCONNECTED", "BATCHMATRIXMULTIPLY"}
BEHIND = {"CLAMP"}  # belongs to what came before; every other kernel too many, to what it prepares


def align(ops: Sequence[str], kernels: Sequence[str]) -> tuple[int | None, ...]:
    """Give for every kernel the op that it runs for, the orders of both kept.

    Kernels and ops are paired so that as many as possible of one kind meet, the heavy ones first. A kernel without a
    partner belongs to the pair that it prepares; a clamp, to the one before it.

    Args:
        ops: kinds of the ops that the delegate took, in their order.
        kernels: names of what it ran, in its order.

    Returns:
        Positions in `ops`; None for all where none fits.

    Example:
        >>> ops = ["CONV_2D", "ADD", "SOFTMAX"]
        >>> align(ops, ["Fully Connected (NC, F32) GEMM", "Add (ND)", "Clamp (NC)", "Softmax (NC, F32)"])
        (0, 1, 1, 2)
    """
    families = [_family(kernel) for kernel in kernels]
    # best[i][j] is the worth of the best pairs among the ops from i and the kernels from j on.
    best = [[0] * (len(kernels) + 1) for _ in range(len(ops) + 1)]
    for i in reversed(range(len(ops))):
        for j in reversed(range(len(kernels))):
            paired = _worth(ops[i], families[j])
            best[i][j] = max(best[i + 1][j], best[i][j + 1], paired + best[i + 1][j + 1] if paired else 0)
    pairs: list[int | None] = [None] * len(kernels)
    i = j = 0
    while i < len(ops) and j < len(kernels):
        paired = _worth(ops[i], families[j])
        if paired and best[i][j] == paired + best[i + 1][j + 1]:
            pairs[j] = i
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return tuple(_near(pairs, families, j) for j in range(len(kernels)))


def _near(pairs: Sequence[int | None], families: Sequence[str], at: int) -> int | None:
    """Give the partner of a kernel, or of the one that it belongs to."""
    before = next((pairs[j] for j in range(at, -1, -1) if pairs[j] is not None), None)
    after = next((pairs[j] for j in range(at, len(pairs)) if pairs[j] is not None), None)
    first, second = (before, after) if families[at] in BEHIND else (after, before)
    return second if first is None else first


def _family(kernel: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", kernel.partition(" (")[0].upper())


def _worth(kind: str, family: str) -> int:
    fits = kind in KINDS.get(family, ()) or kind.replace("_", "") == family
    return 0 if not fits else 4 if family in HEAVY else 1
