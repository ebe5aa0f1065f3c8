"""Trained Keras models in; small, fast ONNX and TFLite models out, with proof.

What a user needs is here by name, and imported when it is first asked for: `import slimedge` loads
neither TensorFlow nor ONNX Runtime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slimedge import errors
    from slimedge.artifact import Artifact
    from slimedge.benchmarks.benchmarking import benchmark
    from slimedge.benchmarks.comparing import compare
    from slimedge.benchmarks.inspecting import inspect
    from slimedge.compress.quantization import quantize
    from slimedge.data import Data
    from slimedge.export.exporting import export_model
    from slimedge.keras_file import load_model

__version__ = "0.1.0"

__all__ = [
    "Artifact",
    "Data",
    "__version__",
    "benchmark",
    "compare",
    "errors",
    "export_model",
    "inspect",
    "load_model",
    "quantize",
]

_HOMES = {
    "Artifact": "slimedge.artifact",
    "Data": "slimedge.data",
    "benchmark": "slimedge.benchmarks.benchmarking",
    "compare": "slimedge.benchmarks.comparing",
    "export_model": "slimedge.export.exporting",
    "inspect": "slimedge.benchmarks.inspecting",
    "load_model": "slimedge.keras_file",
    "quantize": "slimedge.compress.quantization",
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("slimedge.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'slimedge' has no attribute '{name}'; it has {', '.join(__all__)}.")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
