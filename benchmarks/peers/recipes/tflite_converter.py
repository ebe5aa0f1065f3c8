"""TensorFlow's TFLiteConverter: full int8 with a representative dataset, from a SavedModel."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


def make(job: dict[str, Any]) -> None:
    """Convert the SavedModel to integer operators; inputs and outputs stay float."""
    with np.load(job["calibration"]) as arrays:
        inputs = {name: arrays[name] for name in arrays.files if name != "y"}

    def representative() -> Iterator[dict[str, Any]]:
        for index in range(len(next(iter(inputs.values())))):
            yield {name: array[index : index + 1] for name, array in inputs.items()}

    converter = tf.lite.TFLiteConverter.from_saved_model(job["saved_model"])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    Path(job["out"]).write_bytes(converter.convert())


if __name__ == "__main__":
    make(json.loads(Path(sys.argv[1]).read_text()))
