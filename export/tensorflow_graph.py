"""Repairs of a traced TensorFlow graph where a converter knows less than TensorFlow."""

from __future__ import annotations

from typing import Any


def without_erfc(definition: Any) -> None:
    """Write erfc(x) as 1 - erf(x), in place: GELU uses Erfc, which tf2onnx does not know.

    Args:
        definition: a GraphDef.
    """
    import tensorflow as tf

    bodies = [definition.node, *(function.node_def for function in definition.library.function)]
    for nodes in bodies:
        for node in [node for node in nodes if node.op == "Erfc"]:
            dtype = node.attr["T"].type
            erf = nodes.add(name=f"{node.name}/erf", op="Erf", input=[node.input[0]])
            erf.attr["T"].type = dtype
            one = nodes.add(name=f"{node.name}/one", op="Const")
            one.attr["dtype"].type = dtype
            one.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(1, tf.dtypes.as_dtype(dtype)))
            node.op = "Sub"
            del node.input[:]
            node.input.extend([one.name, erf.name])
