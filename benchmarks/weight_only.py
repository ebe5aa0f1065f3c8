"""Accuracy, bytes and latency of the bundled nets with weights of 8, 16 and 4 bits: `make weight-only`.

All of the test part of Fashion-MNIST and 15,000 words, both formats, one thread; the files of a net take turns in one
run. Exits 1 where a bar is missed: float16 within 0.1 points of float and 8 bits within 0.5, and the same accuracy in
both formats, to 0.1 points. What 4 bits cost is told, not judged: rounding to nearest is the least that can be done.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slimedge import lineage as lineages
from slimedge.artifact import Artifact, Step
from slimedge.artifact_file import read_artifact
from slimedge.benchmarks import statistics, words
from slimedge.benchmarks.bundled import NETS, first_output, full_set, show, write_result
from slimedge.benchmarks.demo import FOLDER, WORDS_MODEL
from slimedge.benchmarks.latency import SETTINGS, Settings, measure_latency
from slimedge.comparison import Speedup
from slimedge.data import Data
from slimedge.runtime.targets import target_for

if TYPE_CHECKING:
    import keras

FORMATS = ("onnx", "tflite")
# Scheme and block size of each form of the weights.
FORMS: Mapping[str, tuple[str | None, int | None]] = {
    "float": (None, None),
    "int8": ("weight_only_wi8_afp32", None),
    "float16": ("fp16", None),
    "int4": ("weight_only_wi4_afp32", None),
    "int4 in blocks of 32": ("weight_only_wi4_afp32", 32),
}
LARGEST_DROP = {"float16": 0.001, "int8": 0.005}
LARGEST_DIFFERENCE = 0.001


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of one net, by format and form of its weights.

    Attributes:
        model: its name.
        examples: of the test part.
        accuracy: share of right classes.
        bytes: of the file.
        bytes_share: of the float file's.
        weight_storage: element type to number of weights in the file; of rounded forms.
        median_us: of one inference, in microseconds.
        time_ratio: latency over that of the float file, with a 95 % interval.
        missed: bars that were missed, one sentence each.
    """

    model: str
    examples: int
    accuracy: dict[str, dict[str, float]]
    bytes: dict[str, dict[str, int]]
    bytes_share: dict[str, dict[str, float]]
    weight_storage: dict[str, dict[str, dict[str, int]]]
    median_us: dict[str, dict[str, float]]
    time_ratio: dict[str, dict[str, Speedup]]
    missed: tuple[str, ...]


def make_files(name: str, data: Data, folder: Path) -> dict[tuple[str, str], Artifact]:
    """Give a bundled net as a file of each format and form."""
    from slimedge.compress.quantization import quantize
    from slimedge.keras_file import input_specs, load_model

    network = load_model(FOLDER / f"{name}.keras")
    calibration = data.bind(input_specs(network)).split().calibration
    files = {}
    for form, (scheme, block_size) in FORMS.items():
        made = network
        if scheme is not None:
            made = quantize(network, calibration, scheme=scheme, block_size=block_size)
        for kind in FORMATS:
            path = folder / f"{name}_{form.replace(' ', '_')}.{kind}"
            files[kind, form] = _export(made, kind, path, scheme, block_size)
    return files


def _export(
    network: keras.Model, kind: str, path: Path, scheme: str | None, block_size: int | None
) -> Artifact:
    """Write a file in this process, which spares loading TensorFlow thirty times."""
    from slimedge.export import exporters
    from slimedge.integers import PORTABLE

    steps = (*lineages.lineage_of(network), Step("export", {"to": kind}))
    settings = exporters.Settings(
        io="float32",
        batch=1,
        integers=PORTABLE,
        metadata={"lineage": lineages.to_json(steps)},
        scheme=scheme,
        block_size=block_size,
    )
    content, _ = exporters.EXPORTERS[kind](network, settings)
    path.write_bytes(content)
    return read_artifact(path)


def measure(name: str, data: Data, folder: Path, settings: Settings) -> Found:
    """Make the files of one net and measure them on the test part of `data`."""
    files = make_files(name, data, folder)
    first = next(iter(files.values()))
    test = data.bind(first.inputs).split().evaluation

    def accuracy_of(artifact: Artifact) -> float:
        return float(np.mean(first_output(artifact, test).argmax(axis=1) == test.labels))

    inputs, _ = test.take(1).arrays()
    entries = [(" ".join(key), artifact, target_for(artifact)) for key, artifact in files.items()]
    run = measure_latency(entries, inputs=inputs, threads=1, batch=1, settings=settings)

    def ratio(kind: str, form: str) -> Speedup:
        return statistics.speedup(run[f"{kind} {form}"].turn_medians(), run[f"{kind} float"].turn_medians())

    bytes_ = {key: artifact.path.stat().st_size for key, artifact in files.items()}
    accuracy = {key: accuracy_of(artifact) for key, artifact in files.items()}
    rounded = [key for key in files if key[1] != "float"]
    return Found(
        model=name,
        examples=len(test),
        accuracy=_by_format(accuracy),
        bytes=_by_format(bytes_),
        bytes_share=_by_format({key: bytes_[key] / bytes_[key[0], "float"] for key in rounded}),
        weight_storage=_by_format(
            {key: files[key].lineage[-1].settings["weight_storage"] for key in rounded}
        ),
        median_us=_by_format({key: run[" ".join(key)].latency.p50 * 1e6 for key in files}),
        time_ratio=_by_format({key: ratio(*key) for key in rounded}),
        missed=tuple(missed(name, accuracy)),
    )


def _by_format(values: Mapping[tuple[str, str], Any]) -> dict[str, dict[str, Any]]:
    return {kind: {form: value for (of, form), value in values.items() if of == kind} for kind in FORMATS}


def missed(name: str, accuracy: Mapping[tuple[str, str], float]) -> list[str]:
    """Name the bars that one net misses.

    Args:
        name: of the net.
        accuracy: share of right classes by format and form.
    """
    lines = []
    for form, largest in LARGEST_DROP.items():
        for kind in FORMATS:
            drop = accuracy[kind, "float"] - accuracy[kind, form]
            if drop > largest:
                lines.append(f"{form} {kind} of {name} loses {drop:.2%}, at most {largest:.2%} is allowed")
    for form in FORMS:
        apart = abs(accuracy["onnx", form] - accuracy["tflite", form])
        if apart > LARGEST_DIFFERENCE:
            lines.append(f"the two {form} files of {name} differ by {apart:.2%} in accuracy")
    return lines


def main() -> int:
    """Measure the nets, print and write what was found, and give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--effort", choices=list(SETTINGS), default="quick")
    given = parser.parse_args()
    pictures = full_set()
    nets = dict.fromkeys(NETS, pictures) | {Path(WORDS_MODEL).stem: words.load()}
    found = []
    for name, data in nets.items():
        with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
            found.append(measure(name, data, Path(folder), SETTINGS[given.effort]))
        show(asdict(found[-1]))
    path = write_result("weight_only", {"effort": given.effort, "nets": [asdict(one) for one in found]})
    sys.stdout.write("".join(f"missed: {line}\n" for one in found for line in one.missed))
    sys.stdout.write(f"written to {path}\n")
    return 1 if any(one.missed for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
