"""The whole story on the bundled model and data: quantize, export, compare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from slimedge.artifact import Artifact
from slimedge.benchmarks import demo
from slimedge.benchmarks.comparing import Conditions, compare_groups_detailed
from slimedge.benchmarks.quantizing import quantize_file
from slimedge.benchmarks.reporting import figures, html, quantization
from slimedge.benchmarks.reporting import json as json_report
from slimedge.benchmarks.reporting.report import Report
from slimedge.export.exporting import export_model
from slimedge.files import atomic_path
from slimedge.progress import Progress, silent

CALIBRATION = 1000
TITLE = "ResNet-8 on Fashion-MNIST, before and after int8"


def demonstrate(
    folder: Path,
    *,
    effort: str = "default",
    threads: int = 1,
    say: Callable[[str], None] = print,
    progress: Progress = silent,
) -> Report:
    """Quantize the bundled model, export it float and int8 to both formats, and compare what came out.

    Args:
        folder: where models and report are written; made where it is missing.
        effort: how long to measure latency: `quick`, `default` or `thorough`.
        threads: of every runtime.
        say: told what was done, line by line.
        progress: told what is being done.

    Returns:
        Two comparisons: float ONNX with int8 ONNX, and float TFLite with int8 TFLite. `report.html` and
        `report.json` in the folder say the same.
    """
    model, data = demo.load()
    split = {"calibration": CALIBRATION}
    evaluation = data.split(**split).evaluation
    say(
        f"1. {model.name}: a ResNet-8 trained on Fashion-MNIST; with it {CALIBRATION:,} training images to calibrate "
        f"and {len(evaluation):,} test images"
    )
    quantized = quantize_file(
        model, data, folder / f"{model.stem}_int8.keras", split=split, progress=progress
    )
    say("2. quantized once, in Keras:")
    for line in quantization.lines(quantized):
        say(f"   {line}")
    say("3. exported to both formats, each file checked against Keras:")
    artifacts: list[Artifact] = []
    for source in (model, quantized.artifact.path):
        artifacts += export_model(source, folder=folder, progress=lambda file: progress(f"exporting {file}"))
    for artifact in artifacts:
        say(f"   {artifact.path} ({figures.size(artifact.path.stat().st_size)})")
    say(f"4. compared on {len(evaluation):,} test images, and timed in turns")
    onnx, tflite, int8_onnx, int8_tflite = artifacts
    groups = [[onnx, int8_onnx], [tflite, int8_tflite]]
    found = compare_groups_detailed(
        groups, evaluation, Conditions(effort=effort, threads=threads), progress=progress
    )
    lineage = {artifact.path.name: artifact.lineage for artifact in artifacts}
    report = Report(TITLE, found.comparisons, lineage=lineage, details=found.details)
    for name, text in (("report.html", html.render(report)), ("report.json", json_report.render(report))):
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return report
