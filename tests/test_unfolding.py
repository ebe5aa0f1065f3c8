"""A subclassed model and the functional one that its call is followed into compute the same, under telling names."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from slimedge.artifact import Step
from slimedge.errors import InputError
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.keras_file import input_specs, output_specs
from slimedge.lineage import lineage_of, with_lineage
from slimedge.unfolding import is_symbolic, unfolded

GENERATOR = np.random.default_rng(3)


class Residual(keras.Model):
    """Dense layers around a sum, with a Dropout that acts in training only."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.wide = layers.Dense(6, activation="relu", name="wide")
        self.dropout = layers.Dropout(0.9, name="dropout")
        self.back = layers.Dense(4, name="back")

    def call(self, row, training=None):
        return row + self.back(self.dropout(self.wide(row), training=training))


class Recommender(keras.Model):
    """Two arguments of whole numbers and one of real ones."""

    def __init__(self):
        super().__init__(name="recommender")
        self.users, self.items = layers.Embedding(7, 3), layers.Embedding(9, 3)
        self.end = layers.Dense(1, name="rating")

    def build(self, user_shape, item_shape, context_shape):
        self.users.build(user_shape)
        self.items.build(item_shape)
        self.end.build((None, 6 + context_shape[-1]))

    def call(self, user, item, context):
        joined = keras.ops.concatenate([self.users(user), self.items(item), context], axis=-1)
        return self.end(joined)


class Keyed(keras.Model):
    """Takes and gives a dict."""

    def __init__(self):
        super().__init__()
        self.left, self.right = layers.Dense(3, name="from_left"), layers.Dense(3, name="from_right")

    def call(self, inputs):
        return {
            "sum": self.left(inputs["left"]) + self.right(inputs["right"]),
            "left": self.left(inputs["left"]),
        }


class Unbuilt(keras.Model):
    """Two arguments and no `build`: Keras keeps the shape of the first one only."""

    def __init__(self):
        super().__init__(name="unbuilt")
        self.end = layers.Dense(1)

    def call(self, user, item):
        return self.end(user - item)


class Pair(keras.Model):
    """Takes a list."""

    def __init__(self):
        super().__init__()
        self.end = layers.Dense(2, name="end")

    def call(self, both):
        return self.end(both[0] - both[1])


def called(network: keras.Model, *arguments):
    """The model after its first call, with random biases in place of zeros."""
    network(*arguments)
    for variable in network.weights:
        variable.assign(GENERATOR.normal(0, 0.5, variable.shape))
    return network


def floats(*shape: int) -> np.ndarray:
    return GENERATOR.normal(size=shape).astype(np.float32)


def test_it_computes_what_the_subclass_computes_at_any_batch() -> None:
    network = called(Residual(), floats(2, 4))
    row = floats(5, 4)
    wide, wide_bias, back, back_bias = (weight.numpy() for weight in network.weights)
    by_hand = row + np.maximum(row @ wide + wide_bias, 0) @ back + back_bias
    np.testing.assert_allclose(unfolded(network)(row), by_hand, atol=1e-5)


def test_dropout_is_off_where_the_call_would_have_it_on() -> None:
    class Careless(Residual):
        def call(self, row, training=True):
            return super().call(row, training=training)

    network = called(Careless(), floats(2, 4))
    row = floats(50, 4)
    assert not np.allclose(network(row), network(row)), "the subclass drops at random"
    np.testing.assert_allclose(unfolded(network)(row), network(row, training=False), atol=1e-5)


def test_its_input_is_named_after_the_argument_and_its_output_after_the_layer() -> None:
    network = unfolded(called(Recommender(), np.int32([1]), np.int32([2]), floats(1, 2)))
    assert {spec.name for spec in input_specs(network)} == {"user", "item", "context"}
    assert [spec.name for spec in output_specs(network)] == ["rating"]
    assert network.name == "recommender"


def test_ids_that_an_embedding_looks_up_are_int32_and_the_rest_is_float32() -> None:
    network = unfolded(called(Recommender(), np.int32([1]), np.int32([2]), floats(1, 2)))
    assert {spec.name: spec.dtype for spec in input_specs(network)} == {
        "user": "int32",
        "item": "int32",
        "context": "float32",
    }


def test_several_arguments_arrive_each_at_its_place() -> None:
    network = called(Recommender(), np.int32([1]), np.int32([2]), floats(1, 2))
    user, item, context = np.int32([0, 6, 3]), np.int32([8, 0, 1]), floats(3, 2)
    users, items, kernel, bias = (weight.numpy() for weight in network.weights)
    by_hand = np.concatenate([users[user], items[item], context], axis=-1) @ kernel + bias
    given = {"user": user, "item": item, "context": context}
    np.testing.assert_allclose(unfolded(network)(given), by_hand, atol=1e-5)


def test_a_dict_stays_a_dict_with_its_keys() -> None:
    network = called(Keyed(), {"left": floats(1, 2), "right": floats(1, 5)})
    flat = unfolded(network)
    assert [spec.name for spec in input_specs(flat)] == ["left", "right"]
    given = {"left": floats(4, 2), "right": floats(4, 5)}
    expected, got = network(given), flat(given)
    assert sorted(got) == ["left", "sum"]
    for name, array in expected.items():
        np.testing.assert_allclose(got[name], array, atol=1e-6)


def test_a_list_has_numbered_names() -> None:
    network = called(Pair(), [floats(1, 3), floats(1, 3)])
    flat = unfolded(network)
    assert [spec.name for spec in input_specs(flat)] == ["both_0", "both_1"]
    given = [floats(4, 3), floats(4, 3)]
    kernel, bias = (weight.numpy() for weight in network.weights)
    np.testing.assert_allclose(flat(given), (given[0] - given[1]) @ kernel + bias, atol=1e-5)


def test_it_shares_the_layers_of_the_subclass() -> None:
    network = called(Residual(), floats(2, 4))
    flat = unfolded(network)
    network.back.bias.assign_add(np.ones(4))
    row = floats(2, 4)
    np.testing.assert_allclose(flat(row), network(row), atol=1e-6)


def test_a_subclass_within_a_functional_model_is_opened() -> None:
    inner = called(Residual(name="residual"), floats(2, 4))
    inputs = keras.Input((4,), name="row")
    network = keras.Model(inputs, layers.Dense(2, name="end")(inner(inner(inputs))))
    graph = from_model(network)
    assert [node.layer.kind for node in graph.nodes].count("Dense") == 5
    assert not [node for node in graph.nodes if "Residual" in node.layer.kind]
    assert len({node.layer for node in graph.nodes if node.layer.kind == "Dense"}) == 3, "calls share layers"
    row = floats(3, 4)
    np.testing.assert_allclose(to_model(graph)(row), network(row), atol=1e-5)


def test_a_subclass_within_a_subclass_is_opened() -> None:
    class Outer(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner, self.end = Residual(name="residual"), layers.Dense(2, name="end")

        def call(self, row):
            return self.end(self.inner(row))

    network = called(Outer(), floats(2, 4))
    graph = from_model(network)
    assert [node.source for node in graph.nodes if node.layer.kind == "Dense"] == ["wide", "back", "end"]
    row = floats(3, 4)
    np.testing.assert_allclose(to_model(graph)(row), network(row), atol=1e-5)


def test_a_model_that_was_never_called_says_to_call_it() -> None:
    sentence = r"^model 'fresh' is a subclass of keras\.Model \(Residual\) that was never called, .*first\.$"
    with pytest.raises(InputError, match=sentence):
        unfolded(Residual(name="fresh"))


def test_a_call_whose_other_shapes_keras_did_not_keep_is_one_sentence() -> None:
    with pytest.raises(InputError, match=r"^model 'unbuilt' \(Unbuilt\) takes user, item, and Keras .*\.$"):
        unfolded(called(Unbuilt(), floats(1, 3), floats(1, 3)))


def test_a_call_with_raw_tensorflow_says_what_to_write_instead() -> None:
    import tensorflow as tf

    class Raw(keras.Model):
        def call(self, row):
            return tf.raw_ops.Relu(features=row)

    network = Raw(name="raw")
    network(floats(1, 4))
    sentence = r"^the call of net\.keras \(Raw\) cannot be followed .*keras\.ops only.*keras\.Model\(.*\)\.$"
    with pytest.raises(InputError, match=sentence) as caught:
        unfolded(network, origin="net.keras")
    assert "\n" not in str(caught.value)


def test_its_lineage_is_kept() -> None:
    steps = (Step("prune", {"sparsity": 0.5}),)
    network = with_lineage(called(Residual(), floats(2, 4)), steps)
    assert lineage_of(unfolded(network)) == steps


def test_a_functional_model_is_given_back_as_itself() -> None:
    inputs = keras.Input((4,))
    functional = keras.Model(inputs, layers.Dense(2)(inputs))
    sequential = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    assert unfolded(functional) is functional
    assert unfolded(sequential) is sequential
    assert not is_symbolic(called(Residual(), floats(2, 4)))


def test_inside_of_a_functional_model_its_arguments_need_not_be_recorded() -> None:
    one, other = keras.Input((3,), name="one"), keras.Input((3,), name="other")
    network = keras.Model([one, other], Unbuilt()(one, other))
    given = {"one": floats(2, 3), "other": floats(2, 3) * 2}
    graph = from_model(network)
    assert [node.layer.kind for node in graph.nodes] == ["Subtract", "Dense"]
    again = to_model(graph)
    np.testing.assert_allclose(again([given["one"], given["other"]]), network([given["one"], given["other"]]))
