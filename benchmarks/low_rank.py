"""Bundled nets factorized to 70 % of their multiply-accumulates, on all of Fashion-MNIST: `make low-rank`.

Each net is split by low rank, once without training and once with two epochs of it on the training images; both are
scored on the 10,000 test images beside the float net, with a paired 95 % interval. The files of float and trained net
are timed in one interleaved run, one thread. No bar is set.

Losses and rates are compared by `--choose`, which trains on 10,000 of the first 55,000 training images, those that the
bundled nets were trained on, and scores the last 5,000, which neither training saw.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import Artifact
from slimedge.benchmarks import statistics
from slimedge.benchmarks.accuracy import score
from slimedge.benchmarks.bundled import RESULTS, conclude, first_output, full_set_for, show
from slimedge.benchmarks.demo import FOLDER
from slimedge.benchmarks.latency import SETTINGS, Settings, measure_latency
from slimedge.benchmarks.models import AUTOENCODERS, CLASSIFIERS
from slimedge.benchmarks.qat_recipe import held_out_set
from slimedge.comparison import Speedup
from slimedge.data import Data
from slimedge.runtime.targets import target_for

if TYPE_CHECKING:
    import keras

MODELS = ("resnet8", "mobilenet_v3", "dense_autoencoder")
SHARE = 0.7
RECIPE: dict[str, Any] = {"epochs": 2, "loss": "labels", "learning_rate": 1e-3}
# What `--choose` tries: loss and rate.
CANDIDATES: tuple[tuple[str | None, float], ...] = (
    ("labels", 1e-3),
    ("labels", 4e-3),
    (None, 1e-3),
    (None, 4e-3),
)
CHOICE_EXAMPLES = 10_000
NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True)
class Change:
    """How much better a score became, paired over the test images.

    Attributes:
        value: more right answers, as a share; of an autoencoder, less mean squared error of a pixel.
        low: end of the 95 % interval.
        high: likewise.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of one net.

    Attributes:
        model: its name.
        macs: float and split.
        parameters: likewise.
        layers_split: how many.
        float_score: share of right classes, or an autoencoder's mean squared error of a pixel.
        split_score: of the net that was split and not trained.
        split_change: from float to that.
        trained_score: of the trained one.
        trained_change: from float to that.
        train_s: time that splitting and training took.
        speedup: of the trained over the float file, by format, ratios of median latencies.
        median_us: of each file, in microseconds.
    """

    model: str
    macs: tuple[int, int]
    parameters: tuple[int, int]
    layers_split: int
    float_score: float
    split_score: float
    split_change: Change
    trained_score: float
    trained_change: Change
    train_s: float
    speedup: dict[str, Speedup]
    median_us: dict[str, float]


def scored(name: str, outputs: NDArray[np.float32], wanted: NDArray[Any]) -> float:
    """Give the share of right classes, or an autoencoder's mean squared error."""
    if name in AUTOENCODERS:
        return float(np.mean(np.square(outputs - wanted), dtype=np.float64))
    return float(np.mean(outputs.argmax(axis=1) == wanted))


def change(
    name: str, before: NDArray[np.float32], after: NDArray[np.float32], wanted: NDArray[Any]
) -> Change:
    """Give how much better outputs became, with its interval."""
    if name not in AUTOENCODERS:
        delta = score(after, before, wanted).accuracy_delta
        if delta is None:
            raise ValueError(f"{name} gave no classes")
        return Change(delta.value, delta.low, delta.high)
    one, other = (
        np.square(outputs - wanted).reshape(len(wanted), -1).mean(axis=1, dtype=np.float64)
        for outputs in (before, after)
    )
    gained = one - other
    half = NORMAL_95 * float(gained.std(ddof=1)) / len(gained) ** 0.5
    middle = float(gained.mean())
    return Change(middle, middle - half, middle + half)


def measure(name: str, data: Data, folder: Path, settings: Settings) -> Found:
    """Factorize, train, score and time one net."""
    from slimedge.compress.factorization import factorize
    from slimedge.export.exporting import export_model
    from slimedge.keras_file import input_specs, load_model, output_specs, save_model
    from slimedge.lineage import lineage_of

    model = load_model(FOLDER / f"{name}.keras")
    parts = data.bind(input_specs(model), outputs=output_specs(model)).split(seed=0, calibration=0)
    only_split = factorize(model, parts.training, macs=SHARE)
    started = time.monotonic()
    trained = factorize(model, parts.training, macs=SHARE, **RECIPE)
    train_s = time.monotonic() - started

    def files(network: keras.Model, label: str) -> dict[str, Artifact]:
        kept = save_model(network, folder / f"{name}_{label}.keras")
        return {str(one.format): one for one in export_model(kept.path, folder=folder)}

    before, split, after = files(model, "float"), files(only_split, "split"), files(trained, "trained")
    wanted = np.asarray(parts.evaluation.labels)
    exact, cut, tuned = (first_output(made["onnx"], parts.evaluation) for made in (before, split, after))
    inputs, _ = parts.evaluation.take(1).arrays()
    entries = {
        f"{label} {kind}": one
        for label, made in (("float", before), ("split", after))
        for kind, one in made.items()
    }
    run = measure_latency(
        [(label, one, target_for(one)) for label, one in entries.items()],
        inputs=inputs,
        threads=1,
        batch=1,
        settings=settings,
    )
    told = lineage_of(trained)[-1].settings
    return Found(
        model=name,
        macs=(told["macs_before"], told["macs_after"]),
        parameters=(told["parameters_before"], told["parameters_after"]),
        layers_split=len(told["layers"]),
        float_score=scored(name, exact, wanted),
        split_score=scored(name, cut, wanted),
        split_change=change(name, exact, cut, wanted),
        trained_score=scored(name, tuned, wanted),
        trained_change=change(name, exact, tuned, wanted),
        train_s=train_s,
        speedup={
            kind: statistics.speedup(run[f"float {kind}"].turn_medians(), run[f"split {kind}"].turn_medians())
            for kind in before
        },
        median_us={entry.name: entry.latency.p50 * 1e6 for entry in run.entries},
    )


def choose(models: Sequence[str], epochs: int, examples: int) -> dict[str, dict[str, float]]:
    """Give the share of right classes on held-out training images, by net and by what it was trained with."""
    from slimedge.compress.factorization import factorize
    from slimedge.keras_file import input_specs, load_model, output_specs, save_model

    found: dict[str, dict[str, float]] = {}
    for name in models:
        model = load_model(FOLDER / f"{name}.keras")
        bound = held_out_set().bind(input_specs(model), outputs=output_specs(model))
        parts = bound.split(seed=0, calibration=0)
        training = parts.training.take(examples, seed=0)
        for loss, rate in CANDIDATES:
            made = factorize(model, training, macs=SHARE, epochs=epochs, loss=loss, learning_rate=rate)
            with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
                outputs = first_output(save_model(made, Path(folder) / "made.keras"), parts.evaluation)
            key = f"{loss or 'distillation'}, rate {rate:g}, epochs {epochs}, examples {len(training)}"
            found.setdefault(name, {})[key] = scored(name, outputs, np.asarray(parts.evaluation.labels))
            show({name: f"{key}: {found[name][key]:.4f}"})
            sys.stdout.flush()
    return found


def main() -> int:
    """Measure, print and write what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="*", default=MODELS, choices=(*CLASSIFIERS, *AUTOENCODERS))
    parser.add_argument(
        "--choose", action="store_true", help="try losses and rates on held-out images instead"
    )
    parser.add_argument("--epochs", type=int, default=1, help="with --choose")
    parser.add_argument("--examples", type=int, default=CHOICE_EXAMPLES, help="with --choose")
    parser.add_argument("--effort", choices=list(SETTINGS), default="default")
    parser.add_argument("--update", action="store_true", help="put these into what was written before")
    given = parser.parse_args()
    path = RESULTS / "low_rank.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    nets = {net["model"]: net for net in before.get("nets", ())} if given.update or given.choose else {}
    held_out = before.get("held_out_accuracy", {})
    if given.choose:
        for name, scores in choose(given.models, given.epochs, given.examples).items():
            held_out[name] = {**held_out.get(name, {}), **scores}
    else:
        for name in given.models:
            with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
                found = measure(name, full_set_for(name), Path(folder), SETTINGS[given.effort])
            nets[name] = asdict(found)
            show(nets[name])
    measured = {"share_of_macs": SHARE, "recipe": RECIPE, "held_out_accuracy": held_out}
    return conclude("low_rank", {**measured, "nets": list(nets.values())}, [])


if __name__ == "__main__":
    sys.exit(main())
