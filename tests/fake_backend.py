"""A backend for the agent's tests: doubles its input, or misbehaves as the model's file is named."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

kept = []
FLOAT = {"dtype": "float32", "scale": None, "zero_point": None}


def misbehave(what):
    if what == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif what == "abort":
        os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
        os.abort()
    elif what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "leaves":
        os.write(2, b"this is the end\n")
        os._exit(7)
    elif what == "endless":
        ctypes.PyDLL(None).sleep(1000)  # in C, without letting go of the interpreter
    elif what.startswith("hungry_"):
        kept.append(bytearray(os.urandom(1)) * int(what[len("hungry_") :]))
    elif what == "memory":
        raise MemoryError
    elif what == "refused":
        raise ValueError("refused.onnx is no good; give another.")
    elif what == "absent":
        raise ImportError("there is no such thing here; get it.")
    elif what == "breaks":
        raise RuntimeError("something odd\nat some place in C++")
    elif what == "chatty":
        os.write(1, b"hello from C\n")
        print("hello from Python")  # noqa: T201 - that is the trouble


class Model:
    provider = "cpu"

    def __init__(self, trouble):
        self.trouble = trouble
        self.inputs = [{"name": "x", "shape": [None, 2], **FLOAT}]
        self.outputs = [{"name": "y", "shape": [None, 2], **FLOAT}]

    def run(self, feeds):
        if self.trouble.startswith("run_"):
            misbehave(self.trouble[len("run_") :])
        return {"y": feeds["x"] * 2}

    def bind(self, feeds):
        return lambda: self.run(feeds)

    def bind_resident(self, _feeds):
        return None

    def ops(self, _feeds):
        return {"integer": 0, "total": 1, "heavy": [], "providers": {"cpu": 1}}


class Fake:
    name = "fake"
    formats = ("onnx",)
    packages = ("numpy",)

    def missing(self):
        return None

    def prepare(self):
        pass

    def providers(self):
        return {"cpu": None}

    def load(self, path, _format, **_options):
        trouble = Path(path).stem
        misbehave(trouble)
        return Model(trouble)


BACKEND = Fake()
