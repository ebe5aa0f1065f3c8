"""Small teachers and students with examples, for tests of distillation."""

from __future__ import annotations

import keras
import numpy as np
from graph_checks import shaken
from keras import layers

from slimedge.data import Data
from slimedge.keras_file import input_specs, output_specs

CLASSES = 3


def rows_net(units: int = 4, *, activation: str | None = "softmax", outputs: int = CLASSES) -> keras.Model:
    """A net of one hidden layer on rows of six numbers."""
    inputs = keras.Input((6,), name="row")
    x = layers.Dense(units, activation="relu", name="hidden")(inputs)
    return shaken(
        keras.Model(inputs, layers.Dense(outputs, activation=activation, name="said")(x), name=f"net{units}")
    )


def picture_net(channels: int = 4, *, strides: int = 1) -> keras.Model:
    """A net of two convolutions with BatchNorm on pictures of 8 by 8."""
    inputs = keras.Input((8, 8, 2), name="picture")
    x = layers.Conv2D(channels, 3, strides=strides, padding="same", name="early")(inputs)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.Conv2D(channels, 3, padding="same", activation="relu", name="late")(x)
    x = layers.GlobalAveragePooling2D(name="pooled")(x)
    return shaken(
        keras.Model(
            inputs, layers.Dense(CLASSES, activation="softmax", name="said")(x), name=f"net{channels}"
        )
    )


def sampled(model: keras.Model, count: int = 96, seed: int = 0) -> dict[str, np.ndarray]:
    """Seeded inputs by name; integers are 0…9, and open sizes 5."""
    generator = np.random.default_rng(seed)
    found = {}
    for spec in input_specs(model):
        shape = (count, *(size or 5 for size in spec.shape[1:]))
        numbers = generator.integers(0, 10, shape) if "int" in spec.dtype else generator.normal(0, 1, shape)
        found[spec.name] = numbers.astype(spec.dtype)
    return found


def said(model: keras.Model, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What a model gives, in the order of its outputs, for inputs by name."""
    given = [inputs[spec.name] for spec in input_specs(model)]
    given = keras.tree.pack_sequence_as(model._inputs_struct, given)
    return [np.asarray(one) for one in keras.tree.flatten(model(given, training=False))]


def bound(model: keras.Model, labels: object = None, count: int = 96, seed: int = 0) -> Data:
    """Examples for a model, with labels or without."""
    return Data.load(sampled(model, count, seed), labels=labels).bind(
        input_specs(model), outputs=output_specs(model), checks="types"
    )


def off(student: keras.Model, teacher: keras.Model, seed: int = 9) -> float:
    """Mean square of the difference of all outputs, which have the same order, on other examples."""
    inputs = sampled(student, 64, seed)
    theirs = dict(zip((spec.name for spec in input_specs(teacher)), inputs.values(), strict=True))
    pairs = zip(said(student, inputs), said(teacher, theirs), strict=True)
    return float(np.mean([np.mean((one - other) ** 2) for one, other in pairs]))


def numbers(model: keras.Model) -> list[np.ndarray]:
    """All weights."""
    return [np.asarray(weight) for weight in model.weights]


def same(one: keras.Model, other: keras.Model) -> bool:
    """Whether two models have the same weights, to the bit."""
    return all(map(np.array_equal, numbers(one), numbers(other)))
