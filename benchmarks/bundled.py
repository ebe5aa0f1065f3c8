"""The bundled models as files of every kind, for the measurements under benchmarks/."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import Artifact
from slimedge.artifact_file import read_artifact
from slimedge.benchmarks.accuracy import score
from slimedge.benchmarks.demo import DEBIAN_FOLDER, FOLDER
from slimedge.benchmarks.models import AUTOENCODERS, IMAGE_SHAPE
from slimedge.benchmarks.predicting import predict
from slimedge.benchmarks.training import HELD_OUT
from slimedge.data import Data
from slimedge.errors import UnavailableError
from slimedge.runtime.jobs import environment_here
from slimedge.runtime.targets import target_for

# The two that most measurements are made on.
NETS = ("resnet8", "depthwise_separable")
CALIBRATION = 1_000
RESULTS = Path("benchmarks/results")
PACKAGES = ("tensorflow", "keras", "onnx", "onnxruntime", "ai-edge-litert", "tf2onnx", "numpy")


@dataclass(frozen=True, slots=True)
class Files:
    """One model, float and quantized, in every format."""

    keras: Path
    int8_keras: Path
    onnx: Artifact
    tflite: Artifact
    int8_onnx: Artifact
    int8_tflite: Artifact

    def artifacts(self, quantized: str = "int8") -> dict[str, Artifact]:
        """Give every file by `float FORMAT` and `QUANTIZED FORMAT`."""
        return {
            "float keras": read_artifact(self.keras),
            f"{quantized} keras": read_artifact(self.int8_keras),
            "float onnx": self.onnx,
            f"{quantized} onnx": self.int8_onnx,
            "float tflite": self.tflite,
            f"{quantized} tflite": self.int8_tflite,
        }

    def bytes_share(self) -> dict[str, float]:
        """Give the bytes of the quantized over those of the float file, by format."""
        pairs = {"onnx": (self.int8_onnx, self.onnx), "tflite": (self.int8_tflite, self.tflite)}
        return {
            kind: small.path.stat().st_size / large.path.stat().st_size
            for kind, (small, large) in pairs.items()
        }


def require_full_set() -> None:
    """Raise where Fashion-MNIST is not installed.

    Raises:
        UnavailableError: it is not.
    """
    if not DEBIAN_FOLDER.is_dir():
        raise UnavailableError(
            f"the full Fashion-MNIST set is not in {DEBIAN_FOLDER}; on Debian and Ubuntu, apt-get install "
            "dataset-fashion-mnist."
        )


def full_set() -> Data:
    """Give all of Fashion-MNIST, pixels in 0…1.

    Raises:
        UnavailableError: it is not installed.
    """
    require_full_set()
    return Data.load(DEBIAN_FOLDER, scale="1/255")


def full_set_for(name: str) -> Data:
    """Give all of Fashion-MNIST with what a bundled model should give: classes, or the pictures for an autoencoder."""
    if name not in AUTOENCODERS:
        return full_set()
    require_full_set()
    parts = []
    for part in ("train", "test"):
        (images,) = Data.load(DEBIAN_FOLDER, part=part, scale="1/255").arrays()[0].values()
        pictures = images.reshape(-1, *IMAGE_SHAPE)
        parts.append((pictures, pictures))
    return Data.load(tuple(parts))


def seen_and_test() -> Data:
    """Give the images that the bundled nets were trained on as the part train, and the test images."""
    require_full_set()
    parts = {part: Data.load(DEBIAN_FOLDER, part=part, scale="1/255").arrays() for part in ("train", "test")}
    (images,), classes = parts["train"][0].values(), np.asarray(parts["train"][1])
    (tests,), truth = parts["test"][0].values(), np.asarray(parts["test"][1])
    return Data.load(((images[:-HELD_OUT], classes[:-HELD_OUT]), (tests, truth)))


def make_files(
    name: str, data: Data, folder: Path, *, scheme: str = "static_wi8_ai8", integers: str | None = None
) -> Files:
    """Quantize a bundled model on 1,000 training examples and export it, float and quantized, to both formats.

    Args:
        name: of a model in the demo folder.
        data: with a train part.
        folder: for the files.
        scheme: of the quantization.
        integers: of the quantized ONNX file; None for those that suit this machine.
    """
    from slimedge.compress.quantization import quantize
    from slimedge.export.exporting import export_model
    from slimedge.keras_file import input_specs, load_model, save_model

    source = FOLDER / f"{name}.keras"
    model = load_model(source)
    calibration = data.bind(input_specs(model)).split(calibration=CALIBRATION).calibration
    quantized = folder / f"{name}_int8.keras"
    save_model(quantize(model, calibration, scheme=scheme), quantized)
    onnx, tflite = export_model(source, folder=folder)
    int8_onnx, int8_tflite = export_model(quantized, folder=folder, integers=integers)
    return Files(source, quantized, onnx, tflite, int8_onnx, int8_tflite)


def first_output(artifact: Artifact, data: Data) -> NDArray[np.float32]:
    """Give the first output of a file for all of the data, which is bound to its inputs."""
    outputs = predict(artifact, target_for(artifact), data, inputs=artifact.inputs).outputs
    if outputs is None:
        raise ValueError(f"{artifact.path} gave no outputs")
    return outputs[0]


def paired(before: Artifact, after: Artifact, data: Data) -> tuple[float, float, tuple[float, float, float]]:
    """Give the accuracy of two files on the same examples, and the difference with its 95 % interval."""
    exact, changed = (first_output(one, data) for one in (before, after))
    labels = np.asarray(data.labels)
    first, second = score(exact, None, labels), score(changed, exact, labels)
    if first.accuracy is None or second.accuracy is None or second.accuracy_delta is None:
        raise ValueError(f"{before.path} gives no classes")
    delta = second.accuracy_delta
    return first.accuracy.value, second.accuracy.value, (delta.value, delta.low, delta.high)


def lost_accuracy(name: str, accuracy: Mapping[str, float], quantized: str, largest_drop: float) -> list[str]:
    """Give a sentence for each format in which quantization costs more accuracy than is allowed.

    Args:
        name: of the model.
        accuracy: by `float FORMAT` and `QUANTIZED FORMAT`.
        quantized: what the keys call the quantized files.
        largest_drop: that is allowed, as a share.
    """
    drops = {kind: accuracy[f"float {kind}"] - accuracy[f"{quantized} {kind}"] for kind in ("onnx", "tflite")}
    return [
        f"{quantized} {kind} of {name} loses {drop:.2%}, at most {largest_drop:.2%} is allowed"
        for kind, drop in drops.items()
        if drop > largest_drop
    ]


def show(found: Mapping[str, Any]) -> None:
    """Print what a measurement found, a line each."""
    for key, value in found.items():
        sys.stdout.write(f"{key:>20}  {value}\n")


def conclude(name: str, measured: Mapping[str, Any], missed: Sequence[str]) -> int:
    """Write what was found with the bars that were missed, print these, and give the exit status."""
    path = write_result(name, {**measured, "missed": list(missed)})
    sys.stdout.write("".join(f"missed: {bar}\n" for bar in missed) + f"written to {path}\n")
    return 1 if missed else 0


def write_result(name: str, measured: Mapping[str, Any]) -> Path:
    """Write what a measurement found, with the environment, to benchmarks/results/NAME.json."""
    environment = asdict(environment_here(1, PACKAGES))
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"environment": environment, **measured}, indent=1) + "\n")
    return path
