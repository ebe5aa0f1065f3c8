"""A layer as a user writes it, in a module that a fresh process can import."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="tests")
class Doubled(keras.layers.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs * 2


def model() -> keras.Model:
    inputs = keras.Input((4,), name="x")
    x = Doubled(name="doubled")(keras.layers.Dense(4)(inputs))
    return keras.Model(inputs, keras.layers.Dense(2, name="y")(x), name="own")
