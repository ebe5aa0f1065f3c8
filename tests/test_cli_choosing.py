"""The command line's choices: bits by layer, a budget of accuracy, a target."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import small_models
from cli_output import in_one_line

from slimedge.benchmarks import fastest
from slimedge.cli.running import run
from slimedge.comparison import Speedup

COMMAND = ["quantize", "float.keras", "--data", "data.npz", "-o", "out.keras", "--json", "done.json"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with a model of two layers and labelled data."""
    monkeypatch.chdir(tmp_path)
    small_models.save_with_data(count=200)
    return tmp_path


@pytest.fixture
def timed(monkeypatch):
    """Speedups by hand; what is timed and how is tested elsewhere."""
    found: dict[str, float] = {}

    def race(_baseline, files, _target, **_settings):
        return 1e-3, {
            name: Speedup(found.get(name, 0.5), found.get(name, 0.5) * 0.98, found.get(name, 0.5) * 1.02)
            for name in files
        }

    for module in ("quantizing_for", "exporting_for"):
        monkeypatch.setattr(f"slimedge.benchmarks.{module}.race", race)
    assert fastest.race is not race
    return found


def test_bits_of_layers_are_taken_and_told(folder, capsys):
    assert run([*COMMAND, "--scheme", "static_wi8_ai8", "--bits", "conv*=4"]) == 0

    bits = json.loads(Path("done.json").read_text())["layer_bits"]
    assert set(bits.values()) == {4}


@pytest.mark.parametrize("given", ["conv=", "=4", "conv", "conv=half"])
def test_bits_without_a_pattern_or_a_number_are_refused(folder, capsys, given):
    assert run([*COMMAND, "--bits", given]) == 2
    assert f"--bits {given} is not allowed; name layers and their bits" in in_one_line(capsys)[1]
    assert not Path("out.keras").exists()


def test_a_budget_of_accuracy_chooses_bits_and_says_why(folder, capsys):
    assert run([*COMMAND, "--max-accuracy-drop", "5"]) == 0

    out, error = in_one_line(capsys)
    document = json.loads(Path("done.json").read_text())
    assert error == ""
    assert "bits chosen for at most 5 points" in out
    assert document["choice"]["max_accuracy_drop"] == 5
    assert set(document["choice"]["bits"]) == set(document["integer_layers"]) | {
        name for name, bits in document["choice"]["bits"].items() if bits == "float"
    }
    assert document["choice"]["drop"] <= 0.05
    assert document["goal"]["goal"] == "--max-accuracy-drop 5"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scheme", "fp16"], "was given with the scheme fp16; bits of each layer are chosen with auto"),
        (["--bits", "conv*=4"], "bits were given for some layers together with a budget of accuracy"),
    ],
)
def test_a_budget_beside_what_it_would_choose_is_refused(folder, capsys, arguments, words):
    assert run([*COMMAND, "--max-accuracy-drop", "1", *arguments]) == 2
    assert words in in_one_line(capsys)[1]
    assert not Path("out.keras").exists()


def test_a_budget_for_outputs_without_classes_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    network = small_models.MODELS["unet"]()
    network.save("float.keras")
    np.savez("data.npz", **small_models.examples(network, count=60))

    assert run([*COMMAND, "--max-accuracy-drop", "1"]) == 2
    assert "gives numbers, not classes, so no accuracy can be lost" in in_one_line(capsys)[1]


def test_the_fastest_that_was_tried_is_written_and_exported_so(folder, timed, capsys):
    timed["auto"] = 1.5

    assert run([*COMMAND, "--target", "litert"]) == 0

    out, _ = in_one_line(capsys)
    assert "tried on litert, float takes 1.00 ms: auto: 1.50× (1.47 to 1.53)" in out
    assert "auto runs at 1.50× the speed of float on litert." in out
    document = json.loads(Path("done.json").read_text())
    assert document["contest"]["winner"] == "auto"
    assert document["artifact"]["lineage"][-1]["settings"]["chosen_for"] == {
        "target": "litert",
        "speedup": 1.5,
    }


def test_the_integers_that_won_are_those_of_the_export(folder, timed, capsys):
    timed["auto, u8u8"] = 1.5

    assert run([*COMMAND, "--target", "ort"]) == 0
    assert run(["export", "out.keras", "--to", "onnx", "--json", "files.json"]) == 0

    (exported,) = json.loads(Path("files.json").read_text())
    assert exported["lineage"][-1]["settings"]["integers"] == "u8u8"


def test_nothing_is_written_where_float_is_the_fastest(folder, timed, capsys):
    assert run([*COMMAND, "--target", "litert"]) == 1

    assert "no quantized file is faster than float on litert: the fastest" in in_one_line(capsys)[1]
    assert not Path("out.keras").exists()
    assert not Path("done.json").exists()


def test_an_export_for_a_target_is_kept_only_where_it_is_faster(folder, timed, capsys):
    assert run([*COMMAND, "--scheme", "static_wi8_ai8", "--quiet"]) == 0
    export = ["export", "out.keras", "--float", "float.keras", "-o", "files", "--target", "litert"]

    assert run(export) == 1
    assert "no quantized file is faster than float on litert" in in_one_line(capsys)[1]
    assert not Path("files").exists()

    timed["tflite"] = 2.0
    assert run(export) == 0
    assert "tflite runs at 2.00× the speed of float on litert." in in_one_line(capsys)[0]
    assert [file.name for file in Path("files").iterdir()] == ["out.tflite"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["out.keras", "--target", "ort"],
            "--target compares with the float model; name its file with --float",
        ),
        (
            ["out.keras", "--target", "ort", "--float", "f.keras", "--portable"],
            "--target chooses the integers",
        ),
        (
            ["float.keras", "--target", "ort", "--float", "float.keras"],
            "is not quantized, so there is nothing",
        ),
    ],
)
def test_an_export_for_a_target_says_what_it_needs(folder, capsys, arguments, words):
    assert run(["export", *arguments]) == 2
    assert words in in_one_line(capsys)[1]


def test_sensitivity_prints_a_table_and_writes_a_page(folder, capsys):
    command = ["sensitivity", "float.keras", "--data", "data.npz", "--bits", "3, 8", "--html", "page.html"]

    assert run([*command, "--json", "found.json"]) == 0

    out, _ = in_one_line(capsys)
    assert "3-bit weights" in out
    assert "and the change of accuracy in points, on 40 examples" in out
    assert set(json.loads(Path("found.json").read_text())["everything"]) == {"3", "8"}
    assert "3-bit weights" in Path("page.html").read_text()

    assert run([*command[:4], "--bits", "many"]) == 2
    assert "--bits many is not allowed; give whole numbers with commas" in in_one_line(capsys)[1]
