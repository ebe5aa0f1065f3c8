"""How many ids an input may hold."""

from __future__ import annotations

import keras
from keras import layers, ops

from slimedge.vocabulary import vocabularies


def ids(name: str = "ids") -> keras.KerasTensor:
    return keras.Input((4,), dtype="int32", name=name)


def test_the_smallest_table_that_an_input_reaches_counts() -> None:
    given = ids()
    inner = keras.Sequential([keras.Input((4,), dtype="int32"), layers.Embedding(7, 2)])
    both = layers.Concatenate()([layers.Embedding(9, 2)(given), inner(layers.Reshape((4,))(given))])
    assert vocabularies(keras.Model(given, both)) == {"ids": 7}


def test_inputs_are_told_apart_and_what_is_not_looked_up_is_left_out() -> None:
    user, item, price = ids("user"), ids("item"), keras.Input((4,), name="price")
    looked = layers.Embedding(5, 2)(user) + layers.Embedding(11, 2)(ops.cast(item, "int64"))
    assert vocabularies(keras.Model([user, item, price], [looked, price * 2])) == {"user": 5, "item": 11}


def test_a_subclass_is_followed() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.table = layers.Embedding(6, 2)

        def call(self, words):
            return self.table(words)

    network = Own()
    network(ops.zeros((1, 3), "int32"))
    assert vocabularies(network) == {"words": 6}


def test_a_model_without_integers_has_none() -> None:
    given = keras.Input((4,))
    assert vocabularies(keras.Model(given, layers.Dense(2)(given))) == {}
