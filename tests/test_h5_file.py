"""HDF5 files of Keras need trust, and load through Keras 3."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from hand_made_keras import refusal

from slimedge import keras_file


@pytest.fixture(scope="module")
def legacy(two_ended, tmp_path_factory):
    path = tmp_path_factory.mktemp("legacy") / "model.h5"
    two_ended.save(path)
    return path


def test_an_h5_file_needs_trust(legacy):
    assert "--trust (trust=True in Python)" in refusal(legacy)


def test_a_trusted_h5_file_loads_through_keras_3(legacy, two_ended):
    import keras

    model = keras_file.load_model(legacy, trust=True)
    assert isinstance(model, keras.Model)
    for before, after in zip(two_ended.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_lambda_in_a_trusted_h5_file_stays_refused(legacy, tmp_path):
    path = tmp_path / "lambda.h5"
    path.write_bytes(legacy.read_bytes())
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"].append({"class_name": "Lambda", "config": {"name": "evil"}})
        file.attrs["model_config"] = json.dumps(config)
    assert "a Lambda layer ('evil')" in refusal(path, trust=True)


def test_an_h5_file_of_weights_alone_says_so(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["dense"] = np.ones(3)
    assert "holds weights and no model" in refusal(tmp_path / "w.h5", trust=True)


def test_an_h5_file_that_is_cut_off_says_so(legacy, tmp_path):
    path = tmp_path / "cut.h5"
    path.write_bytes(legacy.read_bytes()[:3000])
    assert "cut off or damaged" in refusal(path, trust=True)


def test_an_h5_file_under_another_name_is_told_apart(legacy, tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(legacy.read_bytes())
    assert "name it .h5" in refusal(path, trust=True)
