"""What each method of post-training quantization does to the bundled nets: `make method-effect`.

Each net is quantized on the same 512 training images and scored on all 10,000 test images of Fashion-MNIST: with
kernels of 4 bits without a method, with each alone, and with two in a row; and a copy of the depthwise-separable net,
whose channels are scaled apart by factors of 1 to 1,000, with 8 bits and one scale per tensor. Exits 1 where a bar is
missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slimedge.benchmarks.bundled import NETS, RESULTS, conclude, first_output, full_set, show
from slimedge.benchmarks.demo import FOLDER
from slimedge.benchmarks.quantizing import quantize_file
from slimedge.benchmarks.rescaled import rescaled
from slimedge.compress.methods import METHODS
from slimedge.data import Data
from slimedge.export.exporting import export_model
from slimedge.keras_file import input_specs, load_model, save_model

EXAMPLES = 512
FEW_BITS = "static_wi4_ai8"
COMBINED = ("adaround", "bias_correction")
RESCALED = "depthwise_rescaled"
MODELS = (*NETS, RESCALED)
ON_RESCALED = (
    (),
    ("equalization",),
    ("equalization", "bias_correction"),
    ("equalization", "bias_correction_analytic"),
)
# Both files against the Keras graph.
COMPARED_IMAGES = 2_000
LEAST_AGREEMENT = 0.995
LARGEST_DROP_4_BITS = 0.01
WITHOUT_EQUALIZATION, LARGEST_DROP_RESCALED = 0.60, 0.005


class Row(NamedTuple):
    """What is quantized, and how; the names are those in `Run`."""

    model: str
    scheme: str
    granularity: str
    methods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One quantization.

    Attributes:
        model: name.
        scheme: likewise.
        granularity: of the kernels' scales.
        methods: in their order.
        float_accuracy: share of the test images.
        accuracy: likewise.
        sqnr_db: of the outputs against the float net.
        agreement: by format, the share of images that the file puts into the class of the Keras graph; None where
            no file was made.
    """

    model: str
    scheme: str
    granularity: str
    methods: tuple[str, ...]
    float_accuracy: float
    accuracy: float
    sqnr_db: float | None
    agreement: Mapping[str, float] | None


def missed(runs: list[Run]) -> list[str]:
    """Give a sentence for each bar that is missed."""
    found = []
    for run in runs:
        drop = run.float_accuracy - run.accuracy
        if run.model == "resnet8" and "adaround" in run.methods and drop > LARGEST_DROP_4_BITS:
            found.append(
                f"{run.model} with {'+'.join(run.methods)} loses {100 * drop:.2f} points with 4 bits"
            )
        if run.granularity == "per_tensor" and not run.methods and run.accuracy >= WITHOUT_EQUALIZATION:
            found.append(
                f"{run.model} per tensor without equalization has {run.accuracy:.1%}: it tests nothing"
            )
        if (
            run.granularity == "per_tensor"
            and "bias_correction" in run.methods
            and drop > LARGEST_DROP_RESCALED
        ):
            found.append(f"{run.model} per tensor with {'+'.join(run.methods)} loses {100 * drop:.2f} points")
        found += [
            f"{run.model} ({run.scheme}, {'+'.join(run.methods)}): {share:.2%} of the {kind} file's classes are Keras'"
            for kind, share in (run.agreement or {}).items()
            if share < LEAST_AGREEMENT
        ]
    return found


def _measure(
    source: Path, data: Data, scheme: str, granularity: str, methods: tuple[str, ...], *, export: bool = False
) -> Run:
    with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
        done = quantize_file(
            source,
            data,
            Path(folder) / "quantized.keras",
            scheme=scheme,
            granularity=granularity,
            methods=methods,
            split={"calibration": EXAMPLES},
        )
        before, after = done.before.accuracy, done.after.accuracy
        if before is None or after is None:
            raise ValueError(f"{source.stem} was not scored: the data has no labels")
        agreement = _agreement(done.artifact.path, data) if export else None
    run = Run(
        source.stem, scheme, granularity, methods, before.value, after.value, done.after.sqnr_db, agreement
    )
    show(asdict(run))
    return run


def _agreement(path: Path, data: Data) -> dict[str, float]:
    from slimedge.artifact_file import read_artifact

    model = load_model(path)
    images = data.bind(input_specs(model)).split(evaluation=COMPARED_IMAGES).evaluation
    classes = first_output(read_artifact(path), images).argmax(axis=1)
    return {
        str(artifact.format): float(np.mean(first_output(artifact, images).argmax(axis=1) == classes))
        for artifact in export_model(path, folder=path.parent)
    }


def wanted(models: Collection[str] = MODELS, only: Collection[str] = ()) -> list[Row]:
    """Give the rows of the measurement, in order.

    Args:
        models: names of nets.
        only: names of methods; with any, rows with at least one of them.
    """
    rows = []
    for name in NETS:
        rows.append(Row(name, "static_wi8_ai8", "per_channel", ()))
        rows += [
            Row(name, FEW_BITS, "per_channel", methods)
            for methods in ((), *((method,) for method in METHODS), COMBINED)
        ]
    rows += [Row(RESCALED, "static_wi8_ai8", "per_tensor", methods) for methods in ON_RESCALED]
    return [row for row in rows if row.model in models and (not only or set(only) & set(row.methods))]


def measure(data: Data, rows: Iterable[Row], folder: Path) -> Iterator[Run]:
    """Quantize and score.

    Args:
        data: all of Fashion-MNIST.
        rows: what to measure.
        folder: for the rescaled copy.
    """
    copy = folder / f"{RESCALED}.keras"
    for row in rows:
        source = copy if row.model == RESCALED else FOLDER / f"{row.model}.keras"
        if row.model == RESCALED and not copy.exists():
            model = load_model(FOLDER / "depthwise_separable.keras")
            examples = data.bind(input_specs(model)).split(calibration=EXAMPLES).calibration
            save_model(rescaled(model, examples), copy, lineage=())
        export = row.methods == COMBINED or (row.model == RESCALED and bool(row.methods))
        yield _measure(source, data, row.scheme, row.granularity, row.methods, export=export)


def merged(kept: Iterable[Run], fresh: Iterable[Run]) -> list[Run]:
    """Put runs in the places of those of the same row, in the order of the measurement."""
    runs = {Row(run.model, run.scheme, run.granularity, run.methods): run for run in (*kept, *fresh)}
    return [runs[row] for row in wanted() if row in runs]


def main() -> int:
    """Measure, print and write what was found, and give the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="*", default=MODELS, choices=MODELS)
    parser.add_argument(
        "--only", nargs="*", default=(), choices=tuple(METHODS), help="rows with one of these methods"
    )
    parser.add_argument("--update", action="store_true", help="put these into what was written before")
    given = parser.parse_args()
    path = RESULTS / "method_effect.json"
    runs: list[Run] = []
    if given.update and path.exists():
        written = json.loads(path.read_text())["runs"]
        runs = [Run(**{**run, "methods": tuple(run["methods"])}) for run in written]
    with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
        runs = merged(runs, measure(full_set(), wanted(given.models, given.only), Path(folder)))
    found = {"calibration_examples": EXAMPLES, "runs": [asdict(run) for run in runs]}
    return conclude("method_effect", found, missed(runs))


if __name__ == "__main__":
    sys.exit(main())
