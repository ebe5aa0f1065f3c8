"""Accuracy, fidelity, integer ops and size of the bundled nets on all of Fashion-MNIST: `make full-set`.

Exits 1 where a bar is missed: accuracy within 0.3 points of float, or the error of a reconstruction at most 5 % above
that of float; every heavy op integer; bytes at most the share of the float file's that is listed for each net; and on
2,000 images the class of the Keras graph on at least 99.5 % for each runtime, and of each other, or 30 dB between
their pictures.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.benchmarks.bundled import (
    first_output,
    full_set,
    lost_accuracy,
    make_files,
    show,
    write_result,
)
from slimedge.benchmarks.models import AUTOENCODERS, FASHION_MNIST
from slimedge.data import Data
from slimedge.export.verify import fidelity
from slimedge.runtime.ops import count_ops

LARGEST_DROP = 0.003
LARGEST_ERROR_GROWTH = 0.05
LARGEST_SHARE = {
    "resnet8": 0.36,
    "depthwise_separable": 0.45,
    "mobilenet_v3": 0.55,
    "dense_autoencoder": 0.30,
}
FIDELITY_EXAMPLES = 2_000
LEAST_AGREEMENT = 0.995
LEAST_SQNR_DB = 30.0


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of one net.

    Attributes:
        model: its name.
        examples: test images.
        accuracy: share of right classes by file; None for an autoencoder.
        squared_error: mean squared error of the reconstruction by file; None for a classifier.
        bytes_share: int8 over float, by format.
        ops: (integer, all) of each int8 file as its runtime executes it.
        heavy_ops: the same of those that multiply matrices.
        agreement: share of the same class on the first 2,000 images, by pair of int8 models; None for an autoencoder.
        sqnr_db: of the outputs on those images, by pair; None where nothing differs.
        largest_difference: of a number in the outputs, likewise.
        missed: bars that were missed, one sentence each.
    """

    model: str
    examples: int
    accuracy: dict[str, float] | None
    squared_error: dict[str, float] | None
    bytes_share: dict[str, float]
    ops: dict[str, tuple[int | None, int | None]]
    heavy_ops: dict[str, tuple[int, int]]
    agreement: dict[str, float] | None
    sqnr_db: dict[str, float | None]
    largest_difference: dict[str, float]
    missed: tuple[str, ...]


def measure(name: str, data: Data, folder: Path) -> Found:
    """Make the files of one bundled net and measure them on the test part of `data`."""
    files = make_files(name, data, folder)
    test = data.bind(files.onnx.inputs).split().evaluation
    artifacts = files.artifacts()
    answers = {kind: first_output(artifact, test) for kind, artifact in artifacts.items()}
    accuracy = squared_error = agreement = None
    pairs = {f"{a} / {b}": (a, b) for a, b in combinations(("int8 keras", "int8 onnx", "int8 tflite"), 2)}
    first = {kind: outputs[:FIDELITY_EXAMPLES] for kind, outputs in answers.items()}
    if name in AUTOENCODERS:
        squared_error = _squared_errors(answers, next(iter(test.arrays()[0].values())))
    else:
        classes = {kind: outputs.argmax(axis=1) for kind, outputs in answers.items()}
        accuracy = {kind: float(np.mean(found == test.labels)) for kind, found in classes.items()}
        agreement = {
            pair: float(np.mean(first[a].argmax(axis=1) == first[b].argmax(axis=1)))
            for pair, (a, b) in pairs.items()
        }
    close = {pair: fidelity({"output": first[a]}, {"output": first[b]}) for pair, (a, b) in pairs.items()}
    counts = {kind: count_ops(artifacts[kind]) for kind in ("int8 onnx", "int8 tflite")}
    found: dict[str, Any] = {
        "accuracy": accuracy,
        "squared_error": squared_error,
        "bytes_share": files.bytes_share(),
        "ops": {kind: (count.integer_ops, count.total_ops) for kind, count in counts.items()},
        "heavy_ops": {
            kind: (sum(op.integer for op in count.heavy), len(count.heavy)) for kind, count in counts.items()
        },
        "agreement": agreement,
        "sqnr_db": {pair: measured.sqnr_db for pair, measured in close.items()},
        "largest_difference": {
            pair: float(np.max(np.abs(first[a] - first[b]))) for pair, (a, b) in pairs.items()
        },
    }
    return Found(name, len(test), missed=tuple(_missed(name, found)), **found)


def _squared_errors(answers: Mapping[str, NDArray[np.float32]], pictures: NDArray[Any]) -> dict[str, float]:
    return {
        kind: float(np.mean(np.square(outputs - pictures.reshape(outputs.shape), dtype=np.float64)))
        for kind, outputs in answers.items()
    }


def _missed(name: str, found: Mapping[str, Any]) -> list[str]:
    """Name the bars that one net misses, of what was found."""
    missed = []
    if found["accuracy"] is not None:
        missed += lost_accuracy(name, found["accuracy"], "int8", LARGEST_DROP)
    for kind in ("onnx", "tflite"):
        if found["squared_error"] is not None:
            growth = found["squared_error"][f"int8 {kind}"] / found["squared_error"][f"float {kind}"] - 1
            if growth > LARGEST_ERROR_GROWTH:
                missed.append(f"the squared error of int8 {kind} of {name} is {growth:.1%} above float")
        if found["bytes_share"][kind] > LARGEST_SHARE[name]:
            missed.append(f"int8 {kind} of {name} has {found['bytes_share'][kind]:.3f} of the float bytes")
        integer, total = found["heavy_ops"][f"int8 {kind}"]
        if integer < total or not total:
            missed.append(f"int8 {kind} of {name} runs {integer} of {total} heavy ops on integers")
    if found["agreement"] is not None:
        return missed + [
            f"{pair} of {name} agree on {value:.2%}"
            for pair, value in found["agreement"].items()
            if value < LEAST_AGREEMENT
        ]
    return missed + [
        f"{pair} of {name} differ with {level:.1f} dB"
        for pair, level in found["sqnr_db"].items()
        if level is not None and level < LEAST_SQNR_DB
    ]


def main() -> int:
    """Measure the nets, print and write what was found, and give the exit status."""
    data = full_set()
    found = []
    for name in FASHION_MNIST:
        with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
            found.append(measure(name, data, Path(folder)))
        show(asdict(found[-1]))
    path = write_result("full_set", {"nets": [asdict(one) for one in found]})
    sys.stdout.write(f"written to {path}\n")
    return 1 if any(one.missed for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
