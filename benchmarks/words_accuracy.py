"""Accuracy, size and ops of the bundled LSTM, float and quantized, on 15,000 words of six languages: `make words`.

Exits 1 where a bar is missed: in both formats quantized within 0.5 points of float, and no op in a TFLite file that
is not built into LiteRT.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from slimedge.benchmarks import words
from slimedge.benchmarks.bundled import first_output, lost_accuracy, make_files, show, write_result
from slimedge.benchmarks.demo import WORDS_MODEL
from slimedge.benchmarks.file_graph import tflite_kinds
from slimedge.data import Data

SCHEME = "auto"
LARGEST_DROP = 0.005


@dataclass(frozen=True, slots=True)
class Found:
    """What was found.

    Attributes:
        model: its name.
        scheme: of the quantization.
        examples: test words.
        accuracy: share of right languages by file.
        bytes: by file.
        bytes_share: quantized over float, by format.
        tflite_ops: op types of each TFLite file, those inside of loops too.
        missed: bars that were missed, one sentence each.
    """

    model: str
    scheme: str
    examples: int
    accuracy: dict[str, float]
    bytes: dict[str, int]
    bytes_share: dict[str, float]
    tflite_ops: dict[str, tuple[str, ...]]
    missed: tuple[str, ...]


def measure(data: Data, folder: Path, *, scheme: str = SCHEME) -> Found:
    """Make the files of the bundled LSTM and measure them on the test part of `data`."""
    name = Path(WORDS_MODEL).stem
    files = make_files(name, data, folder, scheme=scheme)
    test = data.bind(files.onnx.inputs).split().evaluation
    artifacts = files.artifacts("quantized")
    accuracy = {
        kind: float(np.mean(first_output(artifact, test).argmax(axis=1) == test.labels))
        for kind, artifact in artifacts.items()
    }
    ops = {kind: tflite_kinds(artifacts[kind].path) for kind in ("float tflite", "quantized tflite")}
    return Found(
        model=name,
        scheme=scheme,
        examples=len(test),
        accuracy=accuracy,
        bytes={kind: artifact.path.stat().st_size for kind, artifact in artifacts.items()},
        bytes_share=files.bytes_share(),
        tflite_ops=ops,
        missed=tuple(_missed(name, accuracy, ops)),
    )


def _missed(name: str, accuracy: dict[str, float], ops: dict[str, tuple[str, ...]]) -> list[str]:
    missed = lost_accuracy(name, accuracy, "quantized", LARGEST_DROP)
    missed += [f"{kind} of {name} has an op that is not built in" for kind in ops if "CUSTOM" in ops[kind]]
    return missed


def main() -> int:
    """Measure, print and write what was found, and give the exit status."""
    with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
        found = measure(words.load(), Path(folder))
    show(asdict(found))
    path = write_result("words", asdict(found))
    sys.stdout.write(f"written to {path}\n")
    return 1 if found.missed else 0


if __name__ == "__main__":
    sys.exit(main())
