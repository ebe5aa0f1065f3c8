"""The bundled models as files of every kind, for the measurements under benchmarks/."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slimedge.artifact import Artifact
from slimedge.benchmarks.demo import DEBIAN_FOLDER, FOLDER
from slimedge.data import Data
from slimedge.errors import UnavailableError
from slimedge.runtime.devices.local import Local

MODELS = ("resnet8", "depthwise_separable")
CALIBRATION = 1_000
RESULTS = Path("benchmarks/results")
PACKAGES = ("tensorflow", "keras", "onnx", "onnxruntime", "ai-edge-litert", "tf2onnx", "numpy")


@dataclass(frozen=True, slots=True)
class Files:
    """One model, float and int8, in every format."""

    keras: Path
    int8_keras: Path
    onnx: Artifact
    tflite: Artifact
    int8_onnx: Artifact
    int8_tflite: Artifact


def full_set() -> Data:
    """Give all of Fashion-MNIST, pixels in 0…1.

    Raises:
        UnavailableError: it is not installed.
    """
    if not DEBIAN_FOLDER.is_dir():
        raise UnavailableError(
            f"the full Fashion-MNIST set is not in {DEBIAN_FOLDER}; on Debian and Ubuntu, apt-get install "
            "dataset-fashion-mnist."
        )
    return Data.load(DEBIAN_FOLDER, scale="1/255")


def make_files(name: str, data: Data, folder: Path) -> Files:
    """Quantize a bundled model on 1,000 training images and export it, float and int8, to both formats.

    Args:
        name: one of `MODELS`.
        data: with a train part.
        folder: for the files.
    """
    from slimedge.compress.quantization import quantize
    from slimedge.export.exporting import export_model
    from slimedge.keras_file import input_specs, load_model, save_model

    source = FOLDER / f"{name}.keras"
    model = load_model(source)
    calibration = data.bind(input_specs(model)).split(calibration=CALIBRATION).calibration
    quantized = folder / f"{name}_int8.keras"
    save_model(quantize(model, calibration), quantized)
    onnx, tflite = export_model(source, folder=folder)
    int8_onnx, int8_tflite = export_model(quantized, folder=folder)
    return Files(source, quantized, onnx, tflite, int8_onnx, int8_tflite)


def write_result(name: str, measured: Mapping[str, Any]) -> Path:
    """Write what a measurement found, with the environment, to benchmarks/results/NAME.json."""
    environment = asdict(Local().environment(1, PACKAGES))
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"environment": environment, **measured}, indent=1) + "\n")
    return path
