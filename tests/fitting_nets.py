"""Tiny nets and data to train on, and a way to stop a training in the middle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from slimedge.data import Data

FEATURES, CLASSES = 6, 3


class StoppedError(Exception):
    """A training that was stopped."""


def net(seed: int = 1, units: int = 8) -> keras.Model:
    """A BatchNorm behind a layer without a bias, which would have a gradient of nothing but rounding."""
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((FEATURES,), name="x")
    x = layers.Dense(units, use_bias=False, name="first")(x)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.Dense(units, activation="relu", name="second")(x)
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax", name="y")(x), name="net")


def listed(model: keras.Model) -> keras.Model:
    """The model as the training loop takes it: with a list of inputs."""
    return keras.Model(list(model.inputs), list(model.outputs))


def table(count: int = 64, seed: int = 0) -> Data:
    """Rows with classes that a line parts, and a few that are wrong."""
    generator = np.random.default_rng(seed)
    x = generator.normal(0, 1, (count, FEATURES)).astype(np.float32)
    truth = (x @ generator.normal(0, 1, (FEATURES, CLASSES))).argmax(axis=1)
    wrong = generator.random(count) < 0.2
    return Data.load((x, np.where(wrong, generator.integers(0, CLASSES, count), truth)))


def stopping_after(steps: int) -> Callable[..., None]:
    """Give a progress that stops the training when it tells of so many steps."""
    told = 0

    def progress(doing: str, share: float | None = None, /) -> None:
        nonlocal told
        del share
        told += doing.startswith("training")
        if told == steps:
            raise StoppedError

    return progress


class Counting:
    """A progress that counts the steps of trainings."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self, doing: str, share: float | None = None, /) -> None:
        del share
        self.steps += doing.startswith("training")


def same_weights(one: keras.Model, other: keras.Model) -> bool:
    """Whether two models have the same weights, to the last bit."""
    pairs: list[tuple[Any, Any]] = list(zip(one.get_weights(), other.get_weights(), strict=True))
    return all(np.array_equal(*pair) for pair in pairs)
