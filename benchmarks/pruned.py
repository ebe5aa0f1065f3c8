"""Pruned ResNet-8 on all of Fashion-MNIST, float and as int8 files: `make pruned`.

The net is pruned while it trains on the 55,000 images that it was trained on; the 5,000 that were held out are for
choosing recipes. Exits 1 where a bar is missed: accuracy on the test images at most so many points below float; at
80 %, at least 79.9 % zeros among the int8 weights of both files, and at most 45 % of the bytes that the dense int8 file
has after gzip.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slimedge.benchmarks.bundled import (
    CALIBRATION,
    RESULTS,
    conclude,
    first_output,
    paired,
    seen_and_test,
    show,
    write_result,
)
from slimedge.benchmarks.demo import FOLDER
from slimedge.benchmarks.qat_recipe import held_out_set
from slimedge.benchmarks.size import gzip_bytes
from slimedge.data import Data

if TYPE_CHECKING:
    import keras

    from slimedge.artifact import Artifact

MODEL = "resnet8"
# Points of accuracy that each may lose against float.
LARGEST_DROP = {"unstructured 0.8": 0.010, "unstructured 0.5": 0.003, "2:4 0.5": 0.005}
LEAST_ZEROS = {"unstructured 0.8": 0.799}
LARGEST_GZIP_SHARE = {"unstructured 0.8": 0.45}
# The rate is the one that `qat_recipe` found. On the held-out images, at 80 % zeros before any training and with
# BatchNorm's statistics measured again, 83.6 % are right where the smallest of all layers went, else 24.6 %.
RATE = {"learning_rate": 2e-3, "loss": "labels"}
RECIPES: dict[str, dict[str, Any]] = {
    "unstructured 0.8": {"epochs": 2, "ranking": "global", **RATE},
    "unstructured 0.5": {"epochs": 1, "ranking": "global", **RATE},
    "2:4 0.5": {"epochs": 1, **RATE},
}
SEEDS = (0,)


@dataclass(frozen=True, slots=True)
class Run:
    """The net pruned once.

    Attributes:
        kind: pattern and sparsity.
        seed: of split and order.
        examples: test images.
        recipe: how it was trained.
        float_accuracy: share of right classes.
        pruned_accuracy: likewise, of the pruned float net.
        difference: of the two on the same images, with the ends of its 95 % interval.
        held_out_difference: likewise, on the 5,000 training images that neither training saw; recipes are chosen there.
        layer_sparsity: share of zeros in each layer.
        int8_accuracy: of the quantized file, by format.
        int8_zeros: share of zeros among its int8 weights, likewise.
        gzip_share: its bytes after gzip over those of the dense int8 file, likewise.
        train_s: time that pruning took.
    """

    kind: str
    seed: int
    examples: int
    recipe: dict[str, Any]
    float_accuracy: float
    pruned_accuracy: float
    difference: tuple[float, float, float]
    held_out_difference: tuple[float, float, float]
    layer_sparsity: dict[str, float]
    int8_accuracy: dict[str, float]
    int8_zeros: dict[str, float]
    gzip_share: dict[str, float]
    train_s: float


def measure(kind: str, data: Data, held_out: Data, seed: int, folder: Path) -> Run:
    """Prune the net, quantize what that gives, and score both on the test images.

    Args:
        kind: pattern and sparsity.
        data: with the parts train and test.
        held_out: likewise, with images that are not for the test.
        seed: of split and order.
        folder: for files.
    """
    from slimedge.compress.pruning import prune
    from slimedge.compress.quantization import quantize
    from slimedge.export.exporting import export_model
    from slimedge.keras_file import input_specs, load_model, save_model
    from slimedge.lineage import lineage_of

    model = load_model(FOLDER / f"{MODEL}.keras")
    parts = data.bind(input_specs(model)).split(seed=seed, calibration=CALIBRATION)
    pattern, sparsity = kind.split()
    started = time.monotonic()
    pruned = prune(
        model, parts.training, pattern=pattern, sparsity=float(sparsity), seed=seed, **RECIPES[kind]
    )
    train_s = time.monotonic() - started

    def files(network: keras.Model, name: str) -> dict[str, Artifact]:
        made = quantize(network, parts.calibration, scheme="static_wi8_ai8")
        kept = save_model(made, folder / f"{name}.keras")
        return {str(one.format): one for one in export_model(kept.path, folder=folder)}

    dense, sparse = files(model, "dense"), files(pruned, "sparse")
    before, after = (
        save_model(network, folder / f"{name}.keras")
        for name, network in (("float", model), ("pruned", pruned))
    )
    labels = np.asarray(parts.evaluation.labels)
    exact, accuracy, delta = paired(before, after, parts.evaluation)
    right = {
        kind: first_output(one, parts.evaluation).argmax(axis=1) == labels for kind, one in sparse.items()
    }
    others = held_out.bind(input_specs(model)).split(seed=seed, calibration=CALIBRATION).evaluation
    return Run(
        kind=kind,
        seed=seed,
        examples=len(labels),
        recipe=RECIPES[kind],
        float_accuracy=exact,
        pruned_accuracy=accuracy,
        difference=delta,
        held_out_difference=paired(before, after, others)[2],
        layer_sparsity=dict(lineage_of(pruned)[-1].settings["layer_sparsity"]),
        int8_accuracy={kind: float(found.mean()) for kind, found in right.items()},
        int8_zeros={kind: _zeros(one) for kind, one in sparse.items()},
        gzip_share={
            kind: gzip_bytes([one.path]) / gzip_bytes([dense[kind].path]) for kind, one in sparse.items()
        },
        train_s=train_s,
    )


def _zeros(artifact: Artifact) -> float:
    from slimedge import onnx_file, tflite_file

    count: dict[str, Callable[..., tuple[int, int]]] = {
        "onnx": onnx_file.weights_summary,
        "tflite": tflite_file.weights_summary,
    }
    parameters, nonzero = count[str(artifact.format)](artifact.path, types=("int8", "uint8"))
    return 1 - nonzero / parameters


def missed(runs: Sequence[Run]) -> list[str]:
    """Give a sentence for each bar that is missed."""
    found = []
    for run in runs:
        what = f"{run.kind} with seed {run.seed}"
        lost = run.float_accuracy - run.pruned_accuracy
        if lost > LARGEST_DROP[run.kind]:
            found.append(f"{what} loses {lost:.2%}, at most {LARGEST_DROP[run.kind]:.2%} is allowed")
        for kind, share in run.int8_zeros.items():
            if share < LEAST_ZEROS.get(run.kind, 0):
                found.append(f"{what}: {share:.2%} of the int8 weights in {kind} are 0")
        for kind, share in run.gzip_share.items():
            if share > LARGEST_GZIP_SHARE.get(run.kind, 1):
                found.append(f"{what}: {kind} has {share:.1%} of the dense file's bytes after gzip")
    return found


def merged(kept: Sequence[Run], fresh: Sequence[Run]) -> list[Run]:
    """Put runs in the places of those of the same kind and seed, in the order of the measurement."""
    order = list(LARGEST_DROP)
    runs = {(order.index(run.kind), run.seed): run for run in (*kept, *fresh)}
    return [runs[key] for key in sorted(runs)]


def main() -> int:
    """Measure, print and write what was found, and give the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", nargs="*", default=tuple(LARGEST_DROP), choices=LARGEST_DROP)
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    parser.add_argument("--update", action="store_true", help="put these into what was written before")
    given = parser.parse_args()
    path = RESULTS / "pruned.json"
    runs: list[Run] = []
    if given.update and path.exists():
        runs = [Run(**run) for run in json.loads(path.read_text())["runs"]]
    data, held_out = seen_and_test(), held_out_set()
    for kind, seed in itertools.product(given.kinds, given.seeds):
        with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
            run = measure(kind, data, held_out, seed, Path(folder))
        show(asdict(run))
        runs = merged(runs, [run])
        write_result("pruned", {"runs": [asdict(each) for each in runs], "missed": missed(runs)})
    return conclude("pruned", {"runs": [asdict(each) for each in runs]}, missed(runs))


if __name__ == "__main__":
    sys.exit(main())
