"""The command line: one sentence an error, the right exit status, nothing half-written, no noise."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_files
from tiny_onnx import linear

from slimedge.cli.app import COMMANDS
from slimedge.cli.running import run

COMMAND = [sys.executable, "-m", "slimedge.cli"]
GENERATOR = np.random.default_rng(3)
KERNEL = GENERATOR.normal(size=(6, 3)).astype(np.float32)
X = GENERATOR.random((300, 6)).astype(np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with two models of one kind and data for them."""
    monkeypatch.chdir(tmp_path)
    linear(tmp_path / "before.onnx", KERNEL, padding_bytes=5000)
    linear(tmp_path / "after.onnx", KERNEL + 0.01)
    np.savez(tmp_path / "data.npz", x=X, y=np.argmax(X @ KERNEL, axis=1))
    np.savez(tmp_path / "unlabelled.npz", x=X)
    return tmp_path


def told(capsys):
    """What was printed, and the one line of the error."""
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) <= 1, captured.err
    return captured.out, (lines or [""])[0]


def test_help_answers_at_once_and_imports_nothing_heavy():
    code = (
        "import sys; from slimedge.cli.running import run; status = run(['--help']);"
        "heavy = {'tensorflow', 'keras', 'onnx', 'onnxruntime', 'numpy', 'rich', 'plotly', 'ai_edge_litert'};"
        "print(sorted(heavy & set(sys.modules)), status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[] 0"
    assert done.stderr == ""


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_every_command_has_help_that_names_its_options(name, capsys):
    assert run([name, "--help"] if name else []) == 0

    out, error = told(capsys)
    assert error == ""
    assert "Usage: slimedge" in out
    if name:
        assert "--json" in out
        assert "--quiet" in out


def test_the_version_is_the_package_s(capsys):
    import slimedge

    assert run(["--version"]) == 0
    assert told(capsys)[0] == f"slimedge {slimedge.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["quantise"],
            "slimedge: no such command 'quantise'. Did you mean 'quantize'?; see 'slimedge --help'.",
        ),
        (["compare", "a.onnx"], "slimedge: missing argument 'AFTER...'; see 'slimedge compare --help'."),
        (["quantize", "m.keras"], "slimedge: missing option '--data'; see 'slimedge quantize --help'."),
        (["inspect", "m.keras", "--jsn", "x"], "slimedge: no such option: --jsn"),
        (
            ["benchmark", "m.onnx", "--threads", "two"],
            "slimedge: invalid value 'two' for '--threads': Input should be a valid integer",
        ),
        (
            ["benchmark", "m.onnx", "--threads", "0"],
            "slimedge: invalid value '0' for '--threads': Input should be greater than",
        ),
    ],
)
def test_bad_usage_is_one_sentence_and_status_2(arguments, sentence, capsys):
    assert run(arguments) == 2

    out, error = told(capsys)
    assert out == ""
    assert error.startswith(sentence)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["inspect", "nothing.keras"], "nothing.keras"),
        (["compare", "before.onnx", "nothing.onnx"], "nothing.onnx"),
        (["compare", "before.onnx", "after.onnx", "--data", "nothing.npz"], "nothing.npz"),
        (
            ["compare", "before.onnx", "after.onnx", "--data", "data.npz", "--samples", "many"],
            "--samples many",
        ),
        (["compare", "before.onnx", "after.onnx", "--html", "."], "--html . is a folder"),
        (["compare", "before.onnx", "after.onnx", "--json", "data.npz/x.json"], "data.npz, which is a file"),
        (["compare", "before.onnx", "after.onnx", "--max-accuracy-drop", "1"], "needs examples with labels"),
        (
            ["compare", "before.onnx", "after.onnx", "--data", "unlabelled.npz", "--max-accuracy-drop", "1"],
            "needs labels, and unlabelled.npz has none",
        ),
        (["compare", "before.onnx", "after.onnx", "--target", "openvino"], "there is no backend 'openvino'"),
        (["benchmark", "before.onnx", "--effort", "hasty"], "effort 'hasty' is not known"),
        (["quantize", "m.keras", "--data", "data.npz", "-o", "out.onnx"], "must end in .keras"),
        (["quantize", "m.keras", "--data", "data.npz", "-o", "out.keras"], "m.keras"),
        (["export", "m.keras", "-o", "data.npz"], "data.npz, which is a file"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2_and_writes_nothing(folder, arguments, words, capsys):
    before = sorted(folder.iterdir())

    assert run(arguments) == 2

    out, error = told(capsys)
    assert out == ""
    assert error.startswith("slimedge: ")
    assert error.endswith(".")
    assert words in error
    assert sorted(folder.iterdir()) == before


def test_a_folder_that_may_not_be_written_is_refused_before_any_work(folder, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, *_: Path(path).is_file())

    assert run(["compare", "before.onnx", "after.onnx", "--html", "deep/er/report.html"]) == 2
    assert "nothing may be written" in told(capsys)[1]


def test_an_unexpected_error_is_one_sentence_with_the_way_to_see_more(folder, monkeypatch, capsys):
    from slimedge.benchmarks import inspecting

    def broken(*_args, **_settings):
        raise ZeroDivisionError("over there\nand more")

    monkeypatch.setattr(inspecting, "inspect", broken)

    assert run(["inspect", "before.onnx"]) == 2
    assert told(capsys)[1] == (
        "slimedge: an unexpected ZeroDivisionError (over there); set SLIMEDGE_TRACEBACK=1 to see where it arose."
    )

    monkeypatch.setenv("SLIMEDGE_TRACEBACK", "1")
    assert run(["inspect", "before.onnx"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted; nothing half-written is left"),
        (MemoryError(), 2, "ran out of memory"),
    ],
)
def test_other_ends_have_their_own_sentence(folder, monkeypatch, capsys, error, status, words):
    from slimedge.benchmarks import inspecting

    def ended(*_args, **_settings):
        raise error

    monkeypatch.setattr(inspecting, "inspect", ended)

    assert run(["inspect", "before.onnx"]) == status
    assert words in told(capsys)[1]


def test_inspect_prints_a_summary_and_writes_json(folder, capsys):
    assert run(["inspect", "before.onnx", "--json", "facts.json"]) == 0

    out, _ = told(capsys)
    assert "1 MatMul, 1 Softmax" in out
    assert json.loads(Path("facts.json").read_text())["ops"] == {"MatMul": 1, "Softmax": 1}


def test_json_to_stdout_is_all_that_is_printed(folder, capsys):
    assert run(["inspect", "before.onnx", "--json", "-"]) == 0
    assert json.loads(told(capsys)[0])["parameters"] == 18


def test_quiet_prints_nothing(folder, capsys):
    assert run(["inspect", "before.onnx", "--quiet"]) == 0
    assert told(capsys) == ("", "")


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


def test_compare_writes_every_kind_of_report_and_meets_its_goals(folder, hurried, capsys):
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


def test_a_missed_goal_is_status_1_after_the_report(folder, hurried, capsys):
    arguments = ["compare", "before.onnx", "after.onnx", "--json", "report.json"]

    assert run([*arguments, "--min-speedup", "1000"]) == 1

    out, error = told(capsys)
    assert "Goal --min-speedup 1000: after.onnx: missed" in out
    assert error.startswith("slimedge: 1 of 1 goals missed: --min-speedup 1000, after.onnx: missed, speedup")
    assert not json.loads(Path("report.json").read_text())["goals"][0]["met"]


def test_benchmark_prints_a_line_for_each_file(folder, hurried, capsys):
    tiny_files.float_onnx(folder / "two.onnx")

    assert run(["benchmark", "before.onnx", "two.onnx", "--json", "times.json"]) == 0

    out, _ = told(capsys)
    assert "before.onnx" in out
    assert "two.onnx" in out
    document = json.loads(Path("times.json").read_text())
    assert [model["name"] for model in document["models"]] == ["before.onnx", "two.onnx"]
    assert all(model["latency_s"]["p50"] > 0 for model in document["models"])


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


def test_tensorflow_s_noise_does_not_reach_the_user(tmp_path):
    import small_models

    small_models.MODELS["conv_batchnorm_relu"]().save(tmp_path / "m.keras")

    done = subprocess.run(
        [*COMMAND, "inspect", tmp_path / "m.keras"], capture_output=True, text=True, check=True
    )

    assert done.stderr == ""
    assert done.stdout.startswith("m.keras (keras)\n")


def test_a_closed_pipe_is_silent(folder):
    process = subprocess.Popen(
        [*COMMAND, "inspect", "before.onnx"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()

    assert process.stderr.read() == b""
    assert process.wait(60) == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_leaves_nothing_behind(folder, number, status):
    files = sorted(folder.iterdir())
    scratch = folder.parent / f"{folder.name}-scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        [*COMMAND, "compare", "before.onnx", "after.onnx", "--effort", "thorough", "--html", "report.html"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch)},
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not list(scratch.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)

    out, error = process.communicate(timeout=60)

    assert process.returncode == status
    assert out == ""
    assert error == ("slimedge: interrupted; nothing half-written is left.\n" if status == 130 else "")
    assert sorted(folder.iterdir()) == files
    assert list(scratch.iterdir()) == []
