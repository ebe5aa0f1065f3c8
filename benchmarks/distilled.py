"""What a teacher adds: a small student of ResNet-8 trained alone and distilled, on all of Fashion-MNIST.

The student has half the width and no block at full resolution, under a quarter of ResNet-8's multiply-accumulates. It
starts from the same fresh weights and sees the same images in the same order; alone it learns from the labels, and
distilled from ResNet-8 and the labels: `make distilled`. `--choose` tries settings on held-out training images, with
another part of the training images than the test images that the result is told on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from slimedge.benchmarks.bundled import RESULTS, conclude, paired, seen_and_test, show, write_result
from slimedge.benchmarks.demo import FOLDER
from slimedge.benchmarks.qat_recipe import held_out_set

if TYPE_CHECKING:
    from slimedge.splitting import Splits

TEACHER = "resnet8"
SHAPE: dict[str, Any] = {"width": 0.5, "depth": 0.7}
EPOCHS = 12
# Alone and distilled alike, but for whom the student learns from.
TRAINING: dict[str, Any] = {"epochs": EPOCHS, "learning_rate": 0.006, "validation": 0.0}
DISTILLED: dict[str, Any] = {"label_weight": 0.1, "temperature": 2.0}
SEEDS = (0, 1, 2)
LARGEST_SHARE = 0.25
LEAST_GAIN = 0.002


@dataclass(frozen=True, slots=True)
class Run:
    """One student trained twice.

    Attributes:
        seed: of weights and order.
        macs: of the student and of the teacher.
        teacher_accuracy: share of the test images.
        alone_accuracy: likewise, of the student that learned from labels.
        distilled_accuracy: likewise, of the one that learned from the teacher, too.
        gain: distilled over alone with the 95 % interval of these two.
        train_s: seconds of both trainings.
    """

    seed: int
    macs: Sequence[int]
    teacher_accuracy: float
    alone_accuracy: float
    distilled_accuracy: float
    gain: Sequence[float]
    train_s: Sequence[float]


def measure(parts: Splits, seed: int, folder: Path, distilled: Mapping[str, Any]) -> Run:
    """Train a student alone and distilled, and compare both on the evaluation images.

    Args:
        parts: of the data, bound to the teacher.
        seed: of weights and order.
        folder: for files.
        distilled: settings of the distillation.
    """
    from slimedge import macs
    from slimedge.compress.distillation import distill
    from slimedge.compress.students import student
    from slimedge.keras_file import load_model, save_model

    teacher = load_model(FOLDER / f"{TEACHER}.keras")
    fresh = student(teacher, **SHAPE, seed=seed)
    files, times = {}, []
    ways: dict[str, dict[str, Any]] = {
        "alone": {"teachers": [], "label_weight": 1.0},
        "distilled": {"teachers": [teacher], **distilled},
    }
    for name, how in ways.items():
        started = time.monotonic()
        trained = distill(fresh, parts.training, **TRAINING, **how, seed=seed)
        times.append(time.monotonic() - started)
        files[name] = save_model(trained, folder / f"{name}.keras")
    whole = save_model(teacher, folder / "teacher.keras")
    alone, found, gain = paired(files["alone"], files["distilled"], parts.evaluation)
    exact, _, _ = paired(whole, files["alone"], parts.evaluation)
    counts = [int(macs.count(model).total or 0) for model in (fresh, teacher)]
    return Run(seed, counts, exact, alone, found, list(gain), times)


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Give the mean gain over seeds with its 95 % interval (Student's t), which is None for one seed."""
    from scipy.stats import t as student_t  # of the development environment

    gains = [run.gain[0] for run in runs]
    half = (
        float(student_t.ppf(0.975, len(gains) - 1)) * stdev(gains) / len(gains) ** 0.5
        if len(gains) > 1
        else None
    )
    middle = mean(gains)
    return {
        "seeds": len(gains),
        "gain": middle,
        "interval": None if half is None else [middle - half, middle + half],
        "alone": mean(run.alone_accuracy for run in runs),
        "distilled": mean(run.distilled_accuracy for run in runs),
        "teacher": mean(run.teacher_accuracy for run in runs),
        "macs_share": runs[0].macs[0] / runs[0].macs[1],
    }


def missed(found: Mapping[str, Any]) -> list[str]:
    """Give a sentence for each bar that is missed."""
    bars = []
    if found["macs_share"] > LARGEST_SHARE:
        bars.append(
            f"the student has {found['macs_share']:.1%} of the MACs, at most {LARGEST_SHARE:.0%} are allowed"
        )
    if found["gain"] < LEAST_GAIN:
        bars.append(f"distillation adds {found['gain']:+.2%}, at least {LEAST_GAIN:+.2%} are wanted")
    if found["seeds"] < len(SEEDS):
        bars.append(f"{found['seeds']} seeds of {len(SEEDS)} were run")
    return bars


def main() -> int:
    """Measure, print and write what was found, and give the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    parser.add_argument("--choose", action="store_true", help="try settings on held-out training images")
    parser.add_argument("--update", action="store_true", help="put these into what was written before")
    given = parser.parse_args()
    from slimedge.keras_file import input_specs, load_model, output_specs

    teacher = load_model(FOLDER / f"{TEACHER}.keras")
    data = held_out_set() if given.choose else seen_and_test()
    parts = data.bind(input_specs(teacher), outputs=output_specs(teacher)).split(calibration=0)
    if given.choose:
        for weight, temperature in itertools.product((0.1, 0.5), (2.0, 4.0)):
            how = {"label_weight": weight, "temperature": temperature}
            with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
                show({**how, **asdict(measure(parts, given.seeds[0], Path(folder), how))})
        return 0
    path = RESULTS / "distilled.json"
    runs: dict[int, Run] = {}
    if given.update and path.exists():
        runs = {one["seed"]: Run(**one) for one in json.loads(path.read_text())["runs"]}
    told: dict[str, Any] = {}
    for seed in given.seeds:
        with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
            runs[seed] = measure(parts, seed, Path(folder), DISTILLED)
        show(asdict(runs[seed]))
        kept = [runs[key] for key in sorted(runs)]
        settings = {"student": SHAPE, "training": TRAINING, "distilled": DISTILLED}
        told = {**settings, "summary": summary(kept), "runs": [asdict(each) for each in kept]}
        write_result("distilled", {**told, "missed": missed(told["summary"])})
    return conclude("distilled", told, missed(told["summary"]))


if __name__ == "__main__":
    sys.exit(main())
