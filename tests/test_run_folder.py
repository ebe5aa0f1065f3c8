"""A run's folder: steps are whole or not there, found by what they were made from; one run at a time works in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from refusals import refusal_of

from slimedge.errors import InputError
from slimedge.files import atomic_path, scratch_folder
from slimedge.recipes.keys import key_of, versions
from slimedge.recipes.run_folder import RunFolder

KEY, OTHER = "a" * 64, "b" * 64
HOLD = """
import sys, time
from pathlib import Path
from slimedge.recipes.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def run(tmp_path):
    """A folder in which a run is under way."""
    folder = RunFolder(tmp_path / "run")
    with folder.locked():
        yield folder


@pytest.fixture
def small(tmp_path):
    """A file system of 64 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs needs root; run the tests as root to see what a full disk does.")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def make(run, name="prune", key=KEY, text="model"):
    work = run.making(key)
    (work.out / "model.txt").write_text(text)
    return run.keep(name, key, seconds=1.5)


def test_a_step_is_found_by_its_key_with_what_was_noted(run):
    assert run.done("prune", KEY) is None

    made = make(run)
    found = run.done("prune", KEY)

    assert (made.reused, found.reused) == (False, True)
    assert found.folder == made.folder == run.path / "steps" / f"prune-{'a' * 16}"
    assert (found.folder / "model.txt").read_text() == "model"
    assert found.seconds == 1.5
    assert found.note["files"] == {
        "model.txt": "9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4"
    }
    assert run.done("prune", OTHER) is None
    assert run.done("train", KEY) is None


def test_a_key_of_the_same_first_digits_is_another(run):
    make(run)
    assert run.done("prune", "a" * 16 + "b" * 48) is None


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "model.txt").write_text("other"),
        lambda folder: (folder / "model.txt").unlink(),
        lambda folder: (folder / "step.json").unlink(),
        lambda folder: (folder / "step.json").write_text('{"key": "aaa'),
        lambda folder: (folder / "step.json").write_text("[1]"),
        lambda folder: (folder / "step.json").write_text(json.dumps({"key": KEY, "files": ["model.txt"]})),
    ],
    ids=["changed", "gone", "no note", "half a note", "a list", "files without hashes"],
)
def test_a_step_that_is_not_what_was_written_is_none_and_can_be_made_again(run, harm):
    harm(make(run).folder)

    assert run.done("prune", KEY) is None

    make(run, text="again")
    assert (run.done("prune", KEY).folder / "model.txt").read_text() == "again"


def test_what_was_half_made_is_gone_when_it_is_made_again_and_checkpoints_stay(run):
    work = run.making(KEY)
    (work.out / "half.txt").write_text("half")
    work.checkpoints.mkdir()
    (work.checkpoints / "training-1.npz").write_text("state")

    again = run.making(KEY)

    assert list(again.out.iterdir()) == []
    assert (again.checkpoints / "training-1.npz").read_text() == "state"
    run.keep("prune", KEY)
    assert not again.checkpoints.exists()


def test_temporary_files_of_this_process_and_its_children_lie_in_the_folder_meanwhile(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "mine"))
    monkeypatch.setattr(tempfile, "tempdir", "/before")
    ask = "import os, tempfile; os.chdir('/'); print(tempfile.gettempdir())"

    with RunFolder(Path("run")).locked():
        child = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
        with scratch_folder() as scratch:
            assert scratch.parent == tmp_path / "run/tmp" == Path(child.stdout.strip())
        (tmp_path / "run/tmp/left").write_text("by a library")

    assert (os.environ["TMPDIR"], tempfile.tempdir) == (str(tmp_path / "mine"), "/before")
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == [".lock"]


def test_without_tmpdir_there_is_none_afterwards(tmp_path, monkeypatch):
    monkeypatch.delenv("TMPDIR", raising=False)
    with pytest.raises(KeyboardInterrupt), RunFolder(tmp_path / "run").locked():
        raise KeyboardInterrupt
    assert "TMPDIR" not in os.environ


def test_what_a_killed_run_left_half_written_goes(tmp_path):
    for name in (".slimedge-123", "tmp/slimedge-1"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "half").write_text("half")
    (tmp_path / "mine.txt").write_text("mine")

    with RunFolder(tmp_path).locked():
        assert list((tmp_path / "tmp").iterdir()) == []

    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".lock", "mine.txt"]


def test_another_run_in_the_folder_is_refused_with_its_process_until_that_is_killed(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        said = refusal_of(RunFolder(tmp_path).locked().__enter__)
        assert f"another run is under way in {tmp_path} (process {other.pid}); wait for it" in said
        assert (tmp_path / "tmp").is_dir()
    finally:
        other.kill()
        other.wait()
    with RunFolder(tmp_path).locked():
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_a_lock_without_a_readable_process_still_keeps_others_out(run):
    (run.path / ".lock").write_text("?")
    assert f"under way in {run.path}; wait" in refusal_of(RunFolder(run.path).locked().__enter__)


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path):
    (tmp_path / "taken").write_text("a file")
    for path in (tmp_path / "taken", tmp_path / "taken/run"):
        said = refusal_of(RunFolder(path).locked().__enter__)
        assert f"could not write in {path}: " in said
        assert "run again" in said
    assert (tmp_path / "taken").read_text() == "a file"


def test_a_lock_that_cannot_be_opened_is_one_sentence(tmp_path):
    (tmp_path / ".lock").mkdir()
    assert f"could not write in {tmp_path}: is a directory" in refusal_of(
        RunFolder(tmp_path).locked().__enter__
    )


def test_a_read_only_folder_is_one_sentence(small):
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    for path in (small, small / "run"):
        assert "read-only file system; what was finished is kept" in refusal_of(
            RunFolder(path).locked().__enter__
        )


def write_scratch(_):
    with scratch_folder() as scratch:
        (scratch / "large").write_bytes(b"x" * 200_000)


def write_step(run):
    (run.making(OTHER).out / "large").write_bytes(b"x" * 200_000)


def write_final(run):
    large = run.path.parent.parent / "large"
    large.write_bytes(b"x" * 200_000)
    run.put(large, "final.onnx")


def write_report(run):
    with atomic_path(run.path / "report.md") as path:
        path.write_bytes(b"x" * 200_000)


@pytest.mark.parametrize("write", [write_scratch, write_step, write_final, write_report])
def test_a_full_disk_is_one_sentence_and_what_was_finished_is_found_again(small, write):
    run = RunFolder(small / "run")

    def fill():
        with run.locked():
            make(run)
            write(run)

    said = refusal_of(fill)

    assert said.startswith(
        f"could not write in {run.path}: no space left on device; what was finished is kept"
    )
    assert "TMPDIR" not in said
    with run.locked():
        assert run.done("prune", KEY).reused
        run.clear()
    assert sorted(entry.name for entry in run.path.iterdir()) == [".lock", "steps"]


def test_errors_of_other_files_and_of_the_user_pass_as_they_are(tmp_path):
    run = RunFolder(tmp_path / "run")
    with pytest.raises(FileNotFoundError), run.locked():
        (tmp_path / "elsewhere").read_bytes()
    with pytest.raises(InputError, match=r"^the data is empty\.$"), run.locked():
        raise InputError("the data is empty.")


def test_a_file_is_put_where_the_user_looks_whole(run):
    made = make(run)
    assert run.put(made.folder / "model.txt", "final.txt") == run.path / "final.txt"
    make(run, key=OTHER, text="newer")
    run.put(run.done("prune", OTHER).folder / "model.txt", "final.txt")
    assert (run.path / "final.txt").read_text() == "newer"
    assert (made.folder / "model.txt").read_text() == "model"


def test_a_key_follows_from_every_fact_and_every_version(monkeypatch):
    key = key_of("prune", settings={"sparsity": 0.5, "epochs": 1}, model="abc")
    assert key == key_of("prune", model="abc", settings={"epochs": 1, "sparsity": 0.5})
    others = [
        key_of("cluster", settings={"sparsity": 0.5, "epochs": 1}, model="abc"),
        key_of("prune", settings={"sparsity": 0.5, "epochs": 2}, model="abc"),
        key_of("prune", settings={"sparsity": 0.5, "epochs": 1}, model="abd"),
    ]
    monkeypatch.setattr("slimedge.recipes.keys.versions", lambda: {**versions(), "keras": "0"})
    others.append(key_of("prune", settings={"sparsity": 0.5, "epochs": 1}, model="abc"))
    assert len({key, *others}) == 5


def test_the_versions_are_those_that_are_installed():
    from importlib.metadata import version

    found = versions()
    assert found["keras"] == version("keras")
    assert "slimedge" in found
