"""4-bit and float16 weights of every kind of layer: the numbers in Keras, the settings, and what is refused."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from small_models import examples
from test_weight_only import bound
from weight_nets import (
    EIGHT,
    FOUR,
    HALF,
    SCHEMES,
    export,
    network_of,
    rounded,
    settings_of,
    storage,
    weights_of,
)

from slimedge.cli.running import run
from slimedge.compress.quantization import Quantize, quantize
from slimedge.compress.weight_only import to_half
from slimedge.errors import InputError
from slimedge.export.exporters import EXPORTERS
from slimedge.export.verify import fidelity
from slimedge.export.worker import keras_outputs
from slimedge.keras_file import load_model, save_model


def in_lines(array: np.ndarray, axis: int, size: int) -> list[np.ndarray]:
    """Each run of `size` numbers along an axis."""
    turned = np.moveaxis(array, axis, -1)
    return [
        line[start : start + size]
        for line in turned.reshape(-1, turned.shape[-1])
        for start in range(0, len(line), size)
    ]


def rounded_by_hand(line: np.ndarray) -> np.ndarray:
    """Integers in -7…7 times the largest number over 7, in the float64 of plain Python."""
    scale = float(np.float32(max(abs(float(number)) for number in line) / 7))
    return np.float32([round(float(number) / scale) * scale for number in line])


def test_4_bits_are_integers_to_7_with_a_scale_for_each_output_channel() -> None:
    before, after = weights_of(network_of("text_lstm")), weights_of(rounded("text_lstm", "4 bits"))
    for path, array in before.items():
        for exact, made in zip(array.T, after[path].T, strict=True):
            np.testing.assert_allclose(made, rounded_by_hand(exact), rtol=2e-7)
            assert len(np.unique(made)) <= 15


# By hand: the axis along which each weight's blocks lie.
BLOCK_AXES = {
    "text_lstm": {
        "table/embeddings": 1,
        "reader/lstm_cell/kernel": 0,
        "reader/lstm_cell/recurrent_kernel": 0,
        "mood/kernel": 0,
    },
    "einsums": {
        "heads/kernel": 0,
        "joined/kernel": 1,
        "both_ways/forward_lstm/lstm_cell/kernel": 0,
        "both_ways/forward_lstm/lstm_cell/recurrent_kernel": 0,
        "both_ways/backward_lstm/lstm_cell/kernel": 0,
        "both_ways/backward_lstm/lstm_cell/recurrent_kernel": 0,
    },
}


@pytest.mark.parametrize("name", BLOCK_AXES)
def test_16_numbers_that_are_summed_up_share_a_scale(name: str) -> None:
    before = weights_of(network_of(name))
    made = weights_of(rounded(name, "4 bits in blocks of 16")).values()
    after = dict(zip(before, made, strict=True))  # Keras names inner layers anew
    assert set(before) == set(BLOCK_AXES[name])
    for path, axis in BLOCK_AXES[name].items():
        lines = zip(in_lines(before[path], axis, 16), in_lines(after[path], axis, 16), strict=True)
        for exact, made in lines:
            np.testing.assert_allclose(made, rounded_by_hand(exact), rtol=2e-7)


def test_blocks_are_nearer_to_the_floats_than_channels_where_rows_differ_in_size() -> None:
    inputs = keras.Input((64,))
    network = keras.Model(inputs, layers.Dense(16, name="dense")(inputs))
    sizes = np.repeat([0.01, 1.0, 0.1, 0.03], 16)[:, None]
    kernel = np.random.default_rng(0).normal(0, sizes, (64, 16))
    network.get_layer("dense").kernel.assign(kernel)
    errors = []
    for block_size in (None, 32, 16):
        made = quantize(network, bound(network), scheme=FOUR, block_size=block_size)
        errors.append(float(np.mean((np.asarray(made.get_layer("dense").kernel) - kernel) ** 2 / sizes**2)))
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_float16_weights_are_numpys_and_biases_stay_as_they_are() -> None:
    network, made = network_of("transformer"), rounded("transformer", "fp16")
    for before, after in zip(network.weights, made.weights, strict=True):
        exact = np.asarray(before)
        wanted = (
            exact.astype(np.float16).astype(np.float32) if before.name in {"kernel", "embeddings"} else exact
        )
        np.testing.assert_array_equal(np.asarray(after), wanted)


def test_float16_rounds_as_the_standard_says() -> None:
    # IEEE 754: 11 significant bits, ties to even, subnormal steps of 2^-24, overflow from 65520 on.
    given = np.float32([1 + 2**-11, 1 + 3 * 2**-11, 2**-24, 2**-25, 1.5 * 2**-24, 65519.99, 65520, -1e6])
    wanted = np.float32([1, 1 + 2**-9, 2**-24, 0, 2**-23, 65504, np.inf, -np.inf])
    np.testing.assert_array_equal(to_half(given), wanted)


def test_batchnorm_is_folded_before_weights_become_float16() -> None:
    made = rounded("convolutions", "fp16")
    assert settings_of(made)["folded"] == ["normed"]
    full, normed = (network_of("convolutions").get_layer(name) for name in ("full", "normed"))
    gain = np.asarray(normed.gamma) / np.sqrt(np.asarray(normed.moving_variance) + normed.epsilon)
    wanted = (np.asarray(full.kernel, np.float64) * gain).astype(np.float32).astype(np.float16)
    np.testing.assert_allclose(np.asarray(made.get_layer("full").kernel), wanted, rtol=2e-3)
    for array in weights_of(made).values():
        np.testing.assert_array_equal(array.astype(np.float16), array)


def test_weights_beyond_float16_stay_float_and_are_listed() -> None:
    inputs = keras.Input((16,))
    x = layers.Dense(16, name="usual")(inputs)
    network = keras.Model(inputs, layers.Dense(16, name="huge")(x))
    kernel = np.asarray(network.get_layer("huge").kernel) * 1000
    kernel[3, 4] = -70_000
    network.get_layer("huge").kernel.assign(kernel)
    made = quantize(network, bound(network), scheme=HALF)
    reason = "its kernel has numbers that float16, which ends at 65504, cannot hold"
    assert settings_of(made)["float_layers"] == {"huge": reason}
    assert settings_of(made)["rounded_layers"] == ["usual"]
    np.testing.assert_array_equal(np.asarray(made.get_layer("huge").kernel), kernel)
    inputs_ = examples(network, count=4)
    for exporter in EXPORTERS:
        content, trial = export(exporter, made, HALF, None)
        assert fidelity(keras_outputs(made, inputs_), trial.run(inputs_)).max_error < 1e-6
        assert storage(content) == {"float16": 256, "float32": 256}
    network.get_layer("usual").kernel.assign(np.full((16, 16), np.nan))
    with pytest.raises(
        InputError, match=r"^16 bits make no weight .* smaller \(usual: its kernel has numbers .*\.$"
    ):
        quantize(network, bound(network), scheme=HALF)


def test_layers_without_blocks_are_listed_with_the_reason() -> None:
    found = settings_of(rounded("convolutions", "4 bits in blocks of 16"))
    assert found["block_size"] == 16
    assert found["layers_without_blocks"]["full"] == "its kernel is no matrix"
    assert "dense" not in found["layers_without_blocks"]
    inputs = keras.Input((40,))
    network = keras.Model(inputs, layers.Dense(32, name="last")(layers.Dense(32, name="first")(inputs)))
    made = quantize(network, bound(network), scheme=FOUR, block_size=16)
    reason = "its kernel has 40 numbers in a line, no multiple of 16"
    assert settings_of(made)["layers_without_blocks"] == {"first": reason}
    kernel, exact = (np.asarray(model.get_layer("first").kernel) for model in (made, network))
    for column, wanted in zip(kernel.T, exact.T, strict=True):
        np.testing.assert_allclose(column, rounded_by_hand(wanted), rtol=2e-7)


def test_a_block_size_that_fits_no_layer_is_refused_in_one_sentence() -> None:
    network = network_of("text_gru")
    sentence = (
        r"^no weight of model .* has blocks of 24 \(table: its embeddings has 16 numbers in a line, .*\.$"
    )
    with pytest.raises(InputError, match=sentence):
        quantize(network, bound(network), scheme=FOUR, block_size=24)


@pytest.mark.parametrize("size", [-32, 0, 1, 15])
def test_small_blocks_are_refused(size: int) -> None:
    network = network_of("text_lstm")
    with pytest.raises(InputError, match=rf"^the block size is {size}; it can be 16 or more"):
        quantize(network, bound(network), scheme=FOUR, block_size=size)


@pytest.mark.parametrize("scheme", ["auto", "static_wi8_ai8", EIGHT, HALF])
def test_blocks_are_for_4_bits_only(scheme: str) -> None:
    network = network_of("text_lstm")
    with pytest.raises(
        InputError, match=rf"block size of 32 was given with the scheme {scheme}; blocks are for"
    ):
        quantize(network, bound(network), scheme=scheme, block_size=32)


def test_the_stage_does_what_the_function_does() -> None:
    network = network_of("text_lstm")
    made = Quantize(scheme=FOUR, block_size=16)(network, bound(network))
    for one, other in zip(made.weights, rounded("text_lstm", "4 bits in blocks of 16").weights, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("kind", SCHEMES)
def test_saved_and_loaded_again_a_model_keeps_scheme_blocks_and_numbers(kind: str, tmp_path: Any) -> None:
    made = rounded("einsums", kind)
    save_model(made, tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert (settings_of(loaded)["scheme"], settings_of(loaded).get("block_size")) == SCHEMES[kind]
    for one, other in zip(made.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    with pytest.raises(InputError, match="is quantized already"):
        quantize(loaded, bound(network_of("einsums")), scheme=EIGHT)


def test_the_command_line_takes_a_block_size_and_says_what_it_did(tmp_path: Any, capsys: Any) -> None:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((40,), name="features")
    x = layers.Dense(64, activation="relu", name="first")(inputs)
    save_model(keras.Model(inputs, layers.Dense(8, name="last")(x)), tmp_path / "model.keras")
    np.savez(
        tmp_path / "data.npz", features=np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    )
    command = ["quantize", str(tmp_path / "model.keras"), "--data", str(tmp_path / "data.npz")]
    command += ["--scheme", FOUR, "-o", str(tmp_path / "small.keras")]
    assert run([*command, "--block-size", "32"]) == 0
    said = capsys.readouterr().out
    assert "weights of 2 layers rounded to 4 bits in blocks of 32" in said
    assert (
        "first has a scale for each channel: its kernel has 40 numbers in a line, no multiple of 32" in said
    )
    loaded = settings_of(load_model(tmp_path / "small.keras"))
    assert (loaded["scheme"], loaded["block_size"]) == (FOUR, 32)
    assert run([*command, "--block-size", "8"]) == 2
    assert capsys.readouterr().err.startswith("slimedge: the block size is 8; it can be 16 or more")
