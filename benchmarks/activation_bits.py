"""What activations of 16 bits give over those of 8: `make activation-bits`.

Each bundled classifier is quantized on the same 512 training images and compared on all 10,000 test images of
Fashion-MNIST: the Keras graph with the float net, each file with the Keras graph, and the two files with each other.
Exits 1 where a bar is missed: every pair agrees on the class of at least 99.5 % of the images; accuracy is within 0.3
points of float; and 16 bits have a higher SQNR than 8.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from slimedge.artifact_file import read_artifact
from slimedge.benchmarks.bundled import conclude, first_output, full_set, show
from slimedge.benchmarks.demo import FOLDER
from slimedge.benchmarks.models import AUTOENCODERS, FASHION_MNIST
from slimedge.compress.quantization import quantize
from slimedge.data import Data
from slimedge.export.exporting import export_model
from slimedge.export.verify import fidelity
from slimedge.keras_file import input_specs, load_model, save_model
from slimedge.lineage import lineage_of
from slimedge.runtime.ops import count_ops

EXAMPLES = 512
SCHEMES = ("static_wi8_ai8", "static_wi8_ai16")
LEAST_AGREEMENT = 0.995
LARGEST_DROP = 0.003


@dataclass(frozen=True, slots=True)
class Run:
    """One net with one scheme.

    Attributes:
        model: name.
        scheme: likewise.
        examples: test images.
        float_accuracy: share of them.
        accuracy: likewise, by `keras`, `onnx` and `tflite`.
        sqnr_db: of the Keras graph's outputs against the float net.
        agreement: share of images of the same class, by pair.
        pair_sqnr_db: of the outputs, by pair; None where nothing differs.
        ops: (integer, all) of each file as its runtime executes it.
        float_layers: layers that stayed float, with the reason.
    """

    model: str
    scheme: str
    examples: int
    float_accuracy: float
    accuracy: Mapping[str, float]
    sqnr_db: float | None
    agreement: Mapping[str, float]
    pair_sqnr_db: Mapping[str, float | None]
    ops: Mapping[str, tuple[int | None, int | None]]
    float_layers: Mapping[str, str]


def missed(runs: Sequence[Run]) -> list[str]:
    """Give a sentence for each bar that is missed."""
    found = []
    for run in runs:
        found += [
            f"{pair} of {run.model} ({run.scheme}) agree on {share:.2%}"
            for pair, share in run.agreement.items()
            if share < LEAST_AGREEMENT
        ]
        found += [
            f"{kind} of {run.model} ({run.scheme}) loses {run.float_accuracy - share:.2%}"
            for kind, share in run.accuracy.items()
            if run.float_accuracy - share > LARGEST_DROP
        ]
    levels = {(run.model, run.scheme): run.sqnr_db for run in runs}
    for name in dict.fromkeys(run.model for run in runs):
        narrow, wide = (levels.get((name, scheme)) for scheme in SCHEMES)
        if narrow is not None and wide is not None and wide <= narrow:
            found.append(f"{name} has {wide:.1f} dB with 16 bits and {narrow:.1f} dB with 8")
    return found


def measure(name: str, data: Data, folder: Path) -> list[Run]:
    """Quantize one net with each scheme, export it, and compare all on the test part of `data`."""
    source = FOLDER / f"{name}.keras"
    model = load_model(source)
    parts = data.bind(input_specs(model)).split(calibration=EXAMPLES)
    test = parts.evaluation
    exact = first_output(read_artifact(source), test)

    def accuracy(outputs: Any) -> float:
        return float(np.mean(outputs.argmax(axis=1) == test.labels))

    runs = []
    for scheme in SCHEMES:
        quantized = quantize(model, parts.calibration, scheme=scheme)
        path = folder / f"{name}_{scheme}.keras"
        save_model(quantized, path)
        artifacts = {str(artifact.format): artifact for artifact in export_model(path, folder=folder)}
        artifacts = {"keras": read_artifact(path), **artifacts}
        outputs = {kind: first_output(artifact, test) for kind, artifact in artifacts.items()}
        pairs = {
            f"{one} / {other}": (outputs[one], outputs[other]) for one, other in combinations(outputs, 2)
        }
        counts = {kind: count_ops(artifacts[kind]) for kind in ("onnx", "tflite")}
        run = Run(
            name,
            scheme,
            len(test),
            accuracy(exact),
            {kind: accuracy(array) for kind, array in outputs.items()},
            fidelity({"": exact}, {"": outputs["keras"]}).sqnr_db,
            {pair: float(np.mean(a.argmax(axis=1) == b.argmax(axis=1))) for pair, (a, b) in pairs.items()},
            {pair: fidelity({"": a}, {"": b}).sqnr_db for pair, (a, b) in pairs.items()},
            {kind: (count.integer_ops, count.total_ops) for kind, count in counts.items()},
            lineage_of(quantized)[-1].settings["float_layers"],
        )
        show(asdict(run))
        runs.append(run)
    return runs


def main() -> int:
    """Measure, print and write what was found, and give the exit status."""
    data, runs = full_set(), []
    for name in (name for name in FASHION_MNIST if name not in AUTOENCODERS):
        with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
            runs += measure(name, data, Path(folder))
    found = {"calibration_examples": EXAMPLES, "runs": [asdict(run) for run in runs]}
    return conclude("activation_bits", found, missed(runs))


if __name__ == "__main__":
    sys.exit(main())
