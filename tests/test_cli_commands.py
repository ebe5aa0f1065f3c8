"""What commands do with small files: reports, goals, and a model that goes all the way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_files
from cli_output import told

from slimedge.cli.running import run


def test_inspect_prints_a_summary_and_writes_json(linear_folder, capsys):
    assert run(["inspect", "before.onnx", "--json", "facts.json"]) == 0

    out, _ = told(capsys)
    assert "1 MatMul, 1 Softmax" in out
    assert json.loads(Path("facts.json").read_text())["ops"] == {"MatMul": 1, "Softmax": 1}


def test_targets_lists_what_runs_here_and_why_the_rest_does_not(capsys):
    assert run(["targets", "--json", "-"]) == 0

    found = {each["target"]: each for each in json.loads(told(capsys)[0])}
    assert found["ort"]["available"]
    assert found["ort"]["version"]
    assert all(each["available"] or each["reason"] for each in found.values())


@pytest.fixture
def hurried(monkeypatch):
    """Measure as little as possible: these tests look at what is done with the figures."""
    from dataclasses import replace

    from slimedge.benchmarks import latency

    short = replace(
        latency.QUICK, launches=2, most_launches=2, rounds=2, launch_s=0.1, turn_s=0.005, warm_s=0.05
    )
    monkeypatch.setattr(latency, "SETTINGS", {"default": short})


def test_compare_writes_every_kind_of_report_and_meets_its_goals(linear_folder, hurried, capsys):
    arguments = ["compare", "before.onnx", "after.onnx", "--data", "data.npz", "--samples", "all"]
    reports = ["--html", "r/report.html", "--markdown", "r/report.md", "--json", "r/report.json"]

    assert run([*arguments, *reports, "--max-accuracy-drop", "30", "--min-speedup", "0.01"]) == 0

    out, _ = told(capsys)
    assert "after.onnx against before.onnx" in out
    assert "Goal --min-speedup 0.01: after.onnx: met" in out
    document = json.loads(Path("r/report.json").read_text())
    assert document["baseline"]["accuracy"] == {
        "value": 1.0,
        "low": pytest.approx(0.9874, abs=1e-4),
        "high": 1.0,
        "n": 300,
    }
    assert document["goals"][0]["met"]
    assert "<svg" in Path("r/report.html").read_text()
    assert "after.onnx" in Path("r/report.md").read_text()


def test_a_missed_goal_is_status_1_after_the_report(linear_folder, hurried, capsys):
    arguments = ["compare", "before.onnx", "after.onnx", "--json", "report.json"]

    assert run([*arguments, "--min-speedup", "1000"]) == 1

    out, error = told(capsys)
    assert "Goal --min-speedup 1000: after.onnx: missed" in out
    assert error.startswith("slimedge: 1 of 1 goals missed: --min-speedup 1000, after.onnx: missed, speedup")
    assert not json.loads(Path("report.json").read_text())["goals"][0]["met"]


def test_benchmark_prints_a_line_for_each_file(linear_folder, hurried, capsys):
    tiny_files.float_onnx(linear_folder / "two.onnx")

    assert run(["benchmark", "before.onnx", "two.onnx", "--json", "times.json"]) == 0

    out, _ = told(capsys)
    assert "before.onnx" in out
    assert "two.onnx" in out
    document = json.loads(Path("times.json").read_text())
    assert [row["model"] for row in document["rows"]] == ["before.onnx", "two.onnx"]
    assert all(row["latency_s"]["p50"] > 0 for row in document["rows"])


def test_a_model_goes_all_the_way(tmp_path, monkeypatch, hurried, capsys):
    import small_models

    monkeypatch.chdir(tmp_path)
    network = small_models.MODELS["conv_batchnorm_relu"]()
    network.save("float.keras")
    inputs = small_models.examples(network, count=200)
    np.savez("data.npz", **inputs, y=np.argmax(network.predict(inputs["picture"], verbose=0), axis=1))

    quantize = [
        "quantize",
        "float.keras",
        "--data",
        "data.npz",
        "-o",
        "int8.keras",
        "--json",
        "quantized.json",
    ]
    assert run(quantize) == 0
    out, error = told(capsys)
    assert error == ""
    assert "2 layers quantized to static_wi8_ai8, ranges by minmax over 80 examples" in out
    assert "accuracy 100.00 % before" in out
    assert json.loads(Path("quantized.json").read_text())["before"]["accuracy"]["n"] == 40

    assert run(["export", "int8.keras", "--to", "onnx", "-o", "out", "--json", "-"]) == 0
    (exported,) = json.loads(told(capsys)[0])
    assert exported["path"] == "out/int8.onnx"
    assert [step["name"] for step in exported["lineage"]] == ["quantize", "export"]

    arguments = ["compare", "float.keras", "out/int8.onnx", "--data", "data.npz", "--html", "report.html"]
    assert run([*arguments, "--json", "-"]) == 0
    (variant,) = json.loads(told(capsys)[0])["variants"]
    assert variant["agreement"]["value"] > 0.9
    assert variant["layer_sqnr"]
    assert "SQNR by layer" in Path("report.html").read_text()


def test_a_quantized_model_is_trained_on_what_is_left_of_the_data(tmp_path, monkeypatch, capsys):
    import small_models

    monkeypatch.chdir(tmp_path)
    network = small_models.MODELS["dense_chain"]()
    network.save("float.keras")
    np.savez("data.npz", **small_models.examples(network, count=200))
    command = ["quantize", "float.keras", "--data", "data.npz", "-o", "int8.keras", "--json", "done.json"]

    assert run([*command, "--qat-epochs", "2"]) == 0
    out, _ = told(capsys)
    assert "ranges by minmax over 80 examples\ntrained on 80 examples, 2 epochs, by distillation" in out
    document = json.loads(Path("done.json").read_text())
    assert document["scheme"] == "static_wi8_ai8"
    assert [step["name"] for step in document["artifact"]["lineage"]] == ["quantize", "train"]
    assert document["after"]["sqnr_db"] > 20

    assert run([*command, "--qat-epochs", "-1"]) == 2
    assert "-1 epochs of training are not possible" in told(capsys)[1]
    assert run([*command, "--qat-epochs", "1", "--calibration", "100", "--samples", "100"]) == 2
    assert "leave no example to train on" in told(capsys)[1]

    engines = []
    monkeypatch.setattr(
        "slimedge.compress.training.train", lambda model, *_, engine, **__: engines.append(engine) or model
    )
    assert run([*command, "--qat-epochs", "1", "--qat-engine", "tfmot"]) == 0
    assert engines == ["tfmot"]
    assert run([*command, "--qat-epochs", "1", "--qat-engine", "tmfot"]) == 2
    assert "there is no engine 'tmfot'; did you mean 'tfmot'; the engines are" in told(capsys)[1]


def test_a_model_is_not_quantized_onto_itself(tmp_path, monkeypatch, capsys):
    import small_models

    monkeypatch.chdir(tmp_path)
    small_models.MODELS["conv_batchnorm_relu"]().save("m.keras")
    np.savez("data.npz", picture=np.random.default_rng(0).random((20, 12, 12, 3), np.float32))
    before = Path("m.keras").read_bytes()

    assert run(["quantize", "m.keras", "--data", "data.npz", "-o", "./m.keras"]) == 2
    assert "is the model itself" in told(capsys)[1]
    assert Path("m.keras").read_bytes() == before
