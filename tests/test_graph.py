"""A Keras model as data and back: the same function, names and structure, however the model is put together."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from small_models import examples

from slimedge.errors import InputError
from slimedge.export.worker import keras_outputs
from slimedge.graph import Graph
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.keras_file import input_specs, output_specs


def rebuilt(network: keras.Model) -> keras.Model:
    """The model after a round trip, seen to give the same outputs under the same names."""
    again = to_model(from_model(network))
    inputs = examples(network, count=4)
    before, after = keras_outputs(network, inputs), keras_outputs(again, inputs)
    assert list(before) == list(after)
    for name, expected in before.items():
        np.testing.assert_allclose(after[name], expected, atol=1e-5)
    assert [spec.name for spec in input_specs(again)] == [spec.name for spec in input_specs(network)]
    return again


def kinds(graph: Graph) -> list[str]:
    return [node.layer.kind for node in graph.nodes]


def test_a_layer_called_twice_stays_one_layer() -> None:
    dense = layers.Dense(4, name="shared")
    left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    network = keras.Model([left, right], layers.Subtract()([dense(left), dense(right)]))
    graph = from_model(network)
    first, second = (node for node in graph.nodes if node.layer.kind == "Dense")
    assert first.layer is second.layer
    assert first.name != second.name
    assert graph.calls()[first.layer] == 2
    assert len(rebuilt(network).get_layer("shared").weights) == 2


def test_a_nested_model_called_twice_shares_its_weights() -> None:
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="inside")], name="inner")
    inputs = keras.Input((4,))
    network = keras.Model(inputs, inner(layers.ReLU()(inner(inputs))))
    assert kinds(from_model(network)) == ["Dense", "ReLU", "Dense"]
    assert rebuilt(network).count_params() == network.count_params() == 20


def test_layers_of_one_name_in_two_nested_models_are_told_apart() -> None:
    def block(name: str) -> keras.Model:
        inputs = keras.Input((4,))
        return keras.Model(inputs, layers.Dense(4, name="dense")(inputs), name=name)

    inputs = keras.Input((4,))
    network = keras.Model(inputs, layers.Dense(2, name="dense")(block("second")(block("first")(inputs))))
    names = [node.name for node in from_model(network).nodes]
    assert len(set(names)) == 3
    assert any("second" in name for name in names)
    assert output_specs(rebuilt(network))[0].name == "dense"


def test_a_nested_model_gets_its_inputs_by_name_as_keras_gives_them() -> None:
    p, q = keras.Input((4,), name="p"), keras.Input((4,), name="q")
    inner = keras.Model([q, p], layers.Subtract()([q, p]), name="inner")
    one, other = keras.Input((4,), name="one"), keras.Input((4,), name="other")
    network = keras.Model([one, other], inner({"p": one, "q": other}))
    (node,) = from_model(network).nodes
    assert node.layer.kind in {"Subtract", "Functional"}
    rebuilt(network)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((6, 1), "float32"), ((6,), "int32")], ids=["another rank", "another type"]
)
def test_a_nested_model_whose_input_keras_adapts_stays_whole(shape: tuple[int, ...], dtype: str) -> None:
    flat = keras.Input((6,))
    inner = keras.Model(flat, layers.Dense(3)(flat), name="inner")
    inputs = keras.Input(shape, dtype=dtype)
    network = keras.Model(inputs, layers.ReLU(name="end")(inner(inputs)))
    assert "Functional" in kinds(from_model(network))
    rebuilt(network)


def test_masks_reach_nested_layers() -> None:
    tokens = keras.Input((5,), dtype="int32")
    sequence = keras.Input((5, 4))
    pooling = keras.Model(sequence, layers.GlobalAveragePooling1D()(layers.Dense(3)(sequence)), name="pool")
    rebuilt(keras.Model(tokens, pooling(layers.Embedding(12, 4, mask_zero=True)(tokens))))


def test_a_layer_with_several_outputs_gives_them_in_order() -> None:
    inputs = keras.Input((5, 3))
    sequence, hidden, cell = layers.LSTM(4, return_sequences=True, return_state=True, name="lstm")(inputs)
    network = keras.Model(inputs, [cell, sequence, layers.Dense(2, name="last")(hidden)])
    assert [spec.name for spec in output_specs(network)] == ["lstm", "lstm_1", "last"]
    rebuilt(network)


def test_arithmetic_on_tensors_keeps_its_constants() -> None:
    inputs = keras.Input((4,))
    x = layers.Dense(4)(inputs)
    x = ops.relu(x + 1.0) * np.array([1, 2, 3, 4], np.float32)
    rebuilt(keras.Model(inputs, ops.concatenate([x[:, :2], 3.0 - x], axis=-1)))


def test_dicts_of_inputs_and_outputs_keep_their_keys() -> None:
    left, right = keras.Input((3,), name="z_left"), keras.Input((2,), name="a_right")
    joined = layers.Concatenate()([left, right])
    outputs = {"second": layers.Dense(1, name="b")(joined), "first": layers.Dense(2, name="a")(joined)}
    again = rebuilt(keras.Model({"z_left": left, "a_right": right}, outputs))
    answer = again({"z_left": np.zeros((1, 3)), "a_right": np.zeros((1, 2))})
    assert {name: tensor.shape[1] for name, tensor in answer.items()} == {"second": 1, "first": 2}


def test_an_input_may_be_an_output() -> None:
    inputs = keras.Input((3,), name="x")
    rebuilt(keras.Model(inputs, [inputs, layers.Dense(2, name="y")(inputs)]))


def test_one_tensor_may_be_two_outputs() -> None:
    inputs = keras.Input((3,))
    made = layers.Dense(2, name="y")(inputs)
    rebuilt(keras.Model(inputs, [made, made]))


def test_depth_is_no_limit() -> None:
    def tower(depth: int) -> keras.Model:
        x = inputs = keras.Input((2,))
        for _ in range(depth):
            x = layers.ReLU()(x)
        return keras.Model(inputs, x)

    inputs = keras.Input((2,))
    graph = from_model(keras.Model(inputs, tower(500)(tower(500)(tower(500)(inputs)))))
    assert len(graph.nodes) == 1500
    assert len(to_model(graph).layers) == 1501


def test_nodes_that_no_output_needs_go() -> None:
    inputs = keras.Input((2,))
    network = keras.Model(inputs, [layers.Dense(2)(layers.ReLU()(inputs)), layers.Dense(3)(inputs)])
    graph = from_model(network)
    kept = graph.with_nodes(graph.nodes, {graph.outputs[0]: graph.outputs[1]})
    assert kinds(kept) == ["Dense"]


def test_a_replaced_value_is_followed_to_its_end() -> None:
    inputs = keras.Input((2,))
    graph = from_model(keras.Model(inputs, layers.ELU()(layers.Softmax()(layers.ReLU()(inputs)))))
    relu, softmax, elu = graph.nodes
    kept = graph.with_nodes([relu, elu], {softmax.output: relu.output, relu.output: graph.inputs[0]})
    assert kinds(kept) == ["ELU"]
    assert kept.nodes[0].inputs == graph.inputs


def test_a_normalization_computes_with_its_own_statistics() -> None:
    layer = layers.Normalization(axis=1)
    layer.adapt(np.random.default_rng(0).normal(5, 3, (50, 4, 2)).astype(np.float32))
    inputs = keras.Input((4, 2))
    rebuilt(keras.Model(inputs, layer(inputs)))


def test_a_fixed_batch_stays() -> None:
    inputs = keras.Input(batch_shape=(4, 3))
    assert rebuilt(keras.Model(inputs, layers.Dense(2)(inputs))).inputs[0].shape == (4, 3)


def test_the_model_that_was_read_shares_nothing_with_the_new_one() -> None:
    inputs = keras.Input((3,))
    network = keras.Model(inputs, layers.Dense(2, name="y")(inputs))
    again = rebuilt(network)
    old = network.get_layer("y").kernel.numpy()
    again.get_layer("y").kernel.assign(np.zeros((3, 2)))
    np.testing.assert_array_equal(network.get_layer("y").kernel.numpy(), old)


@keras.saving.register_keras_serializable(package="tests")
class Dense(layers.Dense):
    """A layer of the user's under a name of Keras'."""

    def call(self, inputs: Any) -> Any:
        return 3 * super().call(inputs) + 1


class WithoutConfig(layers.Layer):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def call(self, inputs: Any) -> Any:
        return self.function(inputs)


class Twice(keras.Model):
    def call(self, inputs: Any) -> Any:
        return 2 * super().call(inputs)


def test_a_users_class_is_never_taken_for_keras_own() -> None:
    inputs = keras.Input((3,))
    network = keras.Model(inputs, Dense(2)(inputs))
    assert kinds(from_model(network)) == [f"{__name__}.Dense"]
    rebuilt(network)


def test_a_model_with_a_call_of_its_own_is_more_than_its_graph() -> None:
    inputs = keras.Input((3,))
    with pytest.raises(InputError, match="has no functional graph to rewrite"):
        from_model(Twice(inputs, layers.Dense(2)(inputs)))


def test_a_layer_without_a_config_is_one_sentence() -> None:
    inputs = keras.Input((3,))
    network = keras.Model(inputs, WithoutConfig(lambda x: x)(inputs))
    with pytest.raises(InputError, match=r"layer 'without_config' \(WithoutConfig\) cannot be made again"):
        from_model(network)


def test_a_lambda_is_one_sentence() -> None:
    inputs = keras.Input((3,))
    graph = from_model(keras.Model(inputs, layers.Lambda(lambda x: 2 * x, name="double")(inputs)))
    with pytest.raises(InputError, match=r"layer 'double' \(Lambda\) cannot be made again from its config"):
        to_model(graph)


def test_a_vocabulary_is_refused_with_a_way_out() -> None:
    lookup = layers.IntegerLookup(vocabulary=[3, 5, 7])
    inputs = keras.Input((3,), dtype="int64")
    with pytest.raises(InputError, match=r"keeps a vocabulary .* leave it out of the model"):
        from_model(keras.Model(inputs, layers.Embedding(5, 2)(lookup(inputs))))
