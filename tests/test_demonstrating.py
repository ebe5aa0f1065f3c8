"""The bundled demo tells the whole story: quantized once, exported to both formats, compared, written down."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from slimedge.artifact_file import read_artifact
from slimedge.benchmarks import latency
from slimedge.benchmarks.demonstrating import demonstrate


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The demo, run once with hurried latencies: its folder, its report, and the lines that it said."""
    folder = tmp_path_factory.mktemp("demo")
    short = replace(latency.QUICK, launches=2, most_launches=2, rounds=2, launch_s=0.1, warm_s=0.1)
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "SETTINGS", {"default": short})
        report = demonstrate(folder, say=lines.append)
    return folder, report, lines


def test_both_formats_are_compared_with_their_own_float_files(told):
    _, report, _ = told

    pairs = [(found.baseline.name, [each.name for each in found.variants]) for found in report.comparisons]
    assert pairs == [("resnet8.onnx", ["resnet8_int8.onnx"]), ("resnet8.tflite", ["resnet8_int8.tflite"])]


def test_int8_is_as_accurate_as_float_and_a_third_of_its_bytes(told):
    _, report, _ = told

    for found in report.comparisons:
        (int8,) = found.variants
        assert found.baseline.accuracy.value > 0.9
        assert abs(int8.accuracy_delta.value) <= 0.005
        assert int8.agreement.value >= 0.99
        assert int8.file_bytes <= 0.36 * found.baseline.file_bytes
        assert int8.integer_ops >= 13  # nine convolutions, a dense layer, three additions


def test_every_file_has_the_multiply_accumulates_of_the_keras_model(told):
    _, report, _ = told

    macs = {each.macs for found in report.comparisons for each in (found.baseline, *found.variants)}
    assert macs == {9_345_920}


def test_models_and_reports_lie_in_the_folder_and_nothing_else(told):
    folder, report, lines = told

    assert sorted(path.name for path in folder.iterdir()) == [
        "report.html",
        "report.json",
        "resnet8.onnx",
        "resnet8.tflite",
        "resnet8_int8.keras",
        "resnet8_int8.onnx",
        "resnet8_int8.tflite",
    ]
    assert json.loads((folder / "report.json").read_text())["title"] == report.title
    assert "SQNR by layer" in (folder / "report.html").read_text()
    assert [step.name for step in read_artifact(folder / "resnet8_int8.tflite").lineage] == [
        "quantize",
        "export",
    ]
    assert [line[0] for line in lines if line[0].isdigit()] == ["1", "2", "3", "4"]
