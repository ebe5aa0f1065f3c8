"""The command line: one sentence an error, the right exit status, nothing half-written, no noise."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_output import told

from slimedge.cli.app import COMMANDS
from slimedge.cli.running import run

COMMAND = [sys.executable, "-m", "slimedge.cli"]


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
        (
            ["compare", "before.onnx", "after.onnx", "--target", "openvivo"],
            "there is no target 'openvivo'; did you mean 'openvino'",
        ),
        (["benchmark", "before.onnx", "--effort", "hasty"], "effort 'hasty' is not known"),
        (["quantize", "m.keras", "--data", "data.npz", "-o", "out.onnx"], "must end in .keras"),
        (["quantize", "m.keras", "--data", "data.npz", "-o", "out.keras"], "m.keras"),
        (["export", "m.keras", "-o", "data.npz"], "data.npz, which is a file"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2_and_writes_nothing(linear_folder, arguments, words, capsys):
    before = sorted(linear_folder.iterdir())

    assert run(arguments) == 2

    out, error = told(capsys)
    assert out == ""
    assert error.startswith("slimedge: ")
    assert error.endswith(".")
    assert words in error
    assert sorted(linear_folder.iterdir()) == before


def test_a_folder_that_may_not_be_written_is_refused_before_any_work(linear_folder, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, *_: Path(path).is_file())

    assert run(["compare", "before.onnx", "after.onnx", "--html", "deep/er/report.html"]) == 2
    assert "nothing may be written" in told(capsys)[1]


def test_an_unexpected_error_is_one_sentence_with_the_way_to_see_more(linear_folder, monkeypatch, capsys):
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
def test_other_ends_have_their_own_sentence(linear_folder, monkeypatch, capsys, error, status, words):
    from slimedge.benchmarks import inspecting

    def ended(*_args, **_settings):
        raise error

    monkeypatch.setattr(inspecting, "inspect", ended)

    assert run(["inspect", "before.onnx"]) == status
    assert words in told(capsys)[1]


def test_json_to_stdout_is_all_that_is_printed(linear_folder, capsys):
    assert run(["inspect", "before.onnx", "--json", "-"]) == 0
    assert json.loads(told(capsys)[0])["parameters"] == 18


def test_quiet_prints_nothing(linear_folder, capsys):
    assert run(["inspect", "before.onnx", "--quiet"]) == 0
    assert told(capsys) == ("", "")


def test_tensorflow_s_noise_does_not_reach_the_user(tmp_path):
    import small_models

    small_models.MODELS["conv_batchnorm_relu"]().save(tmp_path / "m.keras")

    done = subprocess.run(
        [*COMMAND, "inspect", tmp_path / "m.keras"], capture_output=True, text=True, check=True
    )

    assert done.stderr == ""
    assert done.stdout.startswith("m.keras (keras)\n")


def test_a_closed_pipe_is_silent(linear_folder):
    process = subprocess.Popen(
        [*COMMAND, "inspect", "before.onnx"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()

    assert process.stderr.read() == b""
    assert process.wait(60) == 0


LOSING = """
import os, sys, time
from slimedge.cli import running
class Losing:
    def __del__(self):
        os.kill(os.getpid(), int(sys.argv[1]))
        time.sleep(0.01)
def command(arguments):
    Losing()
    time.sleep(60)
running.run = command
running.main([])
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_arrives_where_python_drops_exceptions_is_not_lost(number, status):
    done = subprocess.run(
        [sys.executable, "-c", LOSING, str(int(number))],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == status
    assert done.stderr == ("slimedge: interrupted; nothing half-written is left.\n" if status == 130 else "")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_leaves_nothing_behind(linear_folder, number, status):
    files = sorted(linear_folder.iterdir())
    scratch = linear_folder.parent / f"{linear_folder.name}-scratch"
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
    assert sorted(linear_folder.iterdir()) == files
    assert list(scratch.iterdir()) == []
