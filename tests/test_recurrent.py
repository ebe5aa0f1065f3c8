"""LSTM and GRU as ONNX's own operators, with the weights at their places; what they cannot express stays a loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from keras import layers

from slimedge.export.exporters import EXPORTERS, Settings
from slimedge.export.recurrent import without_recurrences
from slimedge.export.trial import Trial
from slimedge.export.verify import example_inputs, fidelity
from slimedge.export.worker import keras_outputs

KINDS = {"LSTM": layers.LSTM, "GRU": layers.GRU}
LOOPS = {"Loop", "Scan", "If"}
Tensor = keras.KerasTensor
Build = Callable[[Callable[..., keras.Layer], Tensor], Any]


def stacked(cell: Callable[..., keras.Layer], x: Tensor) -> Tensor:
    return cell(3)(layers.Dense(4)(cell(5, return_sequences=True)(x)))


def called_twice(cell: Callable[..., keras.Layer], x: Tensor) -> list[Tensor]:
    shared = cell(4, return_sequences=True)
    return [shared(x), shared(layers.ReLU()(x))]


def state_in_the_middle(cell: Callable[..., keras.Layer], x: Tensor) -> Tensor:
    each, state, *_ = cell(4, return_sequences=True, return_state=True)(x)
    return layers.Add()([each, layers.RepeatVector(6)(state)])


# Each builds with an LSTM or a GRU, and the number says how many of ONNX's operators that makes.
OPERATORS: dict[str, tuple[int, Build]] = {
    "plain": (1, lambda cell, x: cell(4)(x)),
    "sequences": (1, lambda cell, x: cell(4, return_sequences=True)(x)),
    "states": (1, lambda cell, x: cell(4, return_state=True)(x)),
    "sequences and states": (1, lambda cell, x: cell(4, return_sequences=True, return_state=True)(x)),
    "state in the middle": (1, state_in_the_middle),
    "no bias": (1, lambda cell, x: cell(4, use_bias=False)(x)),
    "backwards": (1, lambda cell, x: cell(4, go_backwards=True)(x)),
    "both directions": (1, lambda cell, x: layers.Bidirectional(cell(4))(x)),
    "both directions, sequences": (
        1,
        lambda cell, x: layers.Bidirectional(cell(4, return_sequences=True))(x),
    ),
    "both directions, states": (
        1,
        lambda cell, x: layers.Bidirectional(cell(4, return_sequences=True, return_state=True))(x),
    ),
    "dropout": (1, lambda cell, x: cell(4, dropout=0.5, recurrent_dropout=0.3)(x)),
    "unrolled": (1, lambda cell, x: cell(4, unroll=True)(x)),
    "stacked": (2, stacked),
    "called twice": (2, called_twice),
}


def network_of(build: Build, cell: Callable[..., keras.Layer], steps: int | None = 6) -> keras.Model:
    inputs = keras.Input((steps, 5), name="signal")
    network = keras.Model(inputs, build(cell, inputs))
    return shaken(network)


def shaken(network: keras.Model) -> keras.Model:
    """The model with random weights, biases as well: each gate has another."""
    generator = np.random.default_rng(0)
    for variable in network.weights:
        variable.assign(generator.normal(0, 0.6, variable.shape))
    return network


def exported(network: keras.Model) -> tuple[onnx.ModelProto, Trial]:
    settings = Settings(io="float32", batch=1, integers="u8u8", metadata={"lineage": []})
    content, trial = EXPORTERS["onnx"](network, settings)
    return onnx.load_from_string(content), trial


def kinds(proto: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


def assert_equal(network: keras.Model, trial: Trial, inputs: dict[str, np.ndarray] | None = None) -> None:
    inputs = inputs or example_inputs(network, None)
    assert len(next(iter(inputs.values()))) > 1
    assert fidelity(keras_outputs(network, inputs), trial.run(inputs)).max_error <= 1e-5


@cache
def plain(kind: str) -> tuple[keras.Model, onnx.ModelProto, Trial]:
    network = network_of(OPERATORS["plain"][1], KINDS[kind])
    return (network, *exported(network))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OPERATORS)
def test_it_becomes_one_operator_a_call_and_equals_keras(name: str, kind: str) -> None:
    count, build = OPERATORS[name]
    network = network_of(build, KINDS[kind])
    proto, trial = exported(network)
    assert kinds(proto).count(kind) == count
    assert not LOOPS & set(kinds(proto))
    assert_equal(network, trial)


@pytest.mark.parametrize("kind", KINDS)
def test_an_open_length_is_left_open(kind: str) -> None:
    network = network_of(OPERATORS["both directions, sequences"][1], KINDS[kind], steps=None)
    proto, trial = exported(network)
    assert kinds(proto).count(kind) == 1
    for steps in (1, 9):
        signal = np.random.default_rng(steps).normal(size=(3, steps, 5)).astype(np.float32)
        assert_equal(network, trial, {"signal": signal})


@pytest.mark.parametrize("sequences", [False, True])
def test_a_gru_that_resets_before_its_product_is_one_operator(sequences: bool) -> None:
    def build(cell: Callable[..., keras.Layer], x: Tensor) -> Tensor:
        return layers.Bidirectional(cell(4, reset_after=False, return_sequences=sequences))(x)

    network = network_of(build, layers.GRU)
    proto, trial = exported(network)
    (node,) = (node for node in proto.graph.node if node.op_type == "GRU")
    reset_after = next(item.i for item in node.attribute if item.name == "linear_before_reset")
    assert (kinds(proto).count("GRU"), reset_after) == (1, 0)
    assert not LOOPS & set(kinds(proto))
    assert_equal(network, trial)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm_by_hand(
    signal: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """The last state (Hochreiter and Schmidhuber, 1997, with forget gates), gates i f c o."""
    state = cell = np.zeros((len(signal), len(recurrent)))
    for step in np.swapaxes(signal, 0, 1):
        i, f, c, o = np.split(step @ kernel + state @ recurrent + bias, 4, axis=-1)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
        state = sigmoid(o) * np.tanh(cell)
    return state


def gru_by_hand(
    signal: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """The last state (Cho et al., 2014, with the reset gate behind the product), gates z r h."""
    state = np.zeros((len(signal), len(recurrent)))
    for step in np.swapaxes(signal, 0, 1):
        z, r, h = np.split(step @ kernel + bias[0], 3, axis=-1)
        own_z, own_r, own_h = np.split(state @ recurrent + bias[1], 3, axis=-1)
        z, r = sigmoid(z + own_z), sigmoid(r + own_r)
        state = z * state + (1 - z) * np.tanh(h + r * own_h)
    return state


@pytest.mark.parametrize(("kind", "by_hand"), [("LSTM", lstm_by_hand), ("GRU", gru_by_hand)])
def test_the_file_equals_the_formula(kind: str, by_hand: Callable[..., np.ndarray]) -> None:
    network, _, trial = plain(kind)
    signal = np.random.default_rng(1).normal(size=(4, 6, 5)).astype(np.float32)
    expected = by_hand(
        signal.astype(np.float64), *(weight.numpy().astype(np.float64) for weight in network.weights)
    )
    np.testing.assert_allclose(trial.run({"signal": signal})[network.output_names[0]], expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_takes_and_gives_only_what_the_model_does(kind: str) -> None:
    network, proto, _ = plain(kind)
    assert [value.name for value in proto.graph.input] == ["signal"]
    assert [value.name for value in proto.graph.output] == network.output_names
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in proto.graph.initializer}
    weights = sum(int(np.prod(weight.shape)) for weight in network.weights)
    second_bias = 4 * 4 if kind == "LSTM" else 0  # which ONNX's LSTM has and Keras' has not
    assert weights <= sum(sizes.values()) <= weights + second_bias + 4, "the weights are there once"


def with_mask(cell: Callable[..., keras.Layer], x: Tensor) -> Tensor:
    return cell(4)(layers.Embedding(10, 5, mask_zero=True)(x))


def with_initial_state(cell: Callable[..., keras.Layer], x: Tensor) -> Tensor:
    start = layers.Dense(4, activation="tanh")(layers.GlobalAveragePooling1D()(x))
    return cell(4)(x, initial_state=[start, start] if cell is layers.LSTM else start)


LEFT: dict[str, tuple[str, Build]] = {
    "LSTM with relu": ("LSTM", lambda cell, x: cell(4, activation="relu")(x)),
    "masked GRU": ("GRU", with_mask),
    "LSTM with an initial state": ("LSTM", with_initial_state),
    "backwards, sequences": ("GRU", lambda cell, x: cell(4, go_backwards=True, return_sequences=True)(x)),
    "summed directions": ("LSTM", lambda cell, x: layers.Bidirectional(cell(4), merge_mode="sum")(x)),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_our_operator_does_not_express_is_left_in_the_model_and_equals_keras(name: str) -> None:
    kind, build = LEFT[name]
    if build is with_mask:
        inputs = keras.Input((6,), dtype="int32", name="ids")
        given = {"ids": np.int32([[1, 2, 3, 4, 5, 6], [3, 9, 0, 0, 0, 0], [7, 7, 7, 0, 0, 0]])}
    else:
        inputs, given = keras.Input((6, 5), name="signal"), None
    network = shaken(keras.Model(inputs, build(KINDS[kind], inputs)))
    same, found = without_recurrences(network)
    assert same is network
    assert found == ()
    _, trial = exported(network)
    assert_equal(network, trial, given)


def test_a_simple_rnn_is_left_in_the_model_and_equals_keras() -> None:
    network = network_of(lambda _, x: layers.SimpleRNN(4)(x), layers.LSTM)
    proto, trial = exported(network)
    assert not {"LSTM", "GRU", "RNN"} & set(kinds(proto))
    assert_equal(network, trial)


def test_beside_a_layer_that_stays_the_other_is_an_operator() -> None:
    network = network_of(lambda cell, x: cell(3)(layers.SimpleRNN(4, return_sequences=True)(x)), layers.GRU)
    proto, trial = exported(network)
    assert kinds(proto).count("GRU") == 1
    assert_equal(network, trial)


def test_what_is_taken_out_has_the_weights_and_the_names_of_its_ends() -> None:
    network = network_of(OPERATORS["both directions, states"][1], layers.LSTM)
    rest, (recurrence,) = without_recurrences(network)
    assert not [
        layer for layer in rest._flatten_layers() if isinstance(layer, (layers.LSTM, layers.Bidirectional))
    ]
    assert (recurrence.kind, recurrence.units, recurrence.sequences) == ("LSTM", 4, True)
    assert [direction.backwards for direction in recurrence.directions] == [False, True]
    arrays = [
        array
        for direction in recurrence.directions
        for array in (direction.kernel, direction.recurrent_kernel, direction.bias)
    ]
    for array, weight in zip(arrays, network.weights, strict=True):
        np.testing.assert_array_equal(array, weight.numpy())
    assert [tensor.name for tensor in rest.inputs] == ["signal", *recurrence.made]
    assert len(recurrence.made) == 5
