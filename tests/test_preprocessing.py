"""A model that scales raw pixels itself is recognised by its first layers."""

from __future__ import annotations

import numpy as np
import pytest

from slimedge.preprocessing import starts_with_preprocessing

keras = pytest.importorskip("keras")
layers = keras.layers


def after_input(*operations, shape=(8, 8, 3)):
    x = image = keras.Input(shape, name="image")
    for operation in operations:
        x = operation(x)
    return keras.Model(image, layers.Flatten()(x))


@pytest.mark.parametrize(
    "operations",
    [
        [layers.Rescaling(1 / 255)],
        [layers.Rescaling(1 / 127.5, offset=-1)],
        [layers.Rescaling([1 / 255, 1 / 255, 1 / 255])],
        [layers.Normalization(mean=[120.0, 115, 104], variance=[9.0, 9, 9])],
        [layers.RandomFlip(), layers.RandomRotation(0.1), layers.Resizing(4, 4), layers.Rescaling(1 / 255)],
        [lambda x: x / 255.0],
        [lambda x: x * (1 / 255)],
        [lambda x: (x - 127.5) / 127.5],
        [keras.applications.resnet50.preprocess_input],
        [keras.applications.mobilenet_v2.preprocess_input],
        [keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(1 / 255)])],
        [keras.Sequential([keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(1 / 255)])])],
    ],
)
def test_pixels_are_scaled_right_after_the_input(operations):
    assert starts_with_preprocessing(after_input(*operations)) == {"image"}


@pytest.mark.parametrize(
    "operations",
    [
        [],
        [layers.Conv2D(2, 3)],
        [layers.Rescaling(2.0, offset=-1)],
        [layers.Normalization(mean=0.5, variance=0.1)],
        [layers.Conv2D(2, 3), layers.Rescaling(1 / 255)],
        [lambda x: x * 2 - 1],
        [keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(2, 3)])],
    ],
)
def test_pixels_are_not_scaled(operations):
    assert not starts_with_preprocessing(after_input(*operations))


def test_a_normalization_that_was_adapted_to_bytes_counts():
    adapted = layers.Normalization()
    adapted.adapt(np.linspace(0, 255, 60, dtype=np.float32).reshape(20, 3))

    assert starts_with_preprocessing(after_input(adapted)) == {"image"}


def test_only_the_input_that_is_scaled_counts():
    image, table = keras.Input((8, 8, 3), name="image"), keras.Input((4,), name="table")
    x = layers.Flatten()(layers.Rescaling(1 / 255)(image))

    assert starts_with_preprocessing(keras.Model([table, image], layers.Concatenate()([x, table]))) == {
        "image"
    }


def test_of_a_nested_model_the_right_input_counts():
    a, b = keras.Input((8, 8, 3), name="a"), keras.Input((8, 8, 3), name="b")
    inner = keras.Model([a, b], layers.Add()([a, layers.Rescaling(1 / 255)(b)]))
    c, d = keras.Input((8, 8, 3), name="c"), keras.Input((8, 8, 3), name="d")

    assert starts_with_preprocessing(keras.Model([c, d], inner([d, c]))) == {"c"}


def test_a_sequential_model_and_one_that_was_loaded_are_read_too(tmp_path):
    model = keras.Sequential(
        [keras.Input((8, 8, 3), name="image"), layers.Rescaling(1 / 255), layers.Flatten()]
    )
    model.save(tmp_path / "m.keras")

    assert starts_with_preprocessing(model) == {"image"}
    assert starts_with_preprocessing(keras.saving.load_model(tmp_path / "m.keras")) == {"image"}


def test_of_a_subclassed_model_nothing_is_known():
    class Own(keras.Model):
        def call(self, x):
            return x

    assert starts_with_preprocessing(Own()) == frozenset()
