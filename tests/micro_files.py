"""Small `.tflite` files for microcontrollers, made without TensorFlow, and which operators TFLite Micro knows."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from tflite_models import buffer, model, tensor, written


def dense(path, inputs, outputs=2):
    """Write an int8 file that multiplies `inputs` numbers with a kernel."""
    kernel = np.random.default_rng(2).integers(-127, 128, (outputs, inputs)).astype(np.int8)
    made = model(
        [
            tensor("in", (1, inputs), "INT8", scale=0.5, zero_point=-128),
            tensor("out", (1, outputs), "INT8", scale=0.25, zero_point=3),
            tensor("kernel", (outputs, inputs), "INT8", buffer=1, scale=0.1, zero_point=0),
        ],
        [buffer(), buffer(kernel)],
    )
    return written(with_dense_options(made), path)


def with_dense_options(made):
    """Give a model whose first operator is a fully connected layer its options."""
    operator = made.subgraphs[0].operators[0]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    return made


def dense_then_float(path, inputs=16):
    """Write an int8 layer with a DEQUANTIZE behind it, which an NPU leaves to the CPU."""
    kernel = np.random.default_rng(2).integers(-127, 128, (4, inputs)).astype(np.int8)
    made = model(
        [
            tensor("in", (1, inputs), "INT8", scale=0.5, zero_point=-128),
            tensor("between", (1, 4), "INT8", scale=0.25, zero_point=3),
            tensor("kernel", (4, inputs), "INT8", buffer=1, scale=0.1, zero_point=0),
            tensor("out", (1, 4)),
        ],
        [buffer(), buffer(kernel)],
        outputs=(3,),
    )
    with_dense_options(made)
    return written(add_operator(made, schema.BuiltinOperator.DEQUANTIZE, [1], [3]), path)


def add_operator(made, kind, inputs, outputs, *, custom=None):
    """Put an operator behind those that a model has."""
    operator, code = schema.OperatorT(), schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = kind, min(kind, 127)
    code.customCode, code.version = custom, 1
    operator.opcodeIndex = len(made.operatorCodes)
    operator.inputs, operator.outputs = list(inputs), list(outputs)
    made.operatorCodes.append(code)
    made.subgraphs[0].operators.append(operator)
    return made


def one_operator(path, kind, *, custom=None):
    """Write a file with one operator of any kind, which need not fit its tensors."""
    made = model([tensor("in", (1, 4)), tensor("out", (1, 4))], [buffer()])
    made.operatorCodes, made.subgraphs[0].operators = [], []
    return written(add_operator(made, kind, [0], [1], custom=custom), path)


_ASK = """
import json, os, sys, tempfile
from tflite_micro.python.tflite_micro import runtime
found = {}
for name, path in json.load(sys.stdin).items():
    with tempfile.TemporaryFile() as told:
        copy = os.fork()  # an operator that does not fit its tensors may end the process
        if copy == 0:
            os.dup2(told.fileno(), 2)
            try:
                runtime.Interpreter.from_bytes(open(path, "rb").read(), arena_size=1 << 20)
            finally:
                os._exit(0)
        os.waitpid(copy, 0)
        told.seek(0)
        text = told.read().decode(errors="replace")
    found[name] = "Didn't find op" not in text and "Failed to get registration" not in text
print(json.dumps(found))
"""


def known_to_tflite_micro(paths):
    """Ask TFLite Micro itself whether it has the operator of each file.

    Args:
        paths: of files with one operator, by name.
    """
    given = json.dumps({name: str(path) for name, path in paths.items()})
    done = subprocess.run(
        [sys.executable, "-c", _ASK], input=given, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])
