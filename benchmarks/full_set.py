"""Accuracy, fidelity, integer ops and size of both bundled nets on all of Fashion-MNIST: `make full-set`.

Exits 1 where a bar is missed: int8 within 0.3 points of float, every heavy op integer, bytes at most 0.36 (ResNet-8)
and 0.45 (the smaller net) of the float file's, and on 2,000 images the class of the Keras graph on at least 99.5 %
for each runtime, and of each other.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from slimedge.benchmarks.bundled import (
    MODELS,
    full_set,
    lost_accuracy,
    make_files,
    probabilities,
    show,
    write_result,
)
from slimedge.data import Data
from slimedge.runtime.ops import heavy_ops

LARGEST_DROP = 0.003
LARGEST_SHARE = {"resnet8": 0.36, "depthwise_separable": 0.45}
FIDELITY_EXAMPLES = 2_000
LEAST_AGREEMENT = 0.995


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of one net.

    Attributes:
        model: its name.
        examples: test images.
        accuracy: share of right classes by file.
        bytes_share: int8 over float, by format.
        heavy_ops: (integer, all) of each int8 file as its runtime executes it.
        agreement: share of the same class on the first 2,000 images, by pair of int8 models.
        largest_difference: largest difference of a probability on those images, by pair.
        missed: bars that were missed, one sentence each.
    """

    model: str
    examples: int
    accuracy: dict[str, float]
    bytes_share: dict[str, float]
    heavy_ops: dict[str, tuple[int, int]]
    agreement: dict[str, float]
    largest_difference: dict[str, float]
    missed: tuple[str, ...]


def measure(name: str, data: Data, folder: Path) -> Found:
    """Make the files of one bundled net and measure them on the test part of `data`."""
    files = make_files(name, data, folder)
    specs = files.onnx.inputs
    test = data.bind(specs).split().evaluation
    truth = test.labels
    artifacts = files.artifacts()
    answers = {kind: probabilities(artifact, test) for kind, artifact in artifacts.items()}
    classes = {kind: outputs.argmax(axis=1) for kind, outputs in answers.items()}
    accuracy = {kind: float(np.mean(found == truth)) for kind, found in classes.items()}
    first = slice(FIDELITY_EXAMPLES)
    pairs = list(combinations(("int8 keras", "int8 onnx", "int8 tflite"), 2))
    agreement = {f"{a} / {b}": float(np.mean(classes[a][first] == classes[b][first])) for a, b in pairs}
    difference = {
        f"{a} / {b}": float(np.max(np.abs(answers[a][first] - answers[b][first]))) for a, b in pairs
    }
    heavy = {kind: heavy_ops(artifacts[kind]) for kind in ("int8 onnx", "int8 tflite")}
    counts = {kind: (sum(op.integer for op in ops), len(ops)) for kind, ops in heavy.items()}
    share = files.bytes_share()
    return Found(
        model=name,
        examples=len(test),
        accuracy=accuracy,
        bytes_share=share,
        heavy_ops=counts,
        agreement=agreement,
        largest_difference=difference,
        missed=tuple(_missed(name, accuracy, share, counts, agreement)),
    )


def _missed(
    name: str,
    accuracy: dict[str, float],
    share: dict[str, float],
    counts: dict[str, tuple[int, int]],
    agreement: dict[str, float],
) -> list[str]:
    missed = lost_accuracy(name, accuracy, "int8", LARGEST_DROP)
    for kind in ("onnx", "tflite"):
        if share[kind] > LARGEST_SHARE[name]:
            missed.append(f"int8 {kind} of {name} has {share[kind]:.3f} of the float bytes")
        integer, total = counts[f"int8 {kind}"]
        if integer < total or not total:
            missed.append(f"int8 {kind} of {name} runs {integer} of {total} heavy ops on integers")
    missed += [
        f"{pair} of {name} agree on {value:.2%}"
        for pair, value in agreement.items()
        if value < LEAST_AGREEMENT
    ]
    return missed


def main() -> int:
    """Measure both nets, print and write what was found, and give the exit status."""
    data = full_set()
    found = []
    for name in MODELS:
        with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
            found.append(measure(name, data, Path(folder)))
        show(asdict(found[-1]))
    path = write_result("full_set", {"nets": [asdict(one) for one in found]})
    sys.stdout.write(f"written to {path}\n")
    return 1 if any(one.missed for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
