"""What a recipe's files are worth: measured once, told stage by stage, whatever the data has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import KERNEL, X
from tiny_onnx import linear

from slimedge.artifact_file import read_artifact
from slimedge.benchmarks.comparing import compare_groups_detailed
from slimedge.data import Data
from slimedge.progress import silent
from slimedge.recipes.contents import DataSettings, Exports, Goals, RecipeFile
from slimedge.recipes.measuring import formats_of, measured
from slimedge.recipes.reporting import report_of, write
from slimedge.recipes.run_folder import RunFolder
from slimedge.recipes.running import Made

Y = np.argmax(X @ KERNEL, axis=1)


def recipe(**changes):
    given = {
        "path": None,
        "name": "tried",
        "model": Path("/models/net.keras"),
        "data": DataSettings(""),
        "stages": (),
        "exports": Exports(("onnx", "tflite")),
        "targets": ("ort",),
        "effort": "quick",
        "threads": 1,
        "goals": Goals(max_accuracy_drop=1, max_bytes=1_000),
        "seed": 0,
    }
    return RecipeFile(**{**given, **changes})


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "run")
    with folder.locked():
        yield folder


@pytest.fixture
def made(tmp_path):
    """The files after two stages, in ONNX, which the target runs, and in TFLite, which only lies there."""
    found = []
    for index, (title, noise) in enumerate((("original", 0.0), ("prune", 0.3), ("quantize", 0.5))):
        name = f"{index}-{title}"
        kernel = KERNEL + noise * np.random.default_rng(index).normal(size=KERNEL.shape)
        onnx = linear(tmp_path / f"{name}.onnx", kernel, padding_bytes=500, softmax=title != "none")
        other = onnx.with_suffix(".tflite.onnx")
        other.write_bytes(onnx.read_bytes())
        files = {"onnx": read_artifact(onnx), "tflite": read_artifact(other)}
        found.append(Made(title, "epochs 3" * (index == 1), onnx, files, 2.0 * index or None, index == 1))
    return found


def bound(made, labels):
    specs = made[0].files["onnx"]
    return Data.load((X, labels) if labels is not None else X).bind(specs.inputs, outputs=specs.outputs)


def test_only_formats_that_a_target_runs_are_measured():
    assert formats_of(recipe()) == ["onnx"]
    assert formats_of(recipe(targets=("litert",))) == ["tflite"]
    assert formats_of(recipe(targets=("litert", "ort"))) == ["onnx", "tflite"]
    assert formats_of(recipe(targets=())) == ["onnx", "tflite"]
    assert formats_of(recipe(exports=Exports(("tflite",)), targets=("litert",))) == ["tflite"]


def test_the_same_files_are_measured_once_and_others_again(run, made, monkeypatch):
    counted = []

    def compare(*given, **options):
        counted.append(given if counted else compare_groups_detailed(*given, **options))
        return counted[0]

    monkeypatch.setattr("slimedge.benchmarks.comparing.compare_groups_detailed", compare)
    data = bound(made, Y)

    first, before = measured(recipe(), run, made, data, silent)
    again, as_before = measured(recipe(goals=Goals()), run, made, data, silent)

    assert (before, as_before, len(counted)) == (False, True, 1)
    assert again == first
    assert [variant.name for variant in first.comparisons[0].variants] == ["1-prune.onnx", "2-quantize.onnx"]
    measured(recipe(), run, made[:2], data, silent)
    measured(recipe(), run, made, data.rows(np.arange(200)), silent)
    assert len(counted) == 3


@pytest.mark.parametrize("labels", ["classes", "none", "numbers"])
def test_the_report_tells_every_stage_whatever_the_data_has(run, made, labels):
    given = {"classes": Y, "none": None, "numbers": (X @ KERNEL).astype(np.float32)}[labels]
    detailed, _ = measured(recipe(), run, made, bound(made, given), silent)

    report = report_of(recipe(), made, detailed, {})
    write(report, run)

    assert report.title == "net by tried, stage by stage"
    assert [(one.title, one.settings, one.variants, one.seconds, one.reused) for one in report.stages] == [
        ("prune", "epochs 3", ("1-prune.onnx",), 2.0, True),
        ("quantize", "", ("2-quantize.onnx",), 4.0, False),
    ]
    (accuracy, *sizes) = report.goals
    kernel = KERNEL + 0.5 * np.random.default_rng(2).normal(size=KERNEL.shape)
    if labels == "classes":
        right = np.mean(np.argmax(X @ kernel.astype(np.float32), axis=1) == Y)
        assert report.comparisons[0].variants[-1].accuracy.value == pytest.approx(right)
        assert accuracy.met == (report.comparisons[0].variants[-1].accuracy_delta.low >= -0.01)
    else:
        assert accuracy.sentence == (
            "2-quantize.onnx: missed, since no accuracy was measured; give data with class labels."
        )
    assert [(goal.variant, goal.met) for goal in sizes] == [
        (one.path.name, one.path.stat().st_size <= 1_000) for one in made[-1].files.values()
    ]
    told = json.loads((run.path / "report.json").read_text())
    assert [stage["title"] for stage in told["stages"]] == ["prune", "quantize"]
    for name in ("report.html", "report.md"):
        text = (run.path / name).read_text()
        assert "quantize" in text
        assert "epochs 3" in text


def test_weights_beside_an_onnx_file_count(run, tmp_path, made):
    import onnx

    path = made[-1].files["onnx"].path
    onnx.save_model(
        onnx.load(path),
        path,
        save_as_external_data=True,
        location="large.data",
        size_threshold=0,
        all_tensors_to_one_file=True,
    )
    files = {"onnx": read_artifact(path)}
    both = path.stat().st_size + (tmp_path / "large.data").stat().st_size
    last = Made("quantize", "", path, files, 1.0, reused=False)
    stages, asked = [made[0], last], recipe(goals=Goals(max_bytes=both - 1), exports=Exports(("onnx",)))
    detailed, _ = measured(asked, run, stages, bound(made, Y), silent)

    (goal,) = report_of(asked, stages, detailed, {}).goals

    assert not goal.met
    assert f"{both:,} bytes" in goal.sentence
