"""Accuracy and compressed size of a bundled net whose layers have 16 values each, dense and pruned: `make clustered`.

ResNet-8 on all of Fashion-MNIST. Rate and loss are chosen on the 5,000 held-out training images (`--only recipes`); the
test images are looked at with the chosen ones alone. Exits 1 where a bar is missed: at most 0.5 points below float, the
exported float files at most 30 % of the float net's after gzip, at most 16 values in each weight, and every zero of
pruning still a zero.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import Artifact
from slimedge.benchmarks.accuracy import Score, score
from slimedge.benchmarks.bundled import RESULTS, conclude, first_output, seen_and_test, show
from slimedge.benchmarks.demo import FOLDER
from slimedge.benchmarks.pruned import RECIPES
from slimedge.benchmarks.qat_recipe import held_out_set
from slimedge.benchmarks.weighing import weigh
from slimedge.comparison import Accuracy, AccuracyDelta

if TYPE_CHECKING:
    import keras

NET = "resnet8"
FORMATS = ("onnx", "tflite")
CLUSTERS = 16
# Rates and losses that are tried; None trains towards the float net's outputs.
CANDIDATES: tuple[tuple[float, str | None], ...] = ((3e-4, None), (1e-3, None))
RATE, EPOCHS = 1e-3, 1
LOSS: str | None = None
# Shares of zeros that pruning leaves, with the recipes of `pruned`.
SPARSITIES = (0.5, 0.8)
LARGEST_DROP = 0.005
LARGEST_GZIP_SHARE = 0.30


@dataclass(frozen=True, slots=True)
class Tried:
    """One recipe on the held-out images.

    Attributes:
        learning_rate: the highest.
        loss: `labels`, or `distillation`.
        epochs: passes over the training images.
        float_accuracy: share of the held-out images.
        untrained_accuracy: likewise, with the centroids of k-means.
        accuracy: likewise, trained.
        train_s: time that training took.
    """

    learning_rate: float
    loss: str
    epochs: int
    float_accuracy: float
    untrained_accuracy: float
    accuracy: float
    train_s: float


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of one clustered net.

    Attributes:
        sparsity: that pruning was asked for before; None where nothing was pruned.
        training_examples: images that pruning and clustering trained on.
        accuracy: of the clustered net's file, by format.
        accuracy_delta: against the float net's file of that format, paired.
        file_bytes: of the clustered net's file, by format.
        gzip_bytes: the same after gzip level 9.
        gzip_share: of the float net's after gzip.
        raw_share: gzip_bytes over the float net's file_bytes.
        most_values: that any weight has.
        zeros: that pruning made.
        zeros_lost: of these, those that are none in the clustered net.
    """

    sparsity: float | None
    training_examples: int
    accuracy: dict[str, Accuracy]
    accuracy_delta: dict[str, AccuracyDelta]
    file_bytes: dict[str, int]
    gzip_bytes: dict[str, int]
    gzip_share: dict[str, float]
    raw_share: dict[str, float]
    most_values: int
    zeros: int
    zeros_lost: int


def tried() -> Iterator[Tried]:
    """Cluster the net with each recipe, and score it on the held-out images."""
    from slimedge.compress.clustering import cluster
    from slimedge.keras_file import input_specs, load_model

    network = load_model(FOLDER / f"{NET}.keras")
    parts = held_out_set().bind(input_specs(network)).split(calibration=0)
    images, _ = parts.evaluation.arrays()

    def accuracy(model: keras.Model) -> float:
        answers = model.predict(next(iter(images.values())), batch_size=500, verbose=0)
        return float(np.mean(answers.argmax(axis=1) == parts.evaluation.labels))

    exact = accuracy(network)
    untrained = accuracy(cluster(network, None, clusters=CLUSTERS, epochs=0))
    for rate, loss in CANDIDATES:
        started = time.monotonic()
        made = cluster(
            network, parts.training, clusters=CLUSTERS, epochs=EPOCHS, learning_rate=rate, loss=loss
        )
        took = time.monotonic() - started
        yield Tried(rate, loss or "distillation", EPOCHS, exact, untrained, accuracy(made), took)


def measured(folder: Path) -> tuple[dict[str, Any], list[Found]]:
    """Cluster the net, dense and pruned, and measure its files on the test images.

    Args:
        folder: for the files.

    Returns:
        What the float files are like, and what was found.
    """
    from slimedge.compress.clustering import cluster
    from slimedge.compress.pruning import prune
    from slimedge.keras_file import input_specs, load_model

    network = load_model(FOLDER / f"{NET}.keras")
    parts = seen_and_test().bind(input_specs(network)).split(calibration=0)
    plain = _files(network, folder, "float")
    answers = {kind: first_output(file, parts.evaluation) for kind, file in plain.items()}
    weights = {kind: weigh(file) for kind, file in plain.items()}
    before: dict[str, dict[str, Any]] = {
        "accuracy": {
            kind: score(outputs, labels=parts.evaluation.labels).accuracy for kind, outputs in answers.items()
        },
        "file_bytes": {kind: weight.file_bytes for kind, weight in weights.items()},
        "gzip_bytes": {kind: weight.gzip_bytes for kind, weight in weights.items()},
    }
    found = []
    images = parts.training
    for sparsity in (None, *SPARSITIES):
        start = network
        if sparsity is not None:
            start = prune(network, images, sparsity=sparsity, **RECIPES[f"unstructured {sparsity}"])
        made = cluster(start, images, clusters=CLUSTERS, epochs=EPOCHS, learning_rate=RATE, loss=LOSS)
        files = _files(made, folder, f"clustered_{sparsity}")
        scores = {
            kind: score(first_output(file, parts.evaluation), answers[kind], parts.evaluation.labels)
            for kind, file in files.items()
        }
        found.append(_found(sparsity, len(images), start, made, files, scores, before))
        show(asdict(found[-1]))
    return {kind: _plain(value) for kind, value in before.items()}, found


def _plain(by_format: Mapping[str, Any]) -> dict[str, Any]:
    return {
        kind: asdict(value) if isinstance(value, Accuracy) else value for kind, value in by_format.items()
    }


def _files(network: keras.Model, folder: Path, name: str) -> dict[str, Artifact]:
    from slimedge.export.exporting import export_model

    return dict(zip(FORMATS, export_model(network, to=FORMATS, folder=folder, name=name), strict=True))


def _found(
    sparsity: float | None,
    examples: int,
    start: keras.Model,
    made: keras.Model,
    files: Mapping[str, Artifact],
    scores: Mapping[str, Score],
    before: Mapping[str, Any],
) -> Found:
    weights = {kind: weigh(file) for kind, file in files.items()}
    packed = {kind: weight.gzip_bytes for kind, weight in weights.items()}
    old, new = _kernels(start), _kernels(made)
    zeros = {name: array == 0 for name, array in old.items()} if sparsity is not None else {}
    return Found(
        sparsity=sparsity,
        training_examples=examples,
        accuracy={kind: one.accuracy for kind, one in scores.items() if one.accuracy is not None},
        accuracy_delta={
            kind: one.accuracy_delta for kind, one in scores.items() if one.accuracy_delta is not None
        },
        file_bytes={kind: weight.file_bytes for kind, weight in weights.items()},
        gzip_bytes=packed,
        gzip_share={kind: packed[kind] / before["gzip_bytes"][kind] for kind in FORMATS},
        raw_share={kind: packed[kind] / before["file_bytes"][kind] for kind in FORMATS},
        most_values=max(len(np.unique(array)) for array in new.values()),
        zeros=int(sum(np.sum(where) for where in zeros.values())),
        zeros_lost=int(sum(np.count_nonzero(new[name][where]) for name, where in zeros.items())),
    )


def _kernels(network: keras.Model) -> dict[str, NDArray[np.float32]]:
    """Give the weights that are pruned and clustered, by the names of their layers."""
    from slimedge.compress.sparsity.weights import prunable

    return {"/".join((*one.names, one.variable.name)): np.asarray(one.variable) for one in prunable(network)}


def missed(found: Found) -> list[str]:
    """Name the bars that a clustered net misses."""
    name = "clustered" if found.sparsity is None else f"pruned to {found.sparsity:.0%} and clustered"
    lines = []
    if found.sparsity is None:
        lines += [
            f"{kind} {name} loses {-delta.value:.2%}, at most {LARGEST_DROP:.2%} is allowed"
            for kind, delta in found.accuracy_delta.items()
            if -delta.value > LARGEST_DROP
        ]
    lines += [
        f"{kind} {name} has {share:.3f} of the float file's bytes after gzip, at most {LARGEST_GZIP_SHARE} is allowed"
        for kind, share in found.gzip_share.items()
        if share > LARGEST_GZIP_SHARE
    ]
    if found.most_values > CLUSTERS:
        lines.append(f"a weight {name} has {found.most_values} values")
    if found.zeros_lost:
        lines.append(f"{found.zeros_lost} of {found.zeros} zeros are lost {name}")
    return lines


def main() -> int:
    """Measure, print and write what was found, and give the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", choices=("recipes", "files"), help="measure these, and keep the rest of what was written"
    )
    given = parser.parse_args()
    path = RESULTS / "clustered.json"
    told: dict[str, Any] = json.loads(path.read_text()) if given.only and path.exists() else {}
    told = {key: value for key, value in told.items() if key not in {"environment", "missed"}}
    lines = []
    if given.only != "files":
        told["recipes"] = []
        for one in tried():
            show(asdict(one))
            told["recipes"].append(asdict(one))
    if given.only != "recipes":
        with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
            before, found = measured(Path(folder))
        told |= {
            "model": NET,
            "clusters": CLUSTERS,
            "recipe": {"learning_rate": RATE, "loss": LOSS or "distillation", "epochs": EPOCHS},
            "float": before,
            "found": [asdict(one) for one in found],
        }
        lines = [line for one in found for line in missed(one)]
    return conclude("clustered", told, lines)


if __name__ == "__main__":
    sys.exit(main())
