"""Repairs of a traced TensorFlow graph where a converter knows less than TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slimedge.errors import ConversionError


def with_constants(definition: Any, captures: Iterable[tuple[Any, Any]]) -> None:
    """Write tensors that the traced Python code held (a Normalization's mean) as constants, in place.

    Args:
        definition: a GraphDef, where each is a placeholder.
        captures: eager tensor and placeholder, as `FuncGraph.captures` gives them.

    Raises:
        ConversionError: one of them is a table, not numbers.
    """
    import tensorflow as tf

    values = {placeholder.op.name: eager for eager, placeholder in captures}
    for node in definition.node:
        if node.name in values:
            value = values[node.name]
            if value.dtype in (tf.resource, tf.variant):
                raise ConversionError(
                    f"the model holds a table or other state at {node.name} that no file of these formats can hold; "
                    "leave StringLookup, TextVectorization and the like outside of the model."
                )
            node.op = "Const"
            node.attr.clear()
            node.attr["dtype"].type = value.dtype.as_datatype_enum
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value.numpy(), value.dtype))


def inlined(definition: Any, ends: Sequence[str]) -> Any:
    """Put each function's body where it is called: tf2onnx then sees a grouped convolution and an LSTM as one op.

    Args:
        definition: a GraphDef; its attributes change.
        ends: names of its input and output tensors.

    Returns:
        A GraphDef in which only the bodies of loops are still functions.
    """
    from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
    from tensorflow.python.grappler import tf_optimizer

    for function in definition.library.function:
        for attribute in ("_noinline", "_XlaMustCompile"):  # Keras compiles grouped convolutions
            function.attr.pop(attribute, None)
    for nodes in (definition.node, *(function.node_def for function in definition.library.function)):
        for node in nodes:
            node.attr.pop("_XlaMustCompile", None)
            if "_lower_using_switch_merge" in node.attr:  # else a loop comes apart into ops that ONNX has not
                node.attr["_lower_using_switch_merge"].b = False
    meta = meta_graph_pb2.MetaGraphDef(graph_def=definition)
    meta.collection_def["train_op"].node_list.value.extend(ends)
    config = config_pb2.ConfigProto()
    options = config.graph_options.rewrite_options
    options.optimizers.append("function")
    options.min_graph_nodes = -1  # small graphs as well
    return tf_optimizer.OptimizeGraph(config, meta)


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


def with_dilations(definition: Any) -> None:
    """Let a convolution of sequences step over its input itself, in place.

    TensorFlow splits the input of a dilated one into a batch (SpaceToBatchND), convolves, and joins the pieces again.
    The TFLite converter recognizes that where one convolution takes the pieces; two that share them, as the gates of a
    WaveNet do, would stay as they are, and on real numbers.

    Args:
        definition: a GraphDef with sizes known.
    """
    nodes = {node.name: node for node in definition.node}
    for joined in [node for node in definition.node if node.op == "BatchToSpaceND"]:
        chain = [joined]
        for kind in ("Squeeze", "Conv2D", "ExpandDims", "SpaceToBatchND"):
            before = nodes.get(chain[-1].input[0])
            if before is None or before.op != kind:
                break
            chain.append(before)
        else:
            _dilate(nodes, *chain)


def _dilate(
    nodes: Mapping[str, Any], joined: Any, squeezed: Any, convolution: Any, expanded: Any, split: Any
) -> None:
    numbers = [_numbers(nodes, name) for name in (*split.input[1:], joined.input[2])]
    kernel = nodes[nodes[convolution.input[1]].input[0]]
    if (
        not all(numbers)
        or kernel.op != "Const"
        or any(size != 1 for size in convolution.attr["strides"].list.i)
    ):
        return
    (step,), (start, end), (skipped, surplus) = numbers
    total = step * (kernel.attr["value"].tensor.tensor_shape.dim[0].size - 1)
    same = (total // 2, total - total // 2)
    padding = {(0, 0): b"VALID", same: b"SAME"}.get((start, end - surplus))
    if skipped or padding is None:
        return
    expanded.input[0] = split.input[0]
    convolution.attr["dilations"].list.i[:] = [1, 1, step, 1]
    convolution.attr["padding"].s = padding
    for node in (squeezed, convolution, expanded):
        node.attr.pop("_output_shapes", None)
    kind = joined.attr["T"].type
    joined.op = "Identity"
    joined.attr.clear()
    joined.attr["T"].type = kind
    del joined.input[1:]


def _numbers(nodes: Mapping[str, Any], name: str) -> list[int]:
    """The numbers of a constant, flat; none where it is computed, as for an open size."""
    import tensorflow as tf

    if name not in nodes or nodes[name].op != "Const":
        return []
    return [int(number) for number in tf.make_ndarray(nodes[name].attr["value"].tensor).ravel()]
