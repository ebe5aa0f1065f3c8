"""ResNet50 and MobileNetV2 on a GPU: `make gpu`, on a machine that has one.

Batches of 1 and 32, float32 and float16, on each of ONNX Runtime's providers for GPUs that is here and on LiteRT's GPU
accelerator. End to end is writing inputs, running and reading outputs; the kernel figure is a run whose inputs lie on
the GPU already. Weights are random: no time depends on them. Exits 1 where a row is missing, 2 where there is no GPU.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from slimedge.benchmarks import statistics
from slimedge.benchmarks.bundled import write_result
from slimedge.benchmarks.latency import SETTINGS, Settings, measure_latency
from slimedge.errors import SlimedgeError, UnavailableError
from slimedge.runtime.backends.ort_providers import nvidia_names
from slimedge.runtime.targets import Target

if TYPE_CHECKING:
    import keras

    from slimedge.artifact import Artifact

MODELS = ("ResNet50", "MobileNetV2")
BATCHES = (1, 32)
PRECISIONS = ("float32", "float16")
ORT_TARGETS = (Target("ort", "cuda"), Target("ort", "webgpu"))
LITERT_TARGET = Target("litert", "gpu")
PACKAGES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-ep-webgpu",
    "ai-edge-litert",
    "tensorflow",
    "keras",
)
DRIVER = Path("/proc/driver/nvidia/version")
DISPLAY_CONTROLLER = "0x03"  # how the PCI class of every GPU begins


@dataclass(frozen=True, slots=True)
class Row:
    """One model on one target; times are medians in seconds, None where there is none.

    Attributes:
        model: of keras.applications.
        target: that was asked for.
        batch: examples in one run.
        precision: what the GPU computes in.
        provider: that ran it.
        end_to_end_s: with writing inputs and reading outputs.
        kernel_s: without what is copied before a run.
        throughput: examples a second, end to end.
        load_s: from file to session.
        first_run_s: with what is compiled in it.
        reason: why there are no times.
    """

    model: str
    target: str
    batch: int
    precision: str
    provider: str | None = None
    end_to_end_s: float | None = None
    kernel_s: float | None = None
    throughput: float | None = None
    load_s: float | None = None
    first_run_s: float | None = None
    reason: str | None = None


def gpus(root: Path = Path("/")) -> list[str]:
    """Name the GPUs of this machine.

    Raises:
        UnavailableError: there is none that its system shows.
    """
    names = nvidia_names(str(root / "proc/driver/nvidia/gpus/*/information"))
    for path in [] if names else sorted(root.glob("sys/class/drm/card*/device")):
        facts = {kind: path / kind for kind in ("class", "vendor", "device")}
        told = {kind: file.read_text().strip() for kind, file in facts.items() if file.is_file()}
        if told.get("class", "").startswith(DISPLAY_CONTROLLER):
            names.append(f"{told.get('vendor')}:{told.get('device')}")
    if not names:
        raise UnavailableError(
            "there is no GPU here, neither in /proc/driver/nvidia/gpus nor in /sys/class/drm; run `make gpu` on a "
            "machine that has one, and commit benchmarks/results/gpu.json."
        )
    return names


def network(name: str) -> keras.Model:
    """Build a model at its full size, with random weights that do not depend on the run."""
    import keras

    keras.utils.set_random_seed(0)
    built: keras.Model = getattr(keras.applications, name)(weights=None)
    return built


def make_files(name: str, folder: Path) -> dict[tuple[str, int, str], Artifact]:
    """Export a model to what each target takes, by format, batch and precision.

    An ONNX file takes any batch and says what it computes in; a TFLite file has its batch and leaves the precision to
    whoever runs it.
    """
    from slimedge.export.exporting import export_model

    built, made = network(name), dict[tuple[str, int, str], "Artifact"]()
    for precision in PRECISIONS:
        (file,) = export_model(built, to="onnx", folder=folder, name=f"{name}_{precision}", compute=precision)
        made |= {("onnx", batch, precision): file for batch in BATCHES}
    for batch in BATCHES:
        (file,) = export_model(built, to="tflite", folder=folder, name=f"{name}_{batch}", batch=batch)
        made |= {("tflite", batch, precision): file for precision in PRECISIONS}
    return made


def measure(
    model: str, artifact: Artifact, target: Target, batch: int, precision: str, settings: Settings
) -> Row:
    """Time one file on one target; an error is a row, too."""
    options = {}
    if target == LITERT_TARGET:
        options = {"provider_options": {"precision": "fp16" if precision == "float16" else "fp32"}}
    try:
        run = measure_latency([(model, artifact, target)], batch=batch, settings=settings, options=options)
    except SlimedgeError as error:
        return Row(model, str(target), batch, precision, reason=str(error))
    values = {each.metric: each.values for each in run.measurements(model)}
    medians = {metric: statistics.latency(samples).p50 for metric, samples in values.items()}
    return Row(
        model,
        str(target),
        batch,
        precision,
        provider=run[model].provider,
        end_to_end_s=medians["latency"],
        kernel_s=medians.get("kernel"),
        throughput=batch / medians["latency"],
        load_s=medians["load"],
        first_run_s=medians["first_run"],
    )


def missed(rows: Sequence[Row]) -> list[str]:
    """Name what has no row with times: every combination on one of ONNX Runtime's providers, and on LiteRT."""
    timed = {(row.model, row.batch, row.precision, row.target) for row in rows if row.reason is None}
    lines = []
    for model in MODELS:
        for batch in BATCHES:
            for precision in PRECISIONS:
                for wanted in (ORT_TARGETS, (LITERT_TARGET,)):
                    if not any((model, batch, precision, str(target)) in timed for target in wanted):
                        names = " or ".join(map(str, wanted))
                        lines.append(
                            f"{model} in {precision} with a batch of {batch} does not run on {names}"
                        )
    return lines


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Give the versions of those packages that are installed, and of NVIDIA's driver where there is one."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    if DRIVER.is_file():
        found["driver"] = DRIVER.read_text().splitlines()[0].strip()
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Time the models, print and write what was found, and give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--effort", choices=list(SETTINGS), default="quick")
    given = parser.parse_args(arguments)
    try:
        names = gpus()
    except UnavailableError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    rows = []
    for model in MODELS:
        with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
            for (kind, batch, precision), artifact in make_files(model, Path(folder)).items():
                for target in ORT_TARGETS if kind == "onnx" else (LITERT_TARGET,):
                    rows.append(measure(model, artifact, target, batch, precision, SETTINGS[given.effort]))
                    sys.stdout.write(f"{rows[-1]}\n")
    lines = missed(rows)
    result = {"gpus": names, "versions": versions(PACKAGES), "effort": given.effort}
    path = write_result("gpu", {**result, "rows": [asdict(row) for row in rows], "missed": lines})
    sys.stdout.write("".join(f"missed: {line}\n" for line in lines) + f"written to {path}\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
