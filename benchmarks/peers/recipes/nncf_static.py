"""NNCF's post-training quantization of ONNX files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import onnx


def make(job: dict[str, Any]) -> None:
    """Quantize the float ONNX file; `settings` are `preset` by name and others of `nncf.quantize`."""
    with np.load(job["calibration"]) as arrays:
        inputs = {name: arrays[name] for name in arrays.files if name != "y"}
    count = len(next(iter(inputs.values())))
    dataset = nncf.Dataset(
        [{name: array[index : index + 1] for name, array in inputs.items()} for index in range(count)]
    )
    settings = {**job["settings"], "preset": nncf.QuantizationPreset[job["settings"]["preset"]]}
    model = nncf.quantize(onnx.load(job["onnx"]), dataset, subset_size=count, **settings)
    onnx.save(model, job["out"])


if __name__ == "__main__":
    make(json.loads(Path(sys.argv[1]).read_text()))
