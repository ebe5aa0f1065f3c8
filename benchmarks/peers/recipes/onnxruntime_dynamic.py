"""ONNX Runtime's `quantize_dynamic`: int8 weights, activations rounded as they come."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from onnxruntime.quantization import quantize_dynamic


def make(job: dict[str, Any]) -> None:
    """Quantize the float ONNX file with the defaults."""
    quantize_dynamic(job["onnx"], job["out"], **job["settings"])


if __name__ == "__main__":
    make(json.loads(Path(sys.argv[1]).read_text()))
