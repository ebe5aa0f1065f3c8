"""`slimedge run`: what it prints, writes and refuses, and how it ends."""

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
from cli_output import in_one_line, told
from report_sample import sample_report
from small_models import save_with_data

from slimedge.artifact_file import read_artifact
from slimedge.benchmarks.judging import GoalOutcome
from slimedge.cli.running import run
from slimedge.keras_file import load_model
from slimedge.recipes.execution import Run
from slimedge.recipes.presets import presets
from slimedge.recipes.schema import schema

RECIPE = """
model: float.keras
data: {source: data.npz, calibration: 16, training: 40, evaluation: 40}
effort: quick
stages:
  - prune: {sparsity: 0.5, epochs: 0}
  - quantize: {scheme: static_wi8_ai8}
exports: {to: tflite, io: int8}
goals: {max-accuracy-drop: 100, max-bytes: 1 B}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder in which a recipe was run by the command, with what that said, and a folder for temporary files."""
    folder = tmp_path_factory.mktemp("a folder with spaces")
    mine = tmp_path_factory.mktemp("mine")
    here = Path.cwd()
    os.chdir(folder)
    try:
        save_with_data(100)
        Path("my recipe.yaml").write_text(RECIPE)
        done = started("run", "my recipe.yaml", TMPDIR=str(mine))
        out, error = done.communicate(timeout=300)
    finally:
        os.chdir(here)
    return folder, mine, done.returncode, out, error


@pytest.fixture
def folder(made, monkeypatch):
    monkeypatch.chdir(made[0])
    return made[0]


def started(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "slimedge.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def test_a_missed_goal_is_status_1_after_the_report_was_written(made):
    folder, _, status, out, error = made

    assert status == 1
    assert error.startswith("slimedge: 1 of 2 goals missed: max-bytes 1 B, float_my recipe.tflite: missed, ")
    assert len(error.splitlines()) == 1
    lines = out.splitlines()
    assert lines[0].startswith("stage 1 of 2, prune: ")
    assert lines[1].startswith("stage 2 of 2, quantize: ")
    assert lines[-3:] == [
        "the report as a page: my recipe-run/report.html",
        "wrote my recipe-run/float_my recipe.keras",
        "wrote my recipe-run/float_my recipe.tflite",
    ]
    assert sorted(path.name for path in folder.iterdir()) == [
        "data.npz",
        "float.keras",
        "my recipe-run",
        "my recipe.yaml",
    ]


def test_nothing_is_left_in_the_users_folder_for_temporary_files_or_in_the_runs(made):
    folder, mine, *_ = made
    assert list(mine.iterdir()) == []
    assert sorted(path.name for path in (folder / "my recipe-run").iterdir()) == [
        ".lock",
        "float_my recipe.keras",
        "float_my recipe.tflite",
        "report.html",
        "report.json",
        "report.md",
        "steps",
    ]


def test_every_report_holds_the_stages_of_what_was_measured(folder):
    report = json.loads(Path("my recipe-run/report.json").read_text())

    assert [stage["title"] for stage in report["stages"]] == ["prune", "quantize"]
    assert [stage["variants"] for stage in report["stages"]] == [
        ["1-prune.tflite"],
        ["float_my recipe.tflite"],
    ]
    assert report["baseline"]["name"] == "original.tflite"
    assert [one["name"] for one in report["variants"]] == ["1-prune.tflite", "float_my recipe.tflite"]
    assert all(one["accuracy"]["n"] == 40 for one in report["variants"])
    assert [goal["met"] for goal in report["goals"]] == [True, False]
    page, text = Path("my recipe-run/report.html").read_text(), Path("my recipe-run/report.md").read_text()
    for words in ("prune", "epochs 0", "quantize", "scheme static_wi8_ai8", "max-bytes"):
        assert words in page
        assert words in text.replace("\\", "")


def test_the_final_files_are_as_the_recipe_wants_them_and_those_between_are_float(folder):
    last = read_artifact(Path("my recipe-run/float_my recipe.tflite"))
    assert [spec.dtype for spec in (*last.inputs, *last.outputs)] == ["int8", "int8"]
    (between,) = Path("my recipe-run/steps").rglob("1-prune.tflite")
    assert [spec.dtype for spec in read_artifact(between).inputs] == ["float32"]
    network = load_model("my recipe-run/float_my recipe.keras", compiled=False)
    kernels = [np.asarray(one) for one in network.variables if one.path.endswith("/kernel")]
    assert [np.mean(kernel == 0) for kernel in kernels] == [0.5, 0.5]


def test_another_run_does_nothing_again_and_exits_0_where_the_goals_are_met(folder, capsys):
    before = {path: path.stat().st_mtime_ns for path in Path("my recipe-run/steps").rglob("*")}
    hashes = {path.name: path.read_bytes() for path in Path("my recipe-run").glob("float_*")}
    Path("my recipe.yaml").write_text(RECIPE.replace("1 B", "1 MB"))

    assert run(["run", "my recipe.yaml", "--json", "out.json"]) == 0

    out, error = told(capsys)
    assert error == ""
    assert out.splitlines()[:3] == [
        "stage 1 of 2, prune: as before",
        "stage 2 of 2, quantize: as before",
        "measured: as before",
    ]
    assert {path: path.stat().st_mtime_ns for path in Path("my recipe-run/steps").rglob("*")} == before
    assert {path.name: path.read_bytes() for path in Path("my recipe-run").glob("float_*")} == hashes
    assert json.loads(Path("out.json").read_text()) == json.loads(
        Path("my recipe-run/report.json").read_text()
    )
    Path("out.json").unlink()


def test_a_format_that_is_not_wanted_any_more_goes_and_json_on_stdout_is_alone(folder, capsys):
    Path("my recipe.yaml").write_text(RECIPE.replace("1 B", "1 MB"))
    Path("my recipe-run/float_my recipe.onnx").write_text("of an earlier run")

    assert run(["run", "my recipe.yaml", "-o", str(folder / "my recipe-run"), "--json", "-"]) == 0

    assert [goal["met"] for goal in json.loads(told(capsys)[0])["goals"]] == [True, True]
    assert sorted(path.name for path in Path("my recipe-run").glob("float_*")) == [
        "float_my recipe.keras",
        "float_my recipe.tflite",
    ]


def test_ctrl_c_ends_with_130_and_the_run_goes_on(folder, tmp_path):
    Path("slow.yaml").write_text(
        "model: float.keras\ndata: {source: data.npz, evaluation: 40}\nexports: tflite\neffort: quick\n"
        "stages:\n  - prune: {epochs: 0}\n  - cluster: {clusters: 4, epochs: 20000}\n"
    )
    arguments = ("run", "slow.yaml", "-o", str(tmp_path / "run"))
    environment = {"SLIMEDGE_CHECKPOINT_S": "0.2"}
    first = started(*arguments, **environment)
    assert first.stdout.readline().startswith("stage 1 of 2, prune: ")
    wait_for(lambda: list(tmp_path.rglob("training-1.npz")))
    first.send_signal(signal.SIGINT)

    _, error = first.communicate(timeout=100)
    assert first.returncode == 130
    assert (
        error
        == f"slimedge: interrupted; what was finished is kept in {tmp_path}/run, run the same to go on.\n"
    )
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [".lock", "steps", "work"]

    second = started(*arguments, **environment)
    assert second.stdout.readline() == "stage 1 of 2, prune: as before\n"
    second.send_signal(signal.SIGTERM)
    second.communicate(timeout=100)
    assert second.returncode == 143
    assert not list(tmp_path.rglob("tmp"))


def wait_for(there, limit_s=100):
    deadline = time.monotonic() + limit_s
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def executed(tmp_path, monkeypatch):
    """Recipes that were executed, in a folder with a model and data; executing gives a report of goals that are met."""
    seen = []

    def execute(recipe, where, **_):
        seen.append((recipe, where))
        return Run(sample_report(), (where / "net.keras",))

    monkeypatch.setattr("slimedge.recipes.execution.execute", execute)
    monkeypatch.chdir(tmp_path)
    Path("net.keras").touch()
    Path("data.npz").touch()
    return seen


@pytest.mark.parametrize("preset", presets())
def test_a_preset_takes_model_and_data_from_the_command_line(executed, capsys, preset):
    arguments = [
        "run",
        preset,
        "--model",
        "net.keras",
        "--data",
        "data.npz",
        "--scale",
        "1/255",
        "--samples",
        "0.5",
    ]
    sample_report_misses = any(not goal.met for goal in sample_report().goals)

    assert run([*arguments, "--no-range-checks", "--label-column", "y"]) == sample_report_misses

    ((recipe, where),) = executed
    assert (recipe.name, where) == (preset, Path(f"{preset}-run"))
    assert (recipe.model, recipe.data.source) == (Path.cwd() / "net.keras", str(Path.cwd() / "data.npz"))
    assert (recipe.data.scale, recipe.data.evaluation, recipe.data.labels) == ("1/255", 0.5, "y")
    assert recipe.data.checks == "types"
    assert recipe.stages


def test_the_goals_decide_the_status(executed, capsys, monkeypatch):
    report = sample_report()
    goals = [
        GoalOutcome("max-bytes 1 B", "net.onnx", met=met, sentence="net.onnx: so it is.")
        for met in (True, False)
    ]
    for chosen, status in ((goals[:1], 0), (goals, 1), ([], 0)):
        changed = type(report)(report.title, report.comparisons, tuple(chosen))
        monkeypatch.setattr(
            "slimedge.recipes.execution.execute", lambda *_, _report=changed, **__: Run(_report, ())
        )
        assert run(["run", "tiny", "--model", "net.keras", "--data", "data.npz", "--quiet"]) == status
        out, error = told(capsys)
        assert out == ""
        assert error == (
            "slimedge: 1 of 2 goals missed: max-bytes 1 B, net.onnx: so it is." if status else ""
        )


def test_the_schema_is_printed_as_json_and_nothing_is_done(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["run", "--schema"]) == 0
    assert json.loads(told(capsys)[0]) == json.loads(json.dumps(schema()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no recipe was named; give a .yaml file, or one of the presets tiny, balanced, accuracy, mcu."),
        (["tini"], "there is no recipe tini; did you mean 'tiny'; name a YAML file, or one of the presets"),
        (["tiny"], "the preset tiny names no model and no data; give both with it"),
        (["tiny", "--model", "none.keras", "--data", "data.npz"], "none.keras; name a trained .keras file."),
        (["tiny", "--model", "net.keras", "--data", "none.npz"], "none.npz; give"),
        (["bad.yaml"], "bad.yaml, line 3, stages[0]: there is no stage 'prun'"),
        (
            ["tiny", "--model", "net.keras", "--data", "data.npz", "-o", "net.keras"],
            "--output lies under net.keras",
        ),
        (["tiny", "--samples", "some"], "--samples some is not allowed"),
        (["tiny", "--epochs", "3"], "no such option"),
        (["tiny", "--model", "net.keras", "--data", "data.npz", "--json", "."], "--json . is a folder"),
    ],
)
def test_what_cannot_be_run_is_status_2_one_sentence_and_writes_nothing(executed, capsys, arguments, said):
    Path("bad.yaml").write_text("model: net.keras\ndata: data.npz\nstages: [prun]\n")

    assert run(["run", *arguments]) == 2

    out, error = in_one_line(capsys)
    assert out == ""
    assert error.startswith("slimedge: ")
    assert said.lower() in error.lower()
    assert error.endswith(".")
    assert executed == []
    assert sorted(path.name for path in Path().iterdir()) == ["bad.yaml", "data.npz", "net.keras"]


def test_a_checkpoint_interval_that_is_no_number_is_refused_before_anything_is_written(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLIMEDGE_CHECKPOINT_S", "often")
    Path("net.keras").touch()
    Path("data.npz").touch()
    assert run(["run", "tiny", "--model", "net.keras", "--data", "data.npz"]) == 2
    assert told(capsys)[1] == (
        "slimedge: SLIMEDGE_CHECKPOINT_S is 'often'; give seconds as 20, 0 for a checkpoint after every step."
    )
    assert not Path("tiny-run").exists()


def test_data_that_does_not_fit_is_one_sentence(tmp_path, monkeypatch, capsys, folder):
    np.savez(tmp_path / "data.npz", picture=np.zeros((20, 5), np.float32), y=np.zeros(20, int))
    text = RECIPE.replace("data.npz", str(tmp_path / "data.npz")).replace(
        "float.keras", str(folder / "float.keras")
    )
    (tmp_path / "r.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert run(["run", "r.yaml"]) == 2
    assert "picture" in told(capsys)[1]
    assert sorted(path.name for path in Path("r-run").iterdir()) == [".lock", "steps"]
