"""Keras files made by hand, and a model with two inputs and two outputs."""

from __future__ import annotations

import io
import json
import zipfile

import h5py
import numpy as np
from refusals import refusal_of

from slimedge import keras_file

DENSE = {
    "module": "keras.layers",
    "class_name": "Dense",
    "config": {"name": "head", "dtype": "float32", "units": 2, "activation": "linear"},
    "registered_name": None,
    "build_config": {"input_shape": [None, 3]},
}
INPUT = {
    "module": "keras.layers",
    "class_name": "InputLayer",
    "config": {"batch_shape": [None, 3], "dtype": "float32", "name": "features"},
    "registered_name": None,
}


def sequential(*layers):
    settings = {"name": "small", "layers": list(layers)}
    return {"module": "keras", "class_name": "Sequential", "config": settings, "registered_name": None}


def hdf5(**arrays):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, array in arrays.items():
            file[name.replace("__", "/")] = array
    return buffer.getvalue()


def good_weights():
    return hdf5(layers__dense__vars__0=np.ones((3, 2), "f4"), layers__dense__vars__1=np.zeros(2, "f4"))


def archive(path, config=None, weights=None, *, more=(), compression=zipfile.ZIP_STORED):
    """Write a .keras file by hand, as an attacker would."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        file.writestr("config.json", json.dumps(config or sequential(INPUT, DENSE)))
        file.writestr("model.weights.h5", good_weights() if weights is None else weights)
        for name, content in more:
            file.writestr(name, content)
    return path


def refusal(path, **options):
    return refusal_of(keras_file.load_model, path, **options)


def two_ended_model():
    """Two inputs, two outputs of which one is a nested model's, and names that are not in order."""
    import keras
    from keras import layers

    left, right = keras.Input((4, 4, 1), name="right_eye"), keras.Input((3,), name="age")
    inner_input = keras.Input((16,))
    inner = keras.Model(inner_input, layers.Dense(5, name="inner_dense")(inner_input), name="inner")
    flat = layers.Flatten()(left)
    joined = layers.Concatenate()([inner(flat), right])
    return keras.Model(
        [left, right],
        [layers.Dense(2, activation="softmax", name="z_class")(joined), inner(flat)],
        name="two_ended",
    )
