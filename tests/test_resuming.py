"""The measurement of killed runs: what it sees, and when a bar is missed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from slimedge.benchmarks import resuming
from slimedge.benchmarks.resuming import KILLS, MARK, RECIPE, STAGES, STEPS, Kill, Trial, killed, missed
from slimedge.recipes.recipe import read_recipe

GOOD = Kill(10.0, "distill", 0, 1, 2.0, 5.0, 30.0, 0, 17, 17, ())


@pytest.fixture
def trial(tmp_path):
    made = Trial.within(tmp_path / "trial")
    made.run.mkdir()
    return made


def test_the_recipe_can_be_read_and_has_the_stages_that_are_named():
    found = read_recipe(RECIPE)
    assert tuple(stage.name for stage in found.stages) == STAGES
    assert found.effort == "quick"


@pytest.mark.parametrize(
    "bad",
    [
        replace(GOOD, status=2),
        replace(GOOD, same=16),
        replace(GOOD, orphans=1),
        replace(GOOD, left=("tmp/slimedge-1",)),
    ],
)
def test_one_bad_kill_among_all_misses_its_bar(bad):
    assert missed([GOOD] * KILLS, KILLS) == []
    assert len(missed([*[GOOD] * (KILLS - 1), bad], KILLS)) == 1


def test_too_few_kills_and_none_in_a_training_miss_bars():
    assert missed([GOOD] * 3, KILLS) == ["3 of 20 runs were killed"]
    assert missed([replace(GOOD, resumed=0)] * KILLS, KILLS) == ["no training went on in the middle"]


def test_what_a_run_is_at_follows_from_the_steps_that_are_whole(tmp_path):
    trial = Trial.within(tmp_path / "trial")
    assert trial.during() == "start"
    seen = []
    for index, step in enumerate(STEPS):
        (trial.run / "steps" / f"{step}-{index}").mkdir(parents=True)
        seen.append(trial.during())
    assert seen == [
        "export after original",
        "prune-channels",
        "export after prune-channels",
        "distill",
        "export after distill",
        "train",
        "export after train",
        "measure",
        "end",
    ]


def test_everything_that_should_not_be_there_is_found(trial):
    for name in ("steps", ".lock", "report.md", "resnet8_short.keras"):
        (trial.run / name).touch()
    assert trial.left() == ()

    (trial.run / "tmp").mkdir()
    (trial.run / ".slimedge-1").mkdir()
    (trial.work / "core").touch()
    (trial.scratch / "model").mkdir()
    assert trial.left() == ("tmp/model", "work/core", "work/run/.slimedge-1", "work/run/tmp")


def test_processes_are_known_by_the_mark_that_their_children_inherit(trial):
    sleeper = "import subprocess, sys; print(flush=True); subprocess.run(['sleep', '60'])"
    parent = subprocess.Popen(
        [sys.executable, "-c", sleeper], env={**os.environ, MARK: trial.mark}, stdout=subprocess.PIPE
    )
    parent.stdout.readline()
    found = trial.alive()
    while len(found) < 2:
        found = trial.alive()
    parent.kill()
    parent.wait()

    (child,) = trial.alive()

    assert sorted(found) == sorted([parent.pid, child])
    os.kill(child, 9)


def fake_start(trial, recipe):
    """A run that writes its files in the second after its start, one by one."""
    script = """
import sys, time
from pathlib import Path
run = Path("run")
again = (run / "again").exists()
for name in ("original", "export", "prune-channels"):
    (run / "steps" / name).mkdir(parents=True, exist_ok=True)
    (run / "steps" / name / "step.json").write_text(
        '{"name": "%s", "seconds": 3, "resumed": 1, "saved_s": 2}' % name)
    time.sleep(0 if again else 0.5)
    (run / "again").touch()
(run / "again").unlink()
(run / "resnet8_short.onnx").write_text(sys.argv[1])
"""
    return subprocess.Popen([sys.executable, "-c", script, str(recipe)], cwd=trial.work)


def test_a_killed_run_is_let_go_on_and_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(Trial, "start", fake_start)
    monkeypatch.setattr(resuming, "GRACE_S", 0.0)
    whole = Trial.within(tmp_path / "whole")
    fake_start(whole, "a").wait()
    expected = whole.hashes()
    assert list(expected) == ["resnet8_short.onnx"]

    found = killed(tmp_path / "one", Path("a"), 0.9, expected)

    assert (found.same, found.files, found.status, found.orphans, found.left) == (1, 1, 0, 0, ())
    assert found.during in {"start", "export after original", "prune-channels"}
    assert (found.resumed, found.saved_s) == (1, 2)
    assert killed(tmp_path / "two", Path("b"), 0.1, expected).same == 0
    assert killed(tmp_path / "late", Path("a"), 60.0, expected) is None


def test_a_measurement_is_written_with_its_kills(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["resuming", "--kills", "2"])
    monkeypatch.setattr(resuming, "undisturbed", lambda *_: (4.0, {"net.onnx": "abc"}))
    moments = []

    def kill(folder, recipe, at_s, expected):
        folder.mkdir()
        moments.append(at_s)
        if len(moments) > 1:
            return replace(GOOD, at_s=at_s)
        time.sleep(0.2)  # a run that is done before
        return None

    monkeypatch.setattr(resuming, "killed", kill)

    assert resuming.main() == 0

    file = Path("benchmarks/results/resuming.json")
    told = json.loads(file.read_text())
    assert [one["at_s"] for one in told["kills"]] == moments[1:]
    assert told["missed"] == []

    monkeypatch.setattr(sys, "argv", ["resuming", "--kills", "4", "--update"])
    assert resuming.main() == 0

    more = json.loads(file.read_text())
    assert more["kills"][:2] == told["kills"]
    assert [one["at_s"] for one in more["kills"]] == moments[1:]
    assert len(set(moments)) == 5
    first, *later = moments
    assert 0 <= first <= 4
    assert all(0 <= moment <= 2 for moment in later[:2])  # of what the first one took


def test_kills_of_other_files_are_not_gone_on_with(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(resuming, "killed", lambda folder, *_: folder.mkdir() or GOOD)
    for digest, arguments, kept in (("abc", [], 0), ("abc", ["--update"], 2), ("xyz", ["--update"], 0)):
        monkeypatch.setattr(resuming, "undisturbed", lambda *_, now=digest: (4.0, {"net.onnx": now}))
        monkeypatch.setattr(sys, "argv", ["resuming", "--kills", "2", *arguments])
        assert resuming.main() == 0
        assert f"earlier kills  {kept}" in capsys.readouterr().out
