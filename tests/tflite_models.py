"""Small `.tflite` files, written by the schema's generated code: a second opinion on the format."""

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from refusals import refusal_of

from slimedge import tflite_file

KERNEL = np.array([[1, 0, 3], [4, 5, 0]], np.int8)
FLOAT_KERNEL = np.array([[0.5, 0.0, 1.5], [1.0, 2.0, 3.0]], np.float32)


def tensor(name, shape, kind="FLOAT32", *, buffer=0, scale=None, zero_point=None, axis=0, signature=None):
    made = schema.TensorT()
    made.name, made.shape, made.buffer = name, list(shape), buffer
    made.type = getattr(schema.TensorType, kind)
    made.shapeSignature = signature
    if scale is not None:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale = np.atleast_1d(np.array(scale, np.float32))
        made.quantization.zeroPoint = np.atleast_1d(np.array(zero_point, np.int64))
        made.quantization.quantizedDimension = axis
    return made


def buffer(array=None):
    made = schema.BufferT()
    if array is not None:
        made.data = np.frombuffer(array.tobytes() if hasattr(array, "tobytes") else array, np.uint8)
    return made


def entries(**named):
    made = []
    for name, index in named.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, index
        made.append(entry)
    return made


def model(tensors, buffers, *, inputs=(0,), outputs=(1,), signature=None, facts=None):
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.name = tensors, list(inputs), list(outputs), "main"
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 2, -1], [1]
    graph.operators = [operator]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    made = schema.ModelT()
    made.version, made.subgraphs, made.operatorCodes, made.buffers = 3, [graph], [code], list(buffers)
    if signature is not None:
        made.signatureDefs = [schema.SignatureDefT()]
        made.signatureDefs[0].signatureKey = "serving_default"
        made.signatureDefs[0].inputs, made.signatureDefs[0].outputs = signature
    if facts is not None:
        made.buffers.append(buffer(np.frombuffer(facts.encode(), np.uint8)))
        entry = schema.MetadataT()
        entry.name, entry.buffer = "slimedge", len(made.buffers) - 1
        made.metadata = [entry]
    return made


def written(made, path):
    builder = flatbuffers.Builder(1024)
    builder.Finish(made.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def int8_model(**options):
    tensors = [
        tensor("in", (1, 3), "INT8", scale=0.5, zero_point=-128),
        tensor("out", (1, 2), "INT8", scale=0.25, zero_point=3),
        tensor("kernel", (2, 3), "INT8", buffer=1, scale=[0.1, 0.2], zero_point=[0, 0]),
    ]
    return model(tensors, [buffer(), buffer(KERNEL)], **options)


def refusal(path):
    return refusal_of(tflite_file.read, path)
