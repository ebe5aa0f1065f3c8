"""`slimedge prune-channels`: to a share, to a speed, and what it says of bad usage."""

from __future__ import annotations

import json
import re

import keras
import numpy as np
import pytest
from keras import layers

from slimedge.cli.running import run
from slimedge.keras_file import load_model
from slimedge.macs import count


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small classifier of pictures, and pictures with classes."""
    place = tmp_path_factory.mktemp("channels")
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((16, 16, 3), name="picture")
    x = layers.Conv2D(32, 3, activation="relu", name="first")(x)
    x = layers.Conv2D(32, 3, activation="relu", name="second")(x)
    x = layers.GlobalAveragePooling2D()(x)
    keras.Model(inputs, layers.Dense(4, activation="softmax", name="classes")(x)).save(place / "net.keras")
    generator = np.random.default_rng(0)
    pictures = generator.random((200, 16, 16, 3)).astype(np.float32)
    for axis in (1, 2):
        pictures = (pictures + np.roll(pictures, 1, axis)) / 2
    np.savez(place / "data.npz", x=pictures, y=generator.integers(0, 4, 200))
    return place


def command(folder, *options):
    given = [str(folder / "net.keras"), "--data", str(folder / "data.npz"), "-o", str(folder / "out.keras")]
    return run(["prune-channels", *given, *options])


def test_half_of_the_work_is_left(folder, capsys):
    told = folder / "told.json"
    assert command(folder, "--macs", "0.5", "--epochs", "1", "--json", str(told)) == 0
    before, after = (load_model(folder / f"{name}.keras") for name in ("net", "out"))
    assert count(after).total <= 0.5 * count(before).total
    document = json.loads(told.read_text())
    assert document["channel_pruning"]["macs"] == [count(before).total, count(after).total]
    assert document["after"]["macs"] == count(after).total
    assert document["speed"] is None
    shown = capsys.readouterr().out
    assert "pruned to 50.0 % of its MACs, by hessian; trained for 1 epoch on 160 examples" in shown
    assert f"second 32 channels, now {after.get_layer('second').filters}" in shown


def test_a_speed_is_searched_for_on_a_runtime(folder):
    told = folder / "speed.json"
    status = command(
        folder,
        "--target",
        "litert",
        "--speedup",
        "1.5",
        "--epochs",
        "0",
        "--criterion",
        "l1",
        "--json",
        str(told),
    )
    speed = json.loads(told.read_text())["speed"]
    assert speed["target"] == "litert"
    assert max(one["speedup"]["value"] for one in speed["tries"]) >= 1.5
    # It is timed once more, and the status tells whether that agrees.
    assert status == (0 if speed["speedup"]["value"] >= 1.5 * 0.9 else 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "nothing says how much is removed; give one of --macs, --parameters, --ratio"),
        (["--macs", "0.5", "--ratio", "0.5"], "--macs and --ratio says how much is removed"),
        (["--speedup", "2"], "--target and --speedup go together"),
        (["--target", "litert", "--speedup", "0.5"], "a speedup of 0.5 is not allowed"),
        (["--target", "toaster", "--speedup", "2"], "toaster"),
        (["--macs", "0.5", "--layers", "dense*"], "the pattern 'dense\\*' fits no layer"),
        (["--macs", "0.0001"], "ask for less"),
        (["--macs", "0.5", "--criterion", "best"], "there is no criterion 'best'"),
    ],
)
def test_bad_usage_is_one_sentence_and_leaves_nothing(folder, options, message, capsys):
    (folder / "out.keras").unlink(missing_ok=True)
    assert command(folder, *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line
    assert not (folder / "out.keras").exists()
