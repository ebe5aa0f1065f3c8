"""The Keras layers that an op's name speaks of; files that were exported here carry them in their names.

ONNX nodes are named `layer/Op`. TFLite tensors are named after the layers that made them, the last one first:
`stem_relu+stem_bn+stem_conv:2`. The first layer to compute, which has the weights, counts; the others are fused into
it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from slimedge.benchmarks.file_graph import FileGraph, FileOp
from slimedge.benchmarks.profiles.times import Place

_MADE_BY_US = re.compile(r":\d+$")
# What ONNX Runtime appends to the names of nodes that it makes anew.
_MADE_BY_ORT = re.compile(r"(?:_token_\d+|:out_nchwc|_nhwc|_MatMul_quant|_quant)+$")
_VARIANTS = re.compile(r"^(?:QLinear|Fused|NhwcFused|Nhwc|DynamicQuantize|Q)(?=[A-Z])|(?:Integer|ToFloat)+$")
_REACH = 4  # a convolution with batch normalization, addition and activation


def tflite_place(op: FileOp, *, ours: bool) -> Place:
    """Tell what an op of a TFLite file is.

    Args:
        op: of the file.
        ours: whether the file was exported here.

    Example:
        >>> tflite_place(FileOp("relu+bn+conv:2", "CONV_2D", (), None), ours=True)
        Place(name='relu+bn+conv:2', kind='CONV_2D', layer='conv', fused=('bn', 'relu'))
    """
    if not ours:
        return Place(op.name, op.kind, op.name)
    first, *others = reversed(_MADE_BY_US.sub("", op.name).split("+"))
    return Place(op.name, op.kind, first, tuple(others))


class OnnxPlaces:
    """Tells what the ops of ONNX Runtime's optimized graph are in the file.

    Args:
        graph: of the file.
        ours: whether it was exported here.
    """

    def __init__(self, graph: FileGraph, *, ours: bool) -> None:
        self._ours = ours
        self._nodes = {op.name: op for op in graph.ops}
        self._makers: Mapping[str, FileOp] = {name: op for op in graph.ops for name in op.gives}

    def place(self, name: str, kind: str) -> Place:
        """Tell what an op is.

        Args:
            name: as ONNX Runtime has it (`stem/Conv_token_1`, `stem_relu/Relu:out_nchwc`).
            kind: its type (`QLinearConv`).
        """
        base = name if name in self._nodes else _MADE_BY_ORT.sub("", name)
        node = self._nodes.get(base)
        if node is None:
            known = self._ours and "/" in name
            return Place(name, kind, _layer(name) if known else f"ONNX Runtime: {kind}")
        first = self._first(node, kind)
        if not self._ours:
            return Place(name, kind, first.name, (node.name,) if first is not node else ())
        layer, last = _layer(first.name), _layer(node.name)
        return Place(name, kind, layer, (last,) if last != layer else ())

    def _first(self, node: FileOp, kind: str) -> FileOp:
        """Give the node that a fused op begins with: it has the name of its last one, and its own type."""
        wanted = _VARIANTS.sub("", kind)
        reached = node
        for _ in range(_REACH):
            if reached.kind == wanted:
                return reached
            makers = [self._makers[name] for name in reached.takes if name in self._makers]
            fitting = [maker for maker in makers if maker.kind == wanted]
            if not makers:
                break
            reached = (fitting or makers)[0]
        return reached if reached.kind == wanted else node


def _layer(name: str) -> str:
    return name.rpartition("/")[0] or name
