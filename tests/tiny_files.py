"""Two-input, two-output model files made by hand, without TensorFlow: what they answer is known exactly.

zeta  = left · KERNEL + BIAS          Keras order is zeta, alpha; sorted by name it is the other way round
alpha = right · SIDE
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from slimedge.artifact import Artifact, Format, TensorSpec

KERNEL = np.float32([[0.5, -1.0, 0.25], [1.0, 0.0, -0.5], [-0.25, 0.75, 1.0], [0.5, 0.5, 0.5]])
BIAS = np.float32([0.1, -0.2, 0.3])
SIDE = np.float32([[1.0, -1.0], [0.5, 0.5], [-0.75, 0.25]])
# Grids of the integer files.
LEFT = (0.02, 3)
RIGHT = (0.025, -5)
ZETA = (0.05, 7)
ALPHA = (0.04, -2)
KERNEL_SCALE = 1 / 127
SPECS = {"left": 4, "right": 3, "zeta": 3, "alpha": 2}
GRIDS = {"left": LEFT, "right": RIGHT, "zeta": ZETA, "alpha": ALPHA}


def answers(left, right):
    """What the float models give."""
    return {"zeta": left @ KERNEL + BIAS, "alpha": right @ SIDE}


def examples(count, seed=0):
    """Inputs inside of the integer files' ranges."""
    generator = np.random.default_rng(seed)
    return {
        "left": generator.uniform(-1, 1, (count, 4)).astype("float32"),
        "right": generator.uniform(-1, 1, (count, 3)).astype("float32"),
    }


def integer_answers(inputs):
    """What the integer files give, computed with integers."""
    found = {}
    for name, out, kernel, bias in (("left", "zeta", KERNEL, BIAS), ("right", "alpha", SIDE, None)):
        (scale, zero), (out_scale, out_zero) = GRIDS[name], GRIDS[out]
        q = np.clip(np.rint(inputs[name] / np.float32(scale)) + zero, -128, 127).astype(int)
        weights = np.rint(kernel / KERNEL_SCALE).astype(int)
        total = (q - zero) @ weights
        if bias is not None:
            total = total + np.rint(bias / (scale * KERNEL_SCALE)).astype(int)
        steps = np.clip(np.rint(total * (scale * KERNEL_SCALE / out_scale)) + out_zero, -128, 127)
        found[out] = ((steps - out_zero) * out_scale).astype("float32")
    return found


def artifact(path, *, batch=None, dtype="float32", grids=None):
    """What reading the file would give, in Keras order."""
    path = Path(path)
    specs = {
        name: TensorSpec(name, (batch, size), dtype, *(grids or {}).get(name, (None, None)))
        for name, size in SPECS.items()
    }
    inputs, outputs = (specs["left"], specs["right"]), (specs["zeta"], specs["alpha"])
    return Artifact(path, Format(path.suffix[1:]), "", inputs, outputs)


def float_onnx(path):
    """A float `.onnx` with a symbolic batch."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Gemm", ["left", "kernel", "bias"], ["zeta"], name="zeta_dense"),
        helper.make_node("MatMul", ["right", "side"], ["alpha"], name="alpha_dense"),
    ]
    constants = [
        numpy_helper.from_array(array, name)
        for name, array in (("kernel", KERNEL), ("bias", BIAS), ("side", SIDE))
    ]
    return _onnx(path, nodes, constants, TensorProto.FLOAT, helper)


def integer_onnx(path):
    """An int8 `.onnx`, inputs and outputs too, whose file tells its grids only by its nodes."""
    from onnx import TensorProto, helper, numpy_helper

    constants, nodes = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    for name, out, kernel in (("left", "zeta", KERNEL), ("right", "alpha", SIDE)):
        weights = np.rint(kernel / KERNEL_SCALE).astype(np.int8)
        grid = [
            constant(f"{name}_scale", np.float32(GRIDS[name][0])),
            constant(f"{name}_zero", np.int8(GRIDS[name][1])),
        ]
        kernel_grid = [
            constant(f"{out}_kernel_scale", np.float32(KERNEL_SCALE)),
            constant(f"{out}_kernel_zero", np.int8(0)),
        ]
        out_grid = [
            constant(f"{out}_scale", np.float32(GRIDS[out][0])),
            constant(f"{out}_zero", np.int8(GRIDS[out][1])),
        ]
        inputs = [name, *grid, constant(f"{out}_kernel", weights), *kernel_grid, *out_grid]
        result = out if out == "alpha" else "product"
        nodes.append(helper.make_node("QLinearMatMul", inputs, [result], name=f"{out}_dense"))
    bias = [
        constant("bias", np.rint(BIAS / 0.01).astype(np.int8)),
        constant("bias_scale", np.float32(0.01)),
        constant("bias_zero", np.int8(0)),
    ]
    nodes.append(
        helper.make_node(
            "QLinearAdd", ["product", "zeta_scale", "zeta_zero", *bias, "zeta_scale", "zeta_zero"], ["zeta"],
            name="zeta_bias", domain="com.microsoft",
        )
    )  # fmt: skip
    return _onnx(path, nodes, constants, TensorProto.INT8, helper)


def _onnx(path, nodes, constants, kind, helper):
    import onnx

    def values(names):
        return [helper.make_tensor_value_info(name, kind, ["batch", SPECS[name]]) for name in names]

    graph = helper.make_graph(nodes, "tiny", values(["left", "right"]), values(["zeta", "alpha"]), constants)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    integer = kind == onnx.TensorProto.INT8
    return artifact(path, dtype="int8" if integer else "float32", grids=GRIDS if integer else None)


def tflite(path, *, integer, batch=1):
    """A `.tflite` with a signature, float or int8 throughout."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    kind = schema.TensorType.INT8 if integer else schema.TensorType.FLOAT32
    buffers = [schema.BufferT()]
    tensors = []

    def tensor(name, shape, type_, grid=None, data=None):
        found = schema.TensorT()
        found.name, found.shape, found.type = name, list(shape), type_
        if data is not None:
            held = schema.BufferT()
            held.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            buffers.append(held)
            found.buffer = len(buffers) - 1
        if integer and grid is not None:
            found.quantization = schema.QuantizationParametersT()
            found.quantization.scale, found.quantization.zeroPoint = [float(grid[0])], [int(grid[1])]
        tensors.append(found)
        return len(tensors) - 1

    operators = []
    index = {}
    for name, out, kernel, bias in (("left", "zeta", KERNEL, BIAS), ("right", "alpha", SIDE, None)):
        index[name] = tensor(f"serving_default_{name}:0", (batch, SPECS[name]), kind, GRIDS[name])
        weights = np.rint(kernel.T / KERNEL_SCALE).astype(np.int8) if integer else kernel.T
        operator = schema.OperatorT()
        operator.inputs = [
            index[name],
            tensor(f"{out}/kernel", kernel.T.shape, kind, (KERNEL_SCALE, 0), weights),
            -1,
        ]
        if bias is not None:
            scale = GRIDS[name][0] * KERNEL_SCALE
            values = np.rint(bias / scale).astype(np.int32) if integer else bias
            type_ = schema.TensorType.INT32 if integer else kind
            operator.inputs[2] = tensor(f"{out}/bias", bias.shape, type_, (scale, 0), values)
        index[out] = tensor(f"StatefulPartitionedCall:{out}", (batch, SPECS[out]), kind, GRIDS[out])
        operator.outputs = [index[out]]
        operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
        operator.builtinOptions = schema.FullyConnectedOptionsT()
        operators.append(operator)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 4 if integer else 6
    graph = schema.SubGraphT()
    graph.name, graph.tensors, graph.operators = "main", tensors, operators
    graph.inputs, graph.outputs = [index["left"], index["right"]], [index["zeta"], index["alpha"]]
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0

    def entries(names):
        maps = []
        for name in names:
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = name, index[name]
            maps.append(entry)
        return maps

    signature.inputs, signature.outputs = entries(["left", "right"]), entries(["alpha", "zeta"])
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers, model.signatureDefs, model.description = buffers, [signature], "tiny"
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    Path(path).write_bytes(bytes(builder.Output()))
    return artifact(
        path, batch=batch, dtype="int8" if integer else "float32", grids=GRIDS if integer else None
    )
