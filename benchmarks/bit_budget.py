"""Bits for each layer under budgets of accuracy, on all of Fashion-MNIST: `make bit-budget`.

Bits of each net's layers are chosen on 512 calibration images and 4,000 others of the training part, and scored
on all 10,000 test images, which the choice never saw. Exits 1 where more accuracy was lost than allowed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from slimedge.benchmarks.bundled import RESULTS, first_output, full_set, show, write_result
from slimedge.benchmarks.demo import FOLDER
from slimedge.benchmarks.models import CLASSIFIERS
from slimedge.benchmarks.quantizing import quantize_file
from slimedge.data import Data
from slimedge.export.exporting import export_model
from slimedge.keras_file import input_specs, load_model

MODELS = CLASSIFIERS
# Budgets in points, with the methods that choose integers in each try.
BUDGETS: tuple[tuple[float, tuple[str, ...]], ...] = ((0.5, ()), (0.5, ("gptq",)))
CALIBRATION = 512
COMPARED_IMAGES = 2_000
LEAST_AGREEMENT = 0.995


@dataclass(frozen=True, slots=True)
class Run:
    """One choice of bits.

    Attributes:
        model: name.
        max_accuracy_drop: the budget in points.
        methods: applied in each try.
        layers: how many have so many bits, by bits.
        wider: layers with more than 4 bits.
        mean_bits: of a weight.
        tried: how many choices were measured.
        float_accuracy: share of the test images.
        accuracy: of the quantized net, likewise.
        low: lower end of the 95 % interval of the difference of these.
        agreement: by format, the share of images that the file puts into the class of the Keras graph.
    """

    model: str
    max_accuracy_drop: float
    methods: tuple[str, ...]
    layers: Mapping[str, int]
    wider: Mapping[str, int | str]
    mean_bits: float
    tried: int
    float_accuracy: float
    accuracy: float
    low: float
    agreement: Mapping[str, float]


def missed(runs: Sequence[Run]) -> list[str]:
    """Give a sentence for each bar that is missed."""
    found = []
    for run in runs:
        lost, what = (
            100 * (run.float_accuracy - run.accuracy),
            f"{run.model} ({'+'.join(run.methods) or 'nearest'})",
        )
        if lost > run.max_accuracy_drop:
            found.append(f"{what} loses {lost:.2f} points, and {run.max_accuracy_drop:g} were allowed")
        found += [
            f"{what}: {share:.2%} of the {kind} file's classes are Keras'"
            for kind, share in run.agreement.items()
            if share < LEAST_AGREEMENT
        ]
    return found


def measure(name: str, data: Data, budget: float, methods: tuple[str, ...], folder: Path) -> Run:
    """Choose bits for one bundled net, score it, and compare its files with it."""
    out = folder / f"{name}.keras"
    done = quantize_file(
        FOLDER / f"{name}.keras",
        data,
        out,
        max_accuracy_drop=budget,
        methods=methods,
        split={"calibration": CALIBRATION},
    )
    choice, before, after, delta = (
        done.choice,
        done.before.accuracy,
        done.after.accuracy,
        done.after.accuracy_delta,
    )
    if choice is None or before is None or after is None or delta is None:
        raise ValueError(f"{name} was not scored: the data has no labels")
    widths = [str(bits) for bits in choice.bits.values()]
    images = data.bind(input_specs(load_model(out))).split().evaluation.take(COMPARED_IMAGES)
    keras_classes = first_output(done.artifact, images).argmax(axis=1)
    agreement = {
        str(file.format): float((first_output(file, images).argmax(axis=1) == keras_classes).mean())
        for file in export_model(out, folder=folder)
    }
    return Run(
        model=name,
        max_accuracy_drop=budget,
        methods=methods,
        layers={bits: widths.count(bits) for bits in sorted(set(widths))},
        wider={layer: bits for layer, bits in choice.bits.items() if layer in choice.wider},
        mean_bits=choice.mean_bits,
        tried=len(choice.tried),
        float_accuracy=before.value,
        accuracy=after.value,
        low=delta.low,
        agreement=agreement,
    )


def main() -> int:
    """Measure, print and write what was found, and give the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="*", default=MODELS, choices=MODELS)
    parser.add_argument("--update", action="store_true", help="put these into what was written before")
    given = parser.parse_args()
    path = RESULTS / "bit_budget.json"
    runs: dict[tuple[str, tuple[str, ...]], Run] = {}
    if given.update and path.exists():
        kept = [
            Run(**{**run, "methods": tuple(run["methods"])}) for run in json.loads(path.read_text())["runs"]
        ]
        runs = {(run.model, run.methods): run for run in kept}
    data = full_set()
    for name in given.models:
        for budget, methods in BUDGETS:
            with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
                runs[name, methods] = measure(name, data, budget, methods, Path(folder))
            show(asdict(runs[name, methods]))
            ordered = sorted(runs.values(), key=lambda run: (MODELS.index(run.model), run.methods))
            path = write_result(
                "bit_budget",
                {
                    "calibration_examples": CALIBRATION,
                    "runs": [asdict(run) for run in ordered],
                    "missed": missed(ordered),
                },
            )
    sys.stdout.write(f"written to {path}\n")
    bars = missed(list(runs.values()))
    for text in bars:
        sys.stdout.write(f"missed: {text}\n")
    return 1 if bars else 0


if __name__ == "__main__":
    sys.exit(main())
