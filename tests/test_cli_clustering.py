"""`slimedge cluster`: what it writes, says and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import small_models
from cli_output import in_one_line

from slimedge.cli.running import run
from slimedge.keras_file import load_model

COMMAND = ["cluster", "float.keras", "--data", "data.npz", "-o", "out.keras"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with a model of two layers and labelled data."""
    monkeypatch.chdir(tmp_path)
    small_models.save_with_data(count=100)
    return tmp_path


def test_a_file_is_clustered_trained_scored_and_described(folder, capsys):
    given = ["--clusters", "5", "--init", "density", "--epochs", "2", "--loss", "labels", "--seed", "3"]

    assert run([*COMMAND, *given, "--json", "done.json"]) == 0

    text, _ = in_one_line(capsys)
    found = json.loads(Path("done.json").read_text())
    settings = found["clustering"]
    assert (
        "at most 5 values for the weights of each layer, from density; trained on 80 examples, 2 epochs"
        in text
    )
    assert "folded first: batch_normalization" in text
    assert set(settings["layer_values"].values()) == {5}
    assert {name: settings[name] for name in ("clusters", "init", "loss", "seed", "epochs")} == {
        "clusters": 5,
        "init": "density",
        "loss": "labels",
        "seed": 3,
        "epochs": 2,
    }
    assert found["examples"] == 80
    assert found["after"]["accuracy"]["n"] == 20
    assert found["after"]["gzip_bytes"] < found["before"]["gzip_bytes"]
    kernels = [weight.numpy() for weight in load_model("out.keras").weights if weight.name == "kernel"]
    assert [len(np.unique(kernel)) for kernel in kernels] == [5, 5]


def test_layers_channels_and_batchnorm_are_as_asked_for(folder, capsys):
    given = ["--clusters", "3", "--granularity", "per_channel", "--layers", "classes", "--keep-batchnorm"]

    assert run([*COMMAND, *given, "--epochs", "0", "--json", "-", "--quiet"]) == 0

    settings = json.loads(in_one_line(capsys)[0])["clustering"]
    assert settings["layer_values"] == {"classes": 3}
    assert settings["folded"] == []
    kernel = load_model("out.keras").get_layer("classes").kernel.numpy()
    assert [len(np.unique(channel)) for channel in kernel.T] == [3, 3, 3, 3]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--clusters", "1"], "clusters=1 is not allowed; give a whole number, 2 or more"),
        (["--init", "linera"], "did you mean 'linear'"),
        (["--granularity", "per_tensor"], "per_layer or per_channel"),
        (["--exclude", "head*"], "the pattern 'head*' fits no layer"),
        (["--loss", "mse"], "--loss mse is not allowed"),
        (["--learning-rate", "0"], "learning_rate=0.0 is not allowed"),
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_is_written(folder, capsys, given, said):
    assert run([*COMMAND, *given]) == 2

    assert said in in_one_line(capsys)[1]
    assert not Path("out.keras").exists()
