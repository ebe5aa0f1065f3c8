"""What each method of post-training quantization does to the bundled nets: `make method-effect`.

Each net is quantized on the same 512 training images and scored on all 10,000 test images of Fashion-MNIST: with
kernels of 4 bits without a method, with each alone, and with two in a row; and a copy of the depthwise-separable net,
whose channels are scaled apart by factors of 1 to 1,000, with 8 bits and one scale per tensor. Exits 1 where a bar is
missed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimedge.benchmarks.bundled import NETS, first_output, full_set, show, write_result
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
# Both files against the Keras graph.
COMPARED_IMAGES = 2_000
LEAST_AGREEMENT = 0.995
LARGEST_DROP_4_BITS = 0.01
WITHOUT_EQUALIZATION, LARGEST_DROP_RESCALED = 0.60, 0.005


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


def measure(data: Data, folder: Path) -> list[Run]:
    """Quantize and score everything.

    Args:
        data: all of Fashion-MNIST.
        folder: for the rescaled copy.
    """
    runs = []
    for name in NETS:
        source = FOLDER / f"{name}.keras"
        runs.append(_measure(source, data, "static_wi8_ai8", "per_channel", ()))
        runs.append(_measure(source, data, FEW_BITS, "per_channel", ()))
        runs += [_measure(source, data, FEW_BITS, "per_channel", (method,)) for method in METHODS]
        runs.append(_measure(source, data, FEW_BITS, "per_channel", COMBINED, export=True))
    model = load_model(FOLDER / "depthwise_separable.keras")
    copy = rescaled(model, data.bind(input_specs(model)).split(calibration=EXAMPLES).calibration)
    source = folder / "depthwise_rescaled.keras"
    save_model(copy, source, lineage=())
    for methods in ((), ("equalization",), ("equalization", "bias_correction")):
        runs.append(_measure(source, data, "static_wi8_ai8", "per_tensor", methods, export=bool(methods)))
    return runs


def main() -> int:
    """Measure, print and write what was found, and give the exit status."""
    with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
        runs = measure(full_set(), Path(folder))
    bars = missed(runs)
    found: dict[str, Any] = {
        "calibration_examples": EXAMPLES,
        "runs": [asdict(run) for run in runs],
        "missed": bars,
    }
    path = write_result("method_effect", found)
    sys.stdout.write("".join(f"missed: {bar}\n" for bar in bars) + f"written to {path}\n")
    return 1 if bars else 0


if __name__ == "__main__":
    sys.exit(main())
