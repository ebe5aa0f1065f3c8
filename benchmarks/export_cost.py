"""Memory and time of exporting ResNet50, float and int8, to both formats: `make export-cost`.

ResNet50 of keras.applications, without trained weights, at 224×224: 100 MB of weights. Ours are the commands that a
user types (`slimedge export`, `slimedge quantize`, `slimedge export`); beside them, in the same run, the plain
library calls that make the same four files: tf2onnx, `quantize_static` and the TFLite converter with the same 32
calibration images. Memory is that of the whole process tree: resident pages, those that processes share counted once
(PSS). Exits 1 where our peak is over 3 GB, or our time over theirs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from slimedge.benchmarks.bundled import write_result

SIZE = 224
CALIBRATION = 32
EVALUATION = 8
LARGEST_PEAK_BYTES = 3_000_000_000
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Cost:
    """What one command took.

    Attributes:
        what: it did.
        seconds: of wall time.
        cpu_seconds: of the process and the children that it waited for.
        peak_bytes: largest memory of the process tree.
    """

    what: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int


def measured(what: str, command: list[str]) -> Cost:
    """Run a command to its end and watch its process tree.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    started, before = time.monotonic(), os.times()
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.Popen(
        command, env={**os.environ, **quiet}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(POLL_S):
            peak[0] = max(peak[0], _tree_bytes(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    status = process.wait()
    done.set()
    watcher.join()
    if status:
        raise subprocess.CalledProcessError(status, command)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(what, time.monotonic() - started, used, peak[0])


def _tree_bytes(pid: int) -> int:
    total = 0
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        for member in (parent, *parent.children(recursive=True)):
            total += int(member.memory_full_info().pss)
    return total


def prepare(folder: Path) -> tuple[Path, Path]:
    """Write the model and smooth seeded pictures; give their paths."""
    import keras

    keras.utils.set_random_seed(0)
    model = folder / "resnet50.keras"
    keras.applications.ResNet50(weights=None, input_shape=(SIZE, SIZE, 3)).save(model)
    generator = np.random.default_rng(0)
    pictures = generator.random((CALIBRATION + EVALUATION, 14, 14, 3), np.float32)
    pictures = pictures.repeat(SIZE // 14, axis=1).repeat(SIZE // 14, axis=2)
    data = folder / "pictures.npz"
    np.savez(data, x=pictures)
    return model, data


def ours(model: Path, data: Path, folder: Path) -> Iterator[Cost]:
    """Run the three commands of slimedge."""
    program = [sys.executable, "-m", "slimedge.cli"]
    quantized = folder / "resnet50_int8.keras"
    yield measured("export float", [*program, "export", str(model), "-o", str(folder)])
    calibration = ["--calibration", str(CALIBRATION), "--evaluation", str(EVALUATION)]
    yield measured(
        "quantize",
        [*program, "quantize", str(model), "--data", str(data), *calibration, "-o", str(quantized)],
    )
    yield measured("export int8", [*program, "export", str(quantized), "-o", str(folder)])


def plain(model: Path, data: Path, folder: Path) -> Iterator[Cost]:
    """Make the same four files with the libraries' own calls, in one process."""
    command = [
        sys.executable,
        "-m",
        "slimedge.benchmarks.export_cost",
        "--plain",
        str(model),
        str(data),
        str(folder),
    ]
    yield measured("plain calls", command)


def plain_calls(model_path: Path, data: Path, folder: Path) -> None:
    """Call tf2onnx, ONNX Runtime's quantizer and the TFLite converter as their documentation shows."""
    import keras
    import onnx
    import tensorflow as tf
    import tf2onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model = keras.models.load_model(model_path)
    name = model.inputs[0].name
    pictures = np.load(data)["x"][:CALIBRATION]
    function = tf.function(lambda x: model(x, training=False))
    signature = [tf.TensorSpec(model.inputs[0].shape, tf.float32, name=name)]
    proto, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=17)
    float_onnx, prepared = folder / "plain.onnx", folder / "plain_prepared.onnx"
    onnx.save(proto, float_onnx)
    quant_pre_process(str(float_onnx), str(prepared), skip_symbolic_shape=True)

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._batches = iter(np.split(pictures, CALIBRATION // 8))

        def get_next(self) -> Any:
            batch = next(self._batches, None)
            return None if batch is None else {name: batch}

    quantization.quantize_static(
        str(prepared),
        str(folder / "plain_int8.onnx"),
        Reader(),
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    (folder / "plain.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([picture[None]] for picture in pictures)
    (folder / "plain_int8.tflite").write_bytes(converter.convert())


def main() -> int:
    """Measure ours and the plain calls, print and write what was found, and give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--plain", nargs=3, type=Path, metavar=("MODEL", "DATA", "FOLDER"), help=argparse.SUPPRESS
    )
    parser.add_argument("--rounds", type=int, default=1, help="how often each is run, in turns")
    given = parser.parse_args()
    if given.plain:
        plain_calls(*given.plain)
        return 0
    costs: dict[str, list[list[Cost]]] = {"ours": [], "plain": []}
    with tempfile.TemporaryDirectory(prefix="slimedge-") as name:
        folder = Path(name)
        model, data = prepare(folder)
        for turn in range(given.rounds):
            sides = [("ours", ours), ("plain", plain)]
            for side, run in sides if turn % 2 == 0 else reversed(sides):
                costs[side].append([])
                for cost in run(model, data, folder):
                    costs[side][-1].append(cost)
                    sys.stdout.write(
                        f"{side:>6}  {cost.what:<14}  {cost.seconds:6.1f} s  {cost.cpu_seconds:6.1f} s cpu  "
                        f"{cost.peak_bytes / 1e9:.2f} GB\n"
                    )
                    sys.stdout.flush()
    peak = {side: max(cost.peak_bytes for run in runs for cost in run) for side, runs in costs.items()}
    seconds = {
        side: float(np.median([sum(c.seconds for c in run) for run in runs])) for side, runs in costs.items()
    }
    summary: dict[str, Any] = {"peak_bytes": peak, "seconds": seconds}
    summary["runs"] = {side: [[asdict(cost) for cost in run] for run in runs] for side, runs in costs.items()}
    path = write_result("export_cost", summary)
    sys.stdout.write(
        f"peak {peak['ours'] / 1e9:.2f} GB against {peak['plain'] / 1e9:.2f}; {seconds['ours']:.0f} s against "
        f"{seconds['plain']:.0f}; written to {path}\n"
    )
    return int(peak["ours"] > LARGEST_PEAK_BYTES or seconds["ours"] > seconds["plain"])


if __name__ == "__main__":
    sys.exit(main())
