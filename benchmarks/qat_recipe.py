"""Which rate and how many epochs quantization-aware training takes, chosen without the test images.

The bundled nets were trained on the first 55,000 images of Fashion-MNIST's training part. Their int8 nets are trained
on 54,000 of these with each recipe, and scored on the last 5,000, which neither training saw: `make qat-recipe`. A
recipe's gain is the mean over nets and seeds of the accuracy over that of the post-training int8 net.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

import numpy as np

from slimedge.benchmarks.bundled import (
    CALIBRATION,
    RESULTS,
    first_output,
    require_full_set,
    show,
    write_result,
)
from slimedge.benchmarks.demo import DEBIAN_FOLDER, FOLDER
from slimedge.benchmarks.models import CLASSIFIERS
from slimedge.benchmarks.training import HELD_OUT
from slimedge.data import Data

if TYPE_CHECKING:
    import keras

RATES = (5e-4, 1e-3, 2e-3, 4e-3)
EPOCHS = (1,)
SEEDS = (0, 1)


@dataclass(frozen=True, slots=True)
class Run:
    """One net trained with one recipe.

    Attributes:
        model: its name.
        learning_rate: the highest.
        epochs: passes over the training images.
        seed: of split and order.
        float_accuracy: share of the held-out images.
        post_training_accuracy: likewise.
        trained_accuracy: likewise.
        train_s: time that training took.
    """

    model: str
    learning_rate: float
    epochs: int
    seed: int
    float_accuracy: float
    post_training_accuracy: float
    trained_accuracy: float
    train_s: float

    @property
    def key(self) -> tuple[str, int, float, int]:
        """What no other run has."""
        return self.model, self.epochs, self.learning_rate, self.seed

    @property
    def gain(self) -> float:
        """Accuracy that training added to that of the post-training net."""
        return self.trained_accuracy - self.post_training_accuracy


def held_out_set() -> Data:
    """Give the images that the nets were trained on as the part train, and those held out as the part test."""
    require_full_set()
    inputs, found = Data.load(DEBIAN_FOLDER, part="train", scale="1/255").arrays()
    (images,), labels = inputs.values(), np.asarray(found)
    seen = len(images) - HELD_OUT
    return Data.load(((images[:seen], labels[:seen]), (images[seen:], labels[seen:])))


def measure(name: str, data: Data, seed: int, recipes: Sequence[tuple[float, int]]) -> Iterator[Run]:
    """Quantize a net and train it with each recipe.

    Args:
        name: of a model in the demo folder.
        data: with the parts train and test.
        seed: of split and order.
        recipes: rates and epochs.
    """
    from slimedge.compress.quantization import quantize
    from slimedge.compress.training import train
    from slimedge.keras_file import input_specs, load_model, save_model

    model = load_model(FOLDER / f"{name}.keras")
    parts = data.bind(input_specs(model)).split(seed=seed, calibration=CALIBRATION)

    def accuracy(scored: keras.Model) -> float:
        with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
            kept = save_model(scored, Path(folder) / "scored.keras")
            found = first_output(kept, parts.evaluation).argmax(axis=1)
        return float(np.mean(found == parts.evaluation.labels))

    quantized = quantize(model, parts.calibration, scheme="static_wi8_ai8")
    exact, before = accuracy(model), accuracy(quantized)
    for rate, epochs in recipes:
        started = time.monotonic()
        trained = train(
            quantized,
            parts.training,
            loss="labels",
            learning_rate=rate,
            epochs=epochs,
            seed=seed,
            teacher=model,
        )
        train_s = time.monotonic() - started
        yield Run(name, rate, epochs, seed, exact, before, accuracy(trained), train_s)


def gains(runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    """Give mean, standard error and number of runs of each recipe's gain, by rate and epochs."""
    found = {}
    ordered = sorted(runs, key=lambda run: (run.epochs, run.learning_rate))
    for (epochs, rate), group in itertools.groupby(ordered, key=lambda run: (run.epochs, run.learning_rate)):
        values = [run.gain for run in group]
        error = stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
        found[f"{rate:g}, epochs {epochs}"] = {
            "mean": mean(values),
            "standard_error": error,
            "runs": len(values),
        }
    return found


def main() -> int:
    """Measure, print and write what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="*", default=CLASSIFIERS, choices=CLASSIFIERS)
    parser.add_argument("--rates", nargs="*", type=float, default=RATES)
    parser.add_argument("--epochs", nargs="*", type=int, default=EPOCHS)
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    parser.add_argument("--update", action="store_true", help="put these into what was written before")
    given = parser.parse_args()
    path = RESULTS / "qat_recipe.json"
    runs: dict[tuple[str, int, float, int], Run] = {}
    if given.update and path.exists():
        for told in json.loads(path.read_text())["runs"]:
            run = Run(**told)
            runs[run.key] = run
    data = held_out_set()
    recipes = list(itertools.product(given.rates, given.epochs))
    for seed, name in itertools.product(given.seeds, given.models):
        for run in measure(name, data, seed, recipes):
            show(asdict(run))
            runs[run.key] = run
            kept = [runs[key] for key in sorted(runs)]
            path = write_result("qat_recipe", {"gains": gains(kept), "runs": [asdict(each) for each in kept]})
    sys.stdout.write(f"written to {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
