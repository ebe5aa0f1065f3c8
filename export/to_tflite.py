"""A Keras model, float or quantized, as one TFLite file."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from slimedge import notes
from slimedge.errors import ConversionError, InputError
from slimedge.keras_file import output_specs
from slimedge.export.tracing import quantized_layers, trace

if TYPE_CHECKING:
    import keras

SIGNATURE = "serving_default"


def to_tflite(
    model: keras.Model, *, batch: int = 1, io: str = "float32", metadata: Mapping[str, Any] | None = None
) -> bytes:
    """Convert a model with TFLite's built-in ops only.

    A quantized model is traced with its kernels on their int8 grid, from which the converter finds the same
    per-channel scales again, and its activation fake-quants become int8 tensors.

    Args:
        model: built.
        batch: fixed size of the first axis.
        io: `float32`, or `int8` for integer inputs and outputs of a quantized model.
        metadata: JSON values for the file's `slimedge` metadata.

    Returns:
        The file, with a signature that carries Keras' input and output names.

    Raises:
        ConversionError: the converter cannot express an op with TFLite's built-in ones.
        InputError: integer I/O of a float model.
    """
    quantized = bool(quantized_layers(model))
    if io == "int8" and not quantized:
        raise InputError(f"model '{model.name}' is float, so it has no int8 inputs; quantize it first or use float32.")
    layers = {layer.name for layer in model._flatten_layers()}
    function = trace(model, batch=batch, requantizing=False).function
    inputs = [tensor.name.removesuffix(":0") for tensor in function.inputs]
    outputs = {tensor.name: name for name, tensor in function.structured_outputs.items()}
    content = _convert(function, quantized=quantized, integer_io=io == "int8")
    order = [outputs[tensor.name] for tensor in function.outputs]
    wanted = [spec.name for spec in output_specs(model)]
    del function
    gc.collect()
    return finish(content, inputs, order, wanted, layers, dict(metadata or {}))


def _convert(function: Any, *, quantized: bool, integer_io: bool) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.exclude_conversion_metadata = True
    converter.experimental_lower_to_saved_model = False
    if quantized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if integer_io:
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    try:
        return bytes(converter.convert())
    except Exception as error:  # the converter raises whatever MLIR reports
        raise ConversionError(
            f"the TFLite converter could not convert the model: {_reason(str(error))}; replace that layer or "
            "export to ONNX."
        ) from error


def _reason(message: str) -> str:
    """The part of a converter's message that names the op at fault."""
    select = re.search(r"(?:Flex|Custom) ops?: ([^\n]+)", message)
    if select:
        return f"no built-in op for {select.group(1).strip()}"
    lines = [line.partition("error:")[2].strip() for line in message.splitlines() if "error:" in line]
    lines = lines or [line.strip() for line in message.splitlines() if line.strip()]
    return lines[0][:300].rstrip(".") if lines else "no reason was given"


def finish(
    content: bytes,
    inputs: list[str],
    outputs: list[str],
    wanted: list[str],
    layers: Collection[str],
    metadata: dict[str, Any],
) -> bytes:
    """Write names, signature and metadata into a converted file.

    Args:
        content: from the converter.
        inputs: names in the order of the file's inputs.
        outputs: names in the order of the file's outputs.
        wanted: output names in Keras order.
        layers: names of the Keras layers, for the tensors in between.
        metadata: JSON values.

    Raises:
        ConversionError: the converter left an empty or truncated model.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    if not len(graph.operators) or len(graph.outputs) != len(outputs) or len(graph.inputs) != len(inputs):
        raise ConversionError(
            "the TFLite converter swallowed an error and left a model without operators or outputs; "
            "report the model, or export to ONNX."
        )
    _name_tensors(graph, inputs, outputs, layers)
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
    signature.inputs = [_entry(schema, n, i) for n, i in zip(inputs, graph.inputs, strict=True)]
    by_name = dict(zip(outputs, graph.outputs, strict=True))
    signature.outputs = [_entry(schema, name, by_name[name]) for name in wanted]
    model.signatureDefs = [signature]
    model.description = "slimedge"
    metadata |= {"inputs": inputs, "outputs": wanted}
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = list(json.dumps(metadata, separators=(",", ":")).encode())
    model.buffers.append(buffer)
    entry.name, entry.buffer = notes.KEY, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(len(content) + 2**16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _entry(schema: Any, name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, int(index)
    return entry


def _name_tensors(graph: Any, inputs: list[str], outputs: list[str], layers: Collection[str]) -> None:
    """Name inputs and outputs as Keras does, and each other tensor after the layers that made it."""
    known, taken = set(layers), {*inputs, *outputs}
    fixed = dict(zip(map(int, graph.inputs), inputs, strict=True))
    fixed |= dict(zip(map(int, graph.outputs), outputs, strict=True))
    for index, tensor in enumerate(graph.tensors):
        if index in fixed:
            tensor.name = fixed[index]
            continue
        found = _layers_in((tensor.name or b"").decode(), known)
        base = "+".join(found) if found else "model"
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}:{number}"
        taken.add(name)
        tensor.name = name


def _layers_in(text: str, layers: set[str]) -> list[str]:
    """The Keras layers that a converter's tensor name (`model_1/conv_1/BiasAdd;model_1/relu_1/Relu`) speaks of."""
    found: list[str] = []
    for part in text.split(";"):
        for scope in reversed(re.split(r"[/:]", part)):
            name = next((n for n in (scope, re.sub(r"_\d+$", "", scope)) if n in layers), None)
            if name:
                found.append(name)
                break
    return list(dict.fromkeys(found))
