"""Post-training quantization against quantization-aware training on all of Fashion-MNIST: `make qat`.

Each bundled net is quantized on 1,000 training images, and what that gives is trained for an epoch on the other
59,000; both are scored on the 10,000 test images, for three seeds of split and order. Exits 1 where a bar is missed:
on the mean of the seeds, trained int8 is at least as accurate as post-training int8 on every net, and ResNet-8 with
4-bit weights at most half a point below its float model.

A net and seed takes minutes: `--models`, `--seeds` and `--bits` with `--update` measure some and keep the rest.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from slimedge.artifact import Artifact
from slimedge.benchmarks.bundled import (
    CALIBRATION,
    NETS,
    RESULTS,
    first_output,
    full_set,
    show,
    write_result,
)
from slimedge.benchmarks.demo import FOLDER
from slimedge.data import Data

SEEDS = (0, 1, 2)
# The run of each net whose files are made, too.
EXPORTED_SEED, EXPORTED_BITS = 0, 8
# Arguments of `train` by the bits of the weights.
RECIPES: dict[int, dict[str, Any]] = {
    8: {"loss": "labels", "learning_rate": 2e-3},
    4: {"loss": "labels", "learning_rate": 2e-3, "gradients": "lsq", "weight_bits": 4},
}
FEW_BITS = {4: ("resnet8",)}
LARGEST_DROP = {4: 0.005}


@dataclass(frozen=True, slots=True)
class Run:
    """One net, trained with one seed.

    Attributes:
        model: its name.
        weight_bits: of the trained net.
        seed: of split and order.
        examples: test images.
        float_accuracy: share of right classes of the float model.
        post_training_accuracy: of the net quantized to int8 after training.
        trained_accuracy: of the net trained with its rounding, as a Keras graph.
        file_accuracy: of its files by format, for int8 and one seed; None for the others.
        train_s: time that training took.
    """

    model: str
    weight_bits: int
    seed: int
    examples: int
    float_accuracy: float
    post_training_accuracy: float
    trained_accuracy: float
    file_accuracy: dict[str, float] | None
    train_s: float


def measure(name: str, data: Data, bits: int, seed: int, folder: Path) -> Run:
    """Quantize and train one bundled net.

    Args:
        name: of a model in the demo folder.
        data: with the parts train and test.
        bits: of the weights that are trained.
        seed: of split and order.
        folder: for the files.
    """
    from slimedge.compress.quantization import quantize
    from slimedge.compress.training import train
    from slimedge.export.exporting import export_model
    from slimedge.keras_file import input_specs, load_model, read, save_model

    model = load_model(FOLDER / f"{name}.keras")
    parts = data.bind(input_specs(model)).split(seed=seed, calibration=CALIBRATION)
    quantized = quantize(model, parts.calibration, scheme="static_wi8_ai8")
    started = time.monotonic()
    trained = train(quantized, parts.training, teacher=model, seed=seed, **RECIPES[bits])
    train_s = time.monotonic() - started

    def accuracy(artifact: Artifact) -> float:
        found = first_output(artifact, parts.evaluation).argmax(axis=1)
        return float(np.mean(found == parts.evaluation.labels))

    kept = save_model(trained, folder / f"{name}_trained.keras")
    files = None
    if (seed, bits) == (EXPORTED_SEED, EXPORTED_BITS):
        files = {str(one.format): accuracy(one) for one in export_model(kept.path, folder=folder)}
    return Run(
        model=name,
        weight_bits=bits,
        seed=seed,
        examples=len(parts.evaluation),
        float_accuracy=accuracy(read(FOLDER / f"{name}.keras")),
        post_training_accuracy=accuracy(save_model(quantized, folder / f"{name}_int8.keras")),
        trained_accuracy=accuracy(kept),
        file_accuracy=files,
        train_s=train_s,
    )


def missed(runs: Sequence[Run]) -> list[str]:
    """Give a sentence for each bar that the mean of a net's seeds misses.

    Example:
        >>> missed([Run("net", 8, seed, 10, 0.92, 0.91, 0.90, None, 1.0) for seed in SEEDS])
        ['trained int8 of net has 90.00%, post-training int8 91.00%, on the mean of 3 seeds']
    """
    found = []
    for name, bits in sorted({(run.model, run.weight_bits) for run in runs}):
        same = [run for run in runs if (run.model, run.weight_bits) == (name, bits)]
        trained, before = (
            mean(run.trained_accuracy for run in same),
            mean(run.post_training_accuracy for run in same),
        )
        exact = mean(run.float_accuracy for run in same)
        over = f"on the mean of {len(same)} seeds"
        if bits == 8 and trained < before:
            found.append(f"trained int8 of {name} has {trained:.2%}, post-training int8 {before:.2%}, {over}")
        if exact - trained > LARGEST_DROP.get(bits, 1.0):
            found.append(f"trained int{bits} of {name} has {trained:.2%}, float {exact:.2%}, {over}")
    return found


def merged(kept: Sequence[Run], fresh: Sequence[Run]) -> list[Run]:
    """Put runs in the places of those of the same net, bits and seed, in the order of the measurement."""
    runs = {(run.model, -run.weight_bits, run.seed): run for run in (*kept, *fresh)}
    return [runs[key] for key in sorted(runs, key=lambda key: (NETS.index(key[0]), key[1:]))]


def wanted(
    models: Sequence[str], seeds: Sequence[int], bits: Sequence[int]
) -> Iterator[tuple[str, int, int]]:
    """Give model, bits and seed of each run that is asked for and has a bar."""
    for name in models:
        for width in bits:
            if name in FEW_BITS.get(width, NETS):
                yield from ((name, width, seed) for seed in seeds)


def main() -> int:
    """Measure, print and write what was found, and give the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="*", default=NETS, choices=NETS)
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    parser.add_argument("--bits", nargs="*", type=int, default=tuple(RECIPES), choices=RECIPES)
    parser.add_argument("--update", action="store_true", help="put these into what was written before")
    given = parser.parse_args()
    path = RESULTS / "qat.json"
    runs: list[Run] = []
    if given.update and path.exists():
        runs = [Run(**run) for run in json.loads(path.read_text())["runs"]]
    data = full_set()
    for name, bits, seed in wanted(given.models, given.seeds, given.bits):
        with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
            run = measure(name, data, bits, seed, Path(folder))
        show(asdict(run))
        runs = merged(runs, [run])
        path = write_result("qat", {"runs": [asdict(each) for each in runs], "missed": missed(runs)})
    sys.stdout.write(f"written to {path}\n")
    for text in missed(runs):
        sys.stdout.write(f"missed: {text}\n")
    return 1 if missed(runs) else 0


if __name__ == "__main__":
    sys.exit(main())
