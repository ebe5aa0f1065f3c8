"""Latency of two bundled nets, float and int8, in one interleaved run: `make speed`.

Beside them ONNX Runtime's own `quantize_static` (per channel, uint8 activations, int8 weights, with pre-processing) on
the same float file and the same calibration images. One thread. The bars hold on a CPU with VNNI, and the run exits 1
where one is missed there: on ResNet-8, int8 TFLite at least 2.5 times as fast as its float file and int8 ONNX 1.4
times; on both, int8 ONNX takes at most 1.03 of the time of quantize_static's file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slimedge.artifact_file import read_artifact
from slimedge.benchmarks import statistics
from slimedge.benchmarks.bundled import CALIBRATION, NETS, full_set, make_files, write_result
from slimedge.benchmarks.latency import SETTINGS, LatencyRun, Settings, measure_latency
from slimedge.comparison import Speedup
from slimedge.data import Data
from slimedge.runtime.targets import target_for

VNNI = {"avx512_vnni", "avx_vnni"}
LEAST_TFLITE_SPEEDUP = 2.5
LEAST_ONNX_SPEEDUP = 1.4
LARGEST_PEER_RATIO = 1.03


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of one net; speedups are ratios of median latencies with 95 % intervals.

    Attributes:
        model: its name.
        median_us: of each file, in microseconds.
        tflite_speedup: of int8 TFLite over float TFLite.
        onnx_speedup: of int8 ONNX over float ONNX.
        peer_ratio: time of int8 ONNX over that of quantize_static's file.
    """

    model: str
    median_us: dict[str, float]
    tflite_speedup: Speedup
    onnx_speedup: Speedup
    peer_ratio: Speedup


def quantize_static_peer(float_file: Path, calibration: Data, out: Path) -> None:
    """Quantize a float ONNX file with ONNX Runtime's own tool, as its documentation advises for x86 with VNNI."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._batches: Iterator[Any] = iter(calibration.batches(100))

        def get_next(self) -> Any:
            return next((inputs for inputs, _ in self._batches), None)

    prepared = out.with_suffix(".prepared.onnx")
    # Symbolic shape inference wants sympy and serves transformers; ONNX shape inference runs in either case.
    quant_pre_process(str(float_file), str(prepared), skip_symbolic_shape=True)
    quantization.quantize_static(
        str(prepared),
        str(out),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )


def measure(name: str, data: Data, folder: Path, settings: Settings) -> tuple[Found, LatencyRun]:
    """Make the files of one net and time them in one interleaved run."""
    files = make_files(name, data, folder)
    parts = data.bind(files.onnx.inputs).split(calibration=CALIBRATION)
    peer = folder / f"{name}_quantize_static.onnx"
    quantize_static_peer(files.onnx.path, parts.calibration, peer)
    artifacts = {
        "float onnx": files.onnx,
        "int8 onnx": files.int8_onnx,
        "quantize_static onnx": read_artifact(peer),
        "float tflite": files.tflite,
        "int8 tflite": files.int8_tflite,
    }
    inputs, _ = parts.evaluation.take(1).arrays()
    entries = [(kind, artifact, target_for(artifact)) for kind, artifact in artifacts.items()]
    run = measure_latency(entries, inputs=inputs, threads=1, batch=1, settings=settings)

    def ratio(slow: str, fast: str) -> Speedup:
        return statistics.speedup(run[slow].turn_medians(), run[fast].turn_medians())

    found = Found(
        model=name,
        median_us={entry.name: entry.latency.p50 * 1e6 for entry in run.entries},
        tflite_speedup=ratio("float tflite", "int8 tflite"),
        onnx_speedup=ratio("float onnx", "int8 onnx"),
        peer_ratio=ratio("int8 onnx", "quantize_static onnx"),
    )
    return found, run


def missed(found: Found) -> list[str]:
    """Name the bars that one net misses."""
    lines = []
    if found.model == "resnet8" and found.tflite_speedup.value < LEAST_TFLITE_SPEEDUP:
        lines.append(f"int8 TFLite is {found.tflite_speedup.value:.2f} times as fast as float")
    if found.model == "resnet8" and found.onnx_speedup.value < LEAST_ONNX_SPEEDUP:
        lines.append(f"int8 ONNX is {found.onnx_speedup.value:.2f} times as fast as float")
    if found.peer_ratio.value > LARGEST_PEER_RATIO:
        lines.append(
            f"int8 ONNX of {found.model} takes {found.peer_ratio.value:.3f} of quantize_static's time"
        )
    return lines


def main() -> int:
    """Time the nets, print and write what was found, and give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--effort", choices=list(SETTINGS), default="default")
    given = parser.parse_args()
    data = full_set()
    nets, lines, flags = [], [], set[str]()
    for name in NETS:
        with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
            found, run = measure(name, data, Path(folder), SETTINGS[given.effort])
        flags |= set(run.environment.isa)
        lines += missed(found)
        nets.append(asdict(found))
        for key, value in nets[-1].items():
            sys.stdout.write(f"{key:>16}  {value}\n")
    with_vnni = bool(VNNI & flags)
    path = write_result("speed", {"effort": given.effort, "vnni": with_vnni, "nets": nets, "missed": lines})
    sys.stdout.write("".join(f"missed: {line}\n" for line in lines) + f"written to {path}\n")
    return 1 if lines and with_vnni else 0


if __name__ == "__main__":
    sys.exit(main())
