"""Trainings that were stopped in the middle and go on: nothing tells them from those that were not."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from fitting_nets import Counting, StoppedError, net, same_weights, stopping_after, table

from slimedge.compress.channel_pruning import prune_channels
from slimedge.compress.clustering import cluster
from slimedge.compress.distillation import distill
from slimedge.compress.fitting.checkpoints import Checkpoints, kept_in
from slimedge.compress.fitting.fine_tuning import fine_tuned
from slimedge.compress.fitting.settings import FitSettings
from slimedge.compress.pruning import prune
from slimedge.compress.training import train
from slimedge.errors import InputError
from slimedge.keras_file import input_specs
from slimedge.lineage import lineage_of

HOW = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-2}
# What trains, after how many steps it is stopped, and how many steps it has in all.
TRAININGS = {
    "distill": (lambda **told: distill(net(), table(), teachers=net(2), validation=0, **HOW, **told), 11, 16),
    "held out": (
        lambda **told: distill(
            net(),
            table(),
            teachers=net(2),
            epochs=12,
            batch_size=8,
            learning_rate=0.3,
            validation=0.25,
            patience=3,
            **told,
        ),
        21,
        None,
    ),
    "prune": (
        lambda **told: prune(net(), table(), sparsity=0.6, schedule="polynomial", **HOW, **told),
        7,
        16,
    ),
    "cluster": (lambda **told: cluster(net(), table(), clusters=4, loss="labels", **HOW, **told), 12, 16),
    "train": (
        lambda **told: train(net(), table(), ranges="moving_average", freeze_after=0.5, **HOW, **told),
        5,
        16,
    ),
    "train, frozen": (
        lambda **told: train(net(), table(), gradients="lsq", freeze_after=0.5, **HOW, **told),
        13,
        16,
    ),
    "channels": (
        lambda **told: prune_channels(net(), table(), ratio=0.5, multiple=2, steps=2, **HOW, **told),
        20,
        24,
    ),
}


@pytest.mark.parametrize("name", TRAININGS)
def test_what_was_stopped_and_went_on_is_what_was_not_stopped(name, tmp_path):
    train_it, stop, steps = TRAININGS[name]
    whole = Counting()
    expected = train_it(progress=whole)
    assert steps in (None, whole.steps)
    with pytest.raises(StoppedError), kept_in(tmp_path, every_s=0):
        train_it(progress=stopping_after(stop))
    rest = Counting()
    with kept_in(tmp_path, every_s=0):
        found = train_it(progress=rest)
    # The step that told of itself last was not written.
    assert rest.steps == whole.steps - stop + 1
    assert same_weights(found, expected)
    assert lineage_of(found) == lineage_of(expected)


def test_what_was_finished_is_not_trained_again(tmp_path):
    again = Counting()
    with kept_in(tmp_path):
        first = distill(net(), table(), teachers=net(2), **HOW)
    with kept_in(tmp_path):
        second = distill(net(), table(), teachers=net(2), **HOW, progress=again)
    assert again.steps == 0
    assert same_weights(first, second)
    assert lineage_of(first) == lineage_of(second)


def test_losses_of_every_step_come_back(tmp_path):
    data = table().bind(input_specs(net()))
    settings = FitSettings(epochs=2, batch_size=8)
    expected = fine_tuned(net(), net(2), data, settings).fitted
    with pytest.raises(StoppedError), kept_in(tmp_path, every_s=0):
        fine_tuned(net(), net(2), data, settings, progress=stopping_after(9))
    with kept_in(tmp_path, every_s=0):
        found = fine_tuned(net(), net(2), data, settings).fitted
    assert len(found.step_losses) == 16
    assert found == expected
    np.testing.assert_allclose(found.epoch_losses, np.reshape(found.step_losses, (2, 8)).mean(axis=1))


def distilled(student=1, **changed):
    data = changed.pop("data", None) or table()
    told = {**HOW, "epochs": 1, "validation": 0, **changed}
    return distill(net(student), data, teachers=net(2), **told)


@pytest.fixture(scope="module")
def expected():
    return distilled()


@pytest.mark.parametrize(
    "other",
    [
        {"learning_rate": 2e-2},
        {"batch_size": 16},
        {"schedule": "linear"},
        {"student": 3},
        {"data": table(seed=5)},
        {"keep_zeros": True},
        {"precision": "mixed_bfloat16"},
    ],
    ids=str,
)
def test_what_another_training_left_is_not_taken(other, expected, tmp_path):
    with pytest.raises(StoppedError), kept_in(tmp_path, every_s=0):
        distilled(**other, progress=stopping_after(3))
    assert (tmp_path / "training-1.npz").exists()
    counted = Counting()
    with kept_in(tmp_path):
        found = distilled(progress=counted)
    assert counted.steps == 8
    assert same_weights(found, expected)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: cut(folder, 0.5),
        lambda folder: cut(folder, 0.0),
        lambda folder: flipped(folder, 200),
        lambda folder: written_over(folder, b"not an archive"),
        lambda folder: written_over(folder, b"PK nor this one"),
    ],
    ids=["half", "empty", "one byte", "text", "like an archive"],
)
def test_a_damaged_file_is_not_taken(damage, expected, tmp_path):
    with pytest.raises(StoppedError), kept_in(tmp_path, every_s=0):
        distilled(progress=stopping_after(3))
    damage(tmp_path)
    counted = Counting()
    with kept_in(tmp_path):
        found = distilled(progress=counted)
    assert counted.steps == 8
    assert same_weights(found, expected)


def cut(folder, share):
    path = folder / "training-1.npz"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def flipped(folder, place):
    """Change one byte of a weight, which the archive's checksum tells."""
    path = folder / "training-1.npz"
    content = bytearray(path.read_bytes())
    content[content.index(b"model_0.npy") + place] ^= 255
    path.write_bytes(content)


def written_over(folder, content):
    (folder / "training-1.npz").write_bytes(content)


def test_it_is_written_when_it_is_due_and_no_sooner(tmp_path):
    now = [0.0]
    kept = Checkpoints(tmp_path, every_s=20, clock=lambda: now[0]).next({"epochs": 1}, [np.ones(3)])
    assert not kept.due
    now[0] = 19.9
    assert not kept.due
    now[0] = 20.0
    assert kept.due
    kept.write({"done": np.asarray(4)})
    assert not kept.due
    assert kept.read()["done"] == 4


def test_trainings_of_one_block_have_a_file_each(tmp_path):
    block = Checkpoints(tmp_path)
    for done in (1, 2):
        block.next({}, []).write({"done": np.asarray(done)})
    again = Checkpoints(tmp_path)
    assert [int(again.next({}, []).read()["done"]) for _ in range(2)] == [1, 2]
    assert again.next({}, []).read() is None


def test_a_full_disk_is_one_sentence_and_what_was_written_before_stays(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs needs root; run the tests as root to see what a full disk does.")
    try:
        kept = Checkpoints(folder).next({}, [])
        kept.write({"done": np.asarray(1)})
        with pytest.raises(InputError, match="no space left on device; nothing was left there"):
            kept.write({"done": np.zeros(50_000)})
        assert [entry.name for entry in folder.iterdir()] == ["training-1.npz"]
        assert kept.read()["done"] == 1
    finally:
        subprocess.run(["umount", str(folder)], check=True)
