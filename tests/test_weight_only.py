"""Weights on 8-bit grids, for any layer: in Keras, in both formats, and where `auto` chooses them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from small_models import examples, float_and_int8

from slimedge.compress.quantization import quantize
from slimedge.data import Data
from slimedge.errors import InputError
from slimedge.export.exporters import EXPORTERS, Settings
from slimedge.export.trial import Trial
from slimedge.export.verify import fidelity
from slimedge.export.worker import keras_outputs
from slimedge.keras_file import input_specs, load_model, save_model
from slimedge.lineage import lineage_of

WEIGHT_ONLY, DYNAMIC, STATIC = "weight_only_wi8_afp32", "dynamic_wi8_afp32", "static_wi8_ai8"
LEVELS = 255  # -127…127


def text_lstm() -> keras.Model:
    inputs = keras.Input((12,), dtype="int32", name="ids")
    x = layers.Embedding(200, 32, name="table")(inputs)
    x = layers.LSTM(64, name="reader")(x)
    return keras.Model(inputs, layers.Dense(3, name="mood")(x))


def transformer() -> keras.Model:
    inputs = keras.Input((12,), dtype="int32", name="ids")
    x = layers.Embedding(200, 32, name="table")(inputs)
    y = layers.MultiHeadAttention(4, 8, name="attention")(x, x)
    x = layers.LayerNormalization(name="normed")(layers.Add()([x, y]))
    y = layers.Dense(32, name="back")(layers.Dense(64, activation="relu", name="wide")(x))
    x = layers.GlobalAveragePooling1D()(layers.Add()([x, y]))
    return keras.Model(inputs, layers.Dense(16, name="mood")(x))


def text_gru() -> keras.Model:
    inputs = keras.Input((12,), dtype="int32", name="ids")
    x = layers.GRU(16, name="reader")(layers.Embedding(50, 16, name="table")(inputs))
    return keras.Model(inputs, layers.Dense(1, name="score")(x))


def matrix_factorization() -> keras.Model:
    user, item = keras.Input((), dtype="int32", name="user"), keras.Input((), dtype="int32", name="item")
    users, items = layers.Embedding(40, 16, name="users")(user), layers.Embedding(60, 16, name="items")(item)
    return keras.Model([user, item], layers.Dot(axes=1, name="rating")([users, items]))


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "text_lstm": text_lstm,
    "transformer": transformer,
    "text_gru": text_gru,
    "matrix_factorization": matrix_factorization,
}
# By hand: the axes of the weights that keep a scale each, all others are summed over.
CHANNELS = {
    "text_lstm": {
        "table/embeddings": (1,),
        "reader/lstm_cell/kernel": (1,),
        "reader/lstm_cell/recurrent_kernel": (1,),
        "mood/kernel": (1,),
    },
    "transformer": {
        "table/embeddings": (1,),
        "attention/query/kernel": (1, 2),
        "attention/key/kernel": (1, 2),
        "attention/value/kernel": (1, 2),
        "attention/attention_output/kernel": (2,),
        "wide/kernel": (1,),
        "back/kernel": (1,),
        "mood/kernel": (1,),
    },
}


@cache
def network_of(name: str) -> keras.Model:
    keras.utils.set_random_seed(5)
    network = NETWORKS[name]()
    generator = np.random.default_rng(5)
    for variable in network.weights:
        if variable.name in {"bias", "beta"}:
            variable.assign(generator.normal(0, 0.2, variable.shape))
        elif variable.name == "embeddings":
            variable.assign(generator.normal(0, 1, variable.shape))
    return network


def bound(network: keras.Model) -> Data:
    return Data.load(examples(network)).bind(input_specs(network), checks="types")


@cache
def rounded(name: str, scheme: str = WEIGHT_ONLY) -> keras.Model:
    network = network_of(name)
    return quantize(network, bound(network), scheme=scheme)


@cache
def exported(exporter: str, name: str, scheme: str | None) -> tuple[bytes, Trial]:
    network = network_of(name) if scheme is None else rounded(name, scheme)
    settings = Settings(io="float32", batch=1, integers="u8u8", metadata={"lineage": []}, scheme=scheme)
    return EXPORTERS[exporter](network, settings)


def settings_of(network: keras.Model) -> dict[str, Any]:
    return dict(lineage_of(network)[-1].settings)


def weights_by_path(network: keras.Model) -> dict[str, np.ndarray]:
    return {variable.path: np.asarray(variable) for variable in network.weights}


@pytest.mark.parametrize("name", CHANNELS)
def test_each_channel_has_at_most_255_levels_half_a_step_from_the_floats(name: str) -> None:
    before, after = weights_by_path(network_of(name)), weights_by_path(rounded(name))
    assert list(before) == list(after)
    for path, axes in CHANNELS[name].items():
        exact, made = before[path], after[path]
        others = tuple(axis for axis in range(exact.ndim) if axis not in axes)
        scale = np.abs(exact).max(axis=others, keepdims=True) / 127
        assert np.all(np.abs(made - exact) <= 0.5001 * scale)
        steps = made / scale
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
        assert np.abs(np.rint(steps)).max() == (LEVELS - 1) // 2
        assert np.any(made != exact)


@pytest.mark.parametrize("name", CHANNELS)
def test_every_large_matrix_is_rounded_and_nothing_else_is(name: str) -> None:
    before, after = weights_by_path(network_of(name)), weights_by_path(rounded(name))
    changed = {path for path, array in before.items() if not np.array_equal(array, after[path])}
    assert changed == set(CHANNELS[name]), "no bias, gamma or beta among them"


def test_an_excluded_layer_stays_float_and_the_lineage_says_so() -> None:
    network = network_of("text_lstm")
    made = quantize(network, bound(network), scheme=WEIGHT_ONLY, exclude=["reader"])
    np.testing.assert_array_equal(
        made.get_layer("reader").cell.kernel, network.get_layer("reader").cell.kernel
    )
    assert np.any(made.get_layer("table").embeddings != network.get_layer("table").embeddings)
    assert settings_of(made)["float_layers"]["reader"] == "it was excluded"
    assert "reader" not in settings_of(made)["rounded_layers"]


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", CHANNELS)
def test_a_weight_only_file_equals_the_rounded_model_and_is_small(name: str, exporter: str) -> None:
    content, trial = exported(exporter, name, WEIGHT_ONLY)
    inputs = examples(network_of(name), count=6, seed=2)
    assert fidelity(keras_outputs(rounded(name), inputs), trial.run(inputs)).max_error <= 1e-5
    assert len(content) < 0.45 * len(exported(exporter, name, None)[0])


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", CHANNELS)
def test_a_dynamic_file_is_near_and_smaller_than_the_float_one(name: str, exporter: str) -> None:
    content, trial = exported(exporter, name, DYNAMIC)
    inputs = examples(network_of(name), count=6, seed=2)
    measured = fidelity(keras_outputs(rounded(name, DYNAMIC), inputs), trial.run(inputs))
    assert measured.sqnr_db is not None, "its activations are rounded"
    assert measured.sqnr_db > 15
    assert len(content) < 0.8 * len(exported(exporter, name, None)[0])


@pytest.mark.parametrize("scheme", [WEIGHT_ONLY, DYNAMIC])
@pytest.mark.parametrize("name", CHANNELS)
def test_a_tflite_file_has_builtin_operators_only(name: str, scheme: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    content, _ = exported("tflite", name, scheme)
    operators = [op["op_name"] for op in Interpreter(model_content=content)._get_ops_details()]
    assert operators
    assert not [op for op in operators if op.startswith("Flex") or "custom" in op.lower()]


@pytest.mark.parametrize("name", ["conv_batchnorm_relu", "dense_chain"])
def test_auto_takes_static_for_convolutional_and_dense_nets(name: str) -> None:
    network, static = float_and_int8(name)
    made = quantize(network, bound(network), scheme="auto")
    settings = settings_of(made)
    assert (settings["scheme"], settings["chosen_by"]) == (STATIC, "auto")
    assert (
        settings["chosen_because"]
        == "100 % of its products with weights are of convolutions and dense layers"
    )
    inputs = examples(network, count=4, seed=2)
    for output, array in keras_outputs(static, inputs).items():
        np.testing.assert_array_equal(keras_outputs(made, inputs)[output], array)


@pytest.mark.parametrize(
    ("name", "because"),
    [
        ("text_lstm", "LSTM"),
        ("text_gru", "GRU"),
        ("transformer", "MultiHeadAttention"),
        ("matrix_factorization", "no layer of it has a static int8 form"),
    ],
)
def test_auto_takes_weight_only_where_static_leaves_most_products_float(name: str, because: str) -> None:
    made = rounded(name, "auto")
    settings = settings_of(made)
    assert (settings["scheme"], settings["chosen_by"]) == (WEIGHT_ONLY, "auto")
    assert because in settings["chosen_because"]
    for one, other in zip(made.weights, rounded(name).weights, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_only_auto_says_that_it_has_chosen() -> None:
    assert "chosen_by" not in settings_of(rounded("text_lstm"))
    assert settings_of(rounded("text_lstm", DYNAMIC))["scheme"] == DYNAMIC


@pytest.mark.parametrize("scheme", ["auto", WEIGHT_ONLY, DYNAMIC])
def test_the_float_model_is_left_as_it_was(scheme: str) -> None:
    network = network_of("text_gru")
    before = [np.asarray(weight).copy() for weight in network.weights]
    quantize(network, bound(network), scheme=scheme)
    for weight, array in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(np.asarray(weight), array)
    assert lineage_of(network) == ()


def test_saved_and_loaded_again_it_keeps_scheme_and_numbers(tmp_path) -> None:
    made = rounded("transformer")
    save_model(made, tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert settings_of(loaded)["scheme"] == WEIGHT_ONLY
    for one, other in zip(made.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_integer_inputs_of_a_weight_only_model_are_refused_in_one_sentence(exporter: str) -> None:
    settings = Settings(io="int8", batch=1, integers="u8u8", metadata={"lineage": []}, scheme=WEIGHT_ONLY)
    with pytest.raises(
        InputError, match=r"computes in float, so it has no int8 inputs; .*static_wi8_ai8.*\.$"
    ):
        EXPORTERS[exporter](rounded("text_gru"), settings)


@pytest.mark.parametrize("again", ["auto", STATIC, WEIGHT_ONLY, DYNAMIC])
def test_a_rounded_model_is_not_quantized_again(again: str) -> None:
    with pytest.raises(InputError, match="is quantized already"):
        quantize(rounded("text_gru"), bound(network_of("text_gru")), scheme=again)


def few_weights(cell: type[keras.Layer], size: int, *, dense: bool) -> keras.Model:
    inputs = keras.Input((6, size), name="signal")
    x = cell(size, name="reader")(inputs)
    return keras.Model(inputs, layers.Dense(2, name="end")(x) if dense else x)


def test_too_few_weights_are_refused_in_one_sentence() -> None:
    network = few_weights(layers.GRU, 2, dense=False)
    sentence = r"^8 bits make no weight of model .* smaller \(reader: its weights are too few for a scale each\); .*\.$"
    for scheme in ("auto", WEIGHT_ONLY, DYNAMIC):
        with pytest.raises(InputError, match=sentence):
            quantize(network, bound(network), scheme=scheme)


def test_auto_falls_back_to_static_where_too_few_weights_are_left() -> None:
    network = few_weights(layers.GRU, 2, dense=True)
    settings = settings_of(quantize(network, bound(network), scheme="auto"))
    assert (settings["scheme"], settings["chosen_by"]) == (STATIC, "auto")
    assert settings["chosen_because"].endswith("but 8 bits make no weight of it smaller")


def test_a_model_without_weights_is_refused() -> None:
    inputs = keras.Input((4,))
    network = keras.Model(inputs, layers.ReLU()(inputs))
    with pytest.raises(InputError, match="it has no weights"):
        quantize(network, bound(network), scheme=WEIGHT_ONLY)


def test_convolution_kernels_have_a_scale_for_each_output_channel() -> None:
    inputs = keras.Input((8, 8, 32))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(inputs)
    network = keras.Model(inputs, layers.Conv2D(6, 3, name="full")(x))
    made = quantize(network, bound(network), scheme=WEIGHT_ONLY)
    for name, axes in {"depthwise": (0, 1), "full": (0, 1, 2)}.items():
        exact, kernel = (np.asarray(model.get_layer(name).kernel) for model in (network, made))
        scale = np.abs(exact).max(axis=axes, keepdims=True) / 127
        np.testing.assert_allclose(kernel, np.rint(exact / scale) * scale, atol=1e-6)
        assert np.any(kernel != exact)
