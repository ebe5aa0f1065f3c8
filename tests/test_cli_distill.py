"""`slimedge student` and `slimedge distill`: what they write, say and refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import small_models
from cli_output import in_one_line, told

from slimedge.cli.running import run
from slimedge.compress.fitting import strategies
from slimedge.keras_file import load_model

STUDENT = ["student", "teacher.keras", "-o", "student.keras", "--width", "0.5"]
COMMAND = ["distill", "student.keras", "--data", "data.npz", "-o", "out.keras", "--teacher", "teacher.keras"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a teacher, its student, and data whose labels are the teacher's answers."""
    folder = tmp_path_factory.mktemp("distill")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        small_models.save_with_data(count=100)
        Path("float.keras").rename("teacher.keras")
        assert run([*STUDENT, "--seed", "1", "--json", "student.json", "--quiet"]) == 0
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    """A copy of it to work in."""
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_a_student_is_written_and_described(folder, capsys):
    given = ["--width", "0.25", "--weights", "inherit", "--multiple", "1", "--json", "again.json"]

    assert run([*STUDENT, *given]) == 0

    text, _ = in_one_line(capsys)
    found = json.loads(Path("again.json").read_text())
    assert "student of 25 % of the width, 100 % of the depth, with the teacher's weights" in text
    assert "a student is to be trained before it is of use; `slimedge distill` does" in text
    assert "wrote student.keras" in text
    assert found["student"]["weights"] == "inherit"
    teacher, small = load_model("teacher.keras"), load_model("student.keras")
    assert found["before"]["parameters"] == teacher.count_params()
    assert found["after"]["parameters"] == small.count_params()
    assert found["after"]["file_bytes"] == Path("student.keras").stat().st_size
    ((name, channels),) = found["student"]["channels"].items()
    assert channels == [8, 2] == [8, small.get_layer(name).filters]
    assert f"{name} 8 channels, 2 left" in text


def test_fresh_weights_are_those_of_the_seed(folder):
    first = load_model("student.keras").get_weights()

    assert run([*STUDENT, "--seed", "1", "--quiet"]) == 0
    again = load_model("student.keras").get_weights()
    assert run([*STUDENT, "--seed", "2", "--quiet"]) == 0
    other = load_model("student.keras").get_weights()

    assert all(map(np.array_equal, first, again))
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "width=1 and depth=1 leave the teacher as it is"),
        (["--width", "2"], "width=2 is not allowed"),
        (["--width", "0.5", "--weights", "copied"], "weights='copied' is not allowed; give fresh or inherit"),
        (["--width", "0.5", "--layers", "head*"], "the pattern 'head*' fits no layer"),
        (["--depth", "0.5"], "has no block that can go"),
        (
            ["--width", "0.5", "-o", "teacher.keras"],
            "teacher.keras is the teacher itself; write the student to",
        ),
        (["--width", "0.5", "-o", "s.h5"], "--output s.h5 must end in .keras"),
    ],
)
def test_a_student_that_cannot_be_made_is_refused(folder, capsys, given, said):
    assert run(["student", "teacher.keras", "-o", "new.keras", *given]) > 0

    assert said in told(capsys)[1]
    assert not Path("new.keras").exists()


def test_a_student_is_trained_scored_beside_its_teacher_and_described(folder, capsys):
    given = ["--temperature", "3", "--label-weight", "0.25", "--epochs", "2", "--learning-rate", "0.02"]
    names = [layer.name for layer in load_model("student.keras").layers]
    conv, relu = (next(name for name in names if name.startswith(kind)) for kind in ("conv2d", "re_lu"))
    given += ["--hint", f"{conv}={conv}", "--attention", f"{relu}={relu}", "--relation", "classes=classes"]
    given += ["--hint-weight", "0.5", "--batch-size", "16", "--schedule", "linear", "--optimizer", "adamw"]
    given += ["--validation", "0.2", "--patience", "2", "--seed", "3", "--teacher", "self"]

    assert run([*COMMAND, *given, "--json", "done.json"]) == 0

    text, _ = in_one_line(capsys)
    found = json.loads(Path("done.json").read_text())
    settings = found["distillation"]
    teacher, small = (load_model(name).name for name in ("teacher.keras", "student.keras"))
    assert f"learned from {teacher}, {small} at temperature 3, labels 25 %; trained on 80 examples" in text
    assert f"features of {conv} from {conv}" in text
    assert f"attention of {relu} from {relu}" in text
    assert "relations of classes from classes" in text
    assert f"kept epoch {settings['best_epoch']}, loss" in text
    assert "teacher teacher.keras: accuracy 100.00 % (20 examples); the student says the same on" in text
    assert {
        name: settings[name] for name in ("hints", "hint_weight", "schedule", "optimizer", "patience")
    } == {
        "hints": [f"{conv}: {conv}"],
        "hint_weight": 0.5,
        "schedule": "linear",
        "optimizer": "adamw",
        "patience": 2,
    }
    (beside,) = found["teachers"]
    assert (beside["path"], beside["accuracy"]["value"]) == ("teacher.keras", 1.0)
    # Labels are the teacher's answers, so to be right is to say the same.
    for when in ("before", "after"):
        assert beside[f"student_{when}"]["agreement"]["value"] == found[when]["accuracy"]["value"]
    assert found["examples"] == 80
    trained = load_model("out.keras")
    assert [layer.name for layer in trained.layers] == names
    assert found["after"]["parameters"] == found["before"]["parameters"] == trained.count_params()


def test_a_second_machine_trains_and_writes_nothing(folder, capsys, monkeypatch):
    started = []
    monkeypatch.setattr(strategies, "start", started.append)
    monkeypatch.setattr(strategies, "for_settings", lambda _: None)
    monkeypatch.setattr(strategies, "is_chief", lambda name: name != "multi-worker")

    assert run([*COMMAND, "--strategy", "multi-worker", "--epochs", "1", "--json", "done.json"]) == 0

    assert started == ["multi-worker"]
    assert "trained; the first machine of TF_CONFIG writes the student" in in_one_line(capsys)[0]
    assert not Path("out.keras").exists()
    assert not Path("done.json").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--temperature", "0"], "temperature=0.0 is not allowed"),
        (["--label-weight", "2"], "label_weight=2.0 is not allowed"),
        (
            ["--hint", "conv2d"],
            "--hint conv2d is not allowed; name a layer of the student and one of a teacher",
        ),
        (["--relation", "a=b", "--relation", "a=c"], "--relation a=b and --relation a=c are for one layer"),
        (["--attention", "none=classes"], "the student has no layer 'none'"),
        (["--teacher-weight", "1", "--teacher-weight", "2"], "teacher_weights has 2 numbers for 1 teachers"),
        (["--teacher", "none.keras"], "none.keras"),
        (["--strategy", "all"], "strategy"),
        (["--strategy", "multi-worker"], "takes the machines from the variable TF_CONFIG, which names none"),
        (["--patience", "1", "--validation", "0"], "patience=1 with validation=0.0 is not allowed"),
        (["-o", "teacher.keras"], "teacher.keras is a teacher; write the student to another file"),
        (["-o", "student.keras"], "student.keras is the model itself"),
    ],
)
def test_what_cannot_be_distilled_is_refused_and_nothing_is_written(folder, capsys, monkeypatch, given, said):
    monkeypatch.delenv(strategies.TF_CONFIG, raising=False)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    assert run([*COMMAND, *given]) == 2

    assert said in told(capsys)[1]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_teacher_has_to_be_named(folder, capsys):
    assert run(COMMAND[:-2]) == 2

    assert "missing option '--teacher'" in told(capsys)[1]
