"""A Keras model, float or quantized, as one TFLite file."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from slimedge import notes
from slimedge.errors import ConversionError, InputError
from slimedge.export.exporters import DYNAMIC, Settings, check_io, with_storage
from slimedge.export.tensorflow_graph import with_dilations
from slimedge.export.tflite_edit import codes_of, opcode_of
from slimedge.export.tflite_int16 import widen
from slimedge.export.tflite_scales import StandIn, put_back, stand_in
from slimedge.export.tflite_sparse import sparse_where_smaller
from slimedge.export.tflite_weights import round_dynamically, store_weights
from slimedge.export.tracing import Traced, Weight, activation_grids, quantized_layers, trace
from slimedge.export.trial import SIGNATURE, TfliteTrial
from slimedge.export.verify import example_inputs, fidelity, is_close, output_steps
from slimedge.export.weight_grid import Rounding, rounding_of
from slimedge.keras_file import input_specs, output_specs
from slimedge.weight_rounding import NARROW_BITS

if TYPE_CHECKING:
    import keras


def to_tflite(
    model: keras.Model,
    *,
    batch: int = 1,
    io: str = "float32",
    scheme: str | None = None,
    block_size: int | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> bytes:
    """Convert a model with TFLite's built-in ops only.

    A quantized model is traced with its kernels on their grid, from which the converter finds the same per-channel
    scales again (`slimedge.export.tflite_scales`), and its activation fake-quants become int8 or int16 tensors.

    Args:
        model: built.
        batch: fixed size of the first axis.
        io: `float32`, or `int8` or `int16` for integer inputs and outputs of a statically quantized model.
        scheme: how the model was quantized; None where it is float.
        block_size: how many weights share a scale; None for a scale for each channel.
        metadata: JSON values for the file's `slimedge` metadata.

    Returns:
        The file, with a signature that carries Keras' input and output names.

    Raises:
        ConversionError: the converter cannot express an op with TFLite's built-in ones.
        InputError: integer I/O of a float model, or of one with loops.
    """
    check_io(model, io)
    layers = {layer.name for layer in model._flatten_layers()}
    stand_ins: list[StandIn] = []

    def stand_for(weight: Weight) -> NDArray[Any]:
        made = stand_in(weight)
        if made is None:
            return weight.dequantized()
        stand_ins.append(made)
        return made.value

    traced = trace(model, batch=batch, stand_for=stand_for, merging=True)
    with_dilations(traced.definition)
    inputs = [spec.name for spec in input_specs(model)]
    outputs = list(traced.outputs)
    content = _convert(traced, quantized=bool(quantized_layers(model)), dtype=_other_dtype(model))
    wanted = [spec.name for spec in output_specs(model)]
    del traced
    gc.collect()
    names = _Names(inputs, outputs, wanted, layers)
    content = finish(
        content,
        names,
        integer_io=io != "float32",
        rounding=rounding_of(scheme, block_size),
        stand_ins=stand_ins,
        grids=activation_grids(model),
        metadata=dict(metadata or {}),
    )
    return round_dynamically(content) if scheme == DYNAMIC else content


def _other_dtype(model: keras.Model) -> str:
    """Half a sentence on the first layer that does not compute in float32; empty where all do."""
    for layer in model._flatten_layers():
        if layer.compute_dtype in {"float16", "bfloat16", "float64"}:
            return f" (layer '{layer.name}' computes in {layer.compute_dtype}, TFLite's operators in float32)"
    return ""


def export_tflite(model: keras.Model, settings: Settings) -> tuple[bytes, TfliteTrial]:
    """Make a TFLite file, its zeros left out where that pays; see `slimedge.export.exporters.Exporter`."""
    content = to_tflite(
        model,
        batch=settings.batch,
        io=settings.io,
        scheme=settings.scheme,
        block_size=settings.block_size,
        metadata=settings.metadata,
    )
    # Weights of other schemes lie behind a DEQUANTIZE.
    if not settings.dense and (settings.scheme is None or settings.scheme.startswith("static")):
        steps = output_steps(model)
        quantized = settings.scheme is not None
        content = sparse_where_smaller(
            content,
            example_inputs(model, None),
            lambda exact, got: is_close(fidelity(exact, got, steps), quantized=quantized, wide=True),
        )
    return content, TfliteTrial(content)


def _convert(traced: Traced, *, quantized: bool, dtype: str) -> bytes:
    import tensorflow as tf
    from tensorflow.lite.python import convert

    # The graph is frozen already. TFLiteConverter.from_concrete_functions would freeze it once more (three copies of
    # the weights), so its own next step is called here, with what it passes on for Optimize.DEFAULT.
    try:
        converted = convert.convert_graphdef(
            traced.definition,
            list(traced.inputs),
            list(traced.outputs.values()),
            enable_mlir_converter=True,
            inference_type=tf.int8 if quantized else tf.float32,
            inference_input_type=tf.float32,
            target_ops={tf.lite.OpsSet.TFLITE_BUILTINS},
        )
        return bytes(converted)
    except Exception as error:  # the converter raises whatever MLIR reports
        raise ConversionError(
            f"the TFLite converter could not convert the model: {_reason(str(error))}{dtype}; replace that layer or "
            "export to ONNX."
        ) from error


def _reason(message: str) -> str:
    """The part of a converter's message that names the op at fault."""
    select = re.search(r"(?:Flex|Custom) ops?: ([^\n]+)", message)
    if select:
        return f"no built-in op for {select.group(1).strip()}"
    illegal = re.search(r"\"([^\"]*)\"\]?\)?\)?: 'tf\.(\w+)' op is neither", message)
    if illegal:
        return f"no built-in op for {illegal.group(2)} in {illegal.group(1)}"
    lines = [line.partition("error:")[2].strip() for line in message.splitlines() if "error:" in line]
    lines = lines or [line.strip() for line in message.splitlines() if line.strip()]
    return lines[0][:300].rstrip(".") if lines else "no reason was given"


@dataclass(frozen=True, slots=True)
class _Names:
    """Keras names: `inputs` and `outputs` in the file's order, `wanted` are the outputs in Keras order."""

    inputs: list[str]
    outputs: list[str]
    wanted: list[str]
    layers: Collection[str]


def finish(
    content: bytes,
    names: _Names,
    *,
    integer_io: bool,
    metadata: dict[str, Any],
    rounding: Rounding | None = None,
    stand_ins: Sequence[StandIn] = (),
    grids: Collection[tuple[int, float, int]] = (),
) -> bytes:
    """Write names, signature and metadata into a converted file.

    Args:
        content: from the converter.
        names: of inputs, outputs and the layers in between.
        integer_io: whether inputs and outputs become the integer tensors behind them.
        metadata: JSON values.
        rounding: what weights were rounded to, which are kept like that; None for floats.
        stand_ins: kernels that the converter was given with some weights moved.
        grids: bits, scale and signed zero point of the activations.

    Raises:
        ConversionError: the converter left an empty or truncated model, or lost a kernel.
        InputError: integer I/O of a model with loops.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    inputs, outputs = names.inputs, names.outputs
    if not len(graph.operators) or len(graph.outputs) != len(outputs) or len(graph.inputs) != len(inputs):
        raise ConversionError(
            "the TFLite converter swallowed an error and left a model without operators or outputs; "
            "report the model, or export to ONNX."
        )
    put_back(model, stand_ins, schema)
    wide = [scale for bits, scale, _ in grids if bits > NARROW_BITS]
    if wide:
        widen(model, schema, wide, {(scale, zero) for bits, scale, zero in grids if bits <= NARROW_BITS})
    _dequantize_strays(model, graph, schema)
    if integer_io and len(model.subgraphs) > 1:
        # Seen with LiteRT 2.3: such a file gives other answers from the second run on, in some processes.
        raise InputError(
            "the recurrent layers of this model are loops in TFLite, which LiteRT does not run reliably behind integer "
            "inputs; use float32 inputs and outputs."
        )
    if integer_io:
        _drop_edges(model, graph, schema)
    _name_tensors(graph, inputs, outputs, names.layers)
    if rounding is not None:
        metadata = with_storage(metadata, store_weights(model, schema, rounding))
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
    signature.inputs = [_entry(schema, n, i) for n, i in zip(inputs, graph.inputs, strict=True)]
    by_name = dict(zip(outputs, graph.outputs, strict=True))
    signature.outputs = [_entry(schema, name, by_name[name]) for name in names.wanted]
    model.signatureDefs = [signature]
    model.description = "slimedge"
    metadata |= {"inputs": inputs, "outputs": names.wanted}
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = list(json.dumps(metadata, separators=(",", ":")).encode())
    model.buffers.append(buffer)
    entry.name, entry.buffer = notes.KEY, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(len(content) + 2**16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _dequantize_strays(model: Any, graph: Any, schema: Any) -> None:
    """Put a Dequantize where the converter left a float operator with an int8 input (an EinsumDense after an Add)."""
    kinds, types = schema.BuiltinOperator, schema.TensorType
    codes = codes_of(model)
    allowed = {kinds.DEQUANTIZE, kinds.CAST}
    made = {int(index) for operator in graph.operators for index in operator.outputs}
    as_float: dict[int, int] = {}
    operators = []
    for operator in graph.operators:
        is_float = all(graph.tensors[index].type == types.FLOAT32 for index in operator.outputs)
        inputs = [] if operator.inputs is None else [int(index) for index in operator.inputs]
        for position, index in enumerate(inputs):
            if codes[operator.opcodeIndex] in allowed or not is_float or index not in made:
                continue
            tensor = graph.tensors[index]
            if tensor.type not in {types.INT8, types.INT16}:
                continue
            if index not in as_float:
                copy = schema.TensorT()
                copy.name, copy.shape, copy.shapeSignature = tensor.name, tensor.shape, tensor.shapeSignature
                copy.type, copy.buffer = types.FLOAT32, 0
                graph.tensors.append(copy)
                as_float[index] = len(graph.tensors) - 1
                new = schema.OperatorT()
                new.opcodeIndex = opcode_of(
                    model, kinds.DEQUANTIZE, 3, schema
                )  # the first version with int16
                new.inputs, new.outputs = [index], [as_float[index]]
                operators.append(new)
            inputs[position] = as_float[index]
        operator.inputs = inputs
        operators.append(operator)
    graph.operators = operators


def _drop_edges(model: Any, graph: Any, schema: Any) -> None:
    """Take away the Quantize behind each input and the Dequantize before each output."""
    codes = codes_of(model)
    gone = []
    for operator in graph.operators:
        kind = codes[operator.opcodeIndex]
        source, target = int(operator.inputs[0]), int(operator.outputs[0])
        readers = [other for other in graph.operators if source in other.inputs]
        if kind == schema.BuiltinOperator.QUANTIZE and source in graph.inputs and len(readers) == 1:
            graph.inputs = [target if int(index) == source else int(index) for index in graph.inputs]
            gone.append(operator)
        elif kind == schema.BuiltinOperator.DEQUANTIZE and target in graph.outputs:
            graph.outputs = [source if int(index) == target else int(index) for index in graph.outputs]
            if not any(
                target in other.inputs for other in graph.operators
            ):  # a float operator may need it too
                gone.append(operator)
    graph.operators = [operator for operator in graph.operators if operator not in gone]


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
