"""litert-quantizer with one of its own recipes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from litert_quantizer import quantizer, recipe


def make(job: dict[str, Any]) -> None:
    """Quantize the float TFLite file; `settings` are `recipe`, a function of `litert_quantizer.recipe`."""
    worker = quantizer.Quantizer(job["tflite"])
    worker.load_quantization_recipe(getattr(recipe, job["settings"]["recipe"])())
    ranges = None
    if worker.need_calibration:
        with np.load(job["calibration"]) as arrays:
            inputs = {name: arrays[name] for name in arrays.files if name != "y"}
        examples = [
            {name: array[index : index + 1] for name, array in inputs.items()}
            for index in range(len(next(iter(inputs.values()))))
        ]
        ranges = worker.calibrate({"serving_default": examples})
    Path(job["out"]).write_bytes(bytes(worker.quantize(ranges).quantized_model))


if __name__ == "__main__":
    make(json.loads(Path(sys.argv[1]).read_text()))
