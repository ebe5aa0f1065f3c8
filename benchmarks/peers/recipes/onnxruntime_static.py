"""ONNX Runtime's `quantize_static`, with its defaults or as its documentation advises for x86."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

BATCH = 32


class Reader(quantization.CalibrationDataReader):
    """Hands out the calibration images, a batch at a time."""

    def __init__(self, path: str) -> None:
        with np.load(path) as arrays:
            inputs = {name: arrays[name] for name in arrays.files if name != "y"}
        count = len(next(iter(inputs.values())))
        self._batches: Iterator[dict[str, Any]] = iter(
            {name: array[start : start + BATCH] for name, array in inputs.items()}
            for start in range(0, count, BATCH)
        )

    def get_next(self) -> dict[str, Any] | None:
        """Give the next batch, None at the end."""
        return next(self._batches, None)


def make(job: dict[str, Any]) -> None:
    """Quantize the float ONNX file.

    Args:
        job: `settings` are `prepare`, whether the file is pre-processed; `calibrate_method`, `activation_type` and
            `weight_type` by name; and others of `quantize_static`.
    """
    settings = dict(job["settings"])
    source = job["onnx"]
    if settings.pop("prepare", False):
        source = f"{job['out']}.prepared"
        quant_pre_process(job["onnx"], source)
    named = {
        "calibrate_method": quantization.CalibrationMethod,
        "activation_type": quantization.QuantType,
        "weight_type": quantization.QuantType,
    }
    settings |= {key: kinds[settings[key]] for key, kinds in named.items() if key in settings}
    quantization.quantize_static(source, job["out"], Reader(job["calibration"]), **settings)


if __name__ == "__main__":
    make(json.loads(Path(sys.argv[1]).read_text()))
