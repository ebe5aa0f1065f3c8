"""The two layers of a quantized graph: what they round to, what gradient they pass, what they save."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from slimedge.fake_quant import (
    FakeQuant,
    FakeQuantWeights,
    affine_grid,
    aligned_range,
    lowering,
    narrowed_range,
)

RANGES = [
    (-1.0, 1.0),
    (0.0, 6.0),
    (-0.3, 2.7),
    (-5.1, 0.0),
    (0.5, 3.0),
    (-4.0, -1.0),
    (-1e-6, 3e-6),
    (-7e5, 2e4),
]


@pytest.mark.parametrize(("low", "high"), [*RANGES, (0.0, 0.0)])
@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_a_grid_holds_zero_and_covers_the_range_to_half_a_step(low: float, high: float, bits: int) -> None:
    scale, zero_point = affine_grid(low, high, bits)
    levels = 2**bits - 1
    assert scale > 0
    assert 0 <= zero_point <= levels  # so that 0.0 is the level zero_point, exactly
    assert -zero_point * scale <= min(low, 0) + 0.5000001 * scale
    assert (levels - zero_point) * scale >= max(high, 0) - 0.5000001 * scale


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_no_finer_grid_covers_the_range(low: float, high: float) -> None:
    assert affine_grid(low, high)[0] == pytest.approx((max(high, 0) - min(low, 0)) / 255)


def on_affine_grid(x: NDArray[np.float32], low: float, high: float, bits: int) -> NDArray[np.float64]:
    """Jacob et al., 2018, equation 1, in numpy."""
    scale, zero_point = affine_grid(low, high, bits)
    steps = np.floor(np.clip(x / scale + zero_point, 0, 2**bits - 1) + 0.5)
    return np.asarray((steps - zero_point) * scale)


def aligned(low: float, high: float, bits: int = 8) -> tuple[float, float]:
    scale, zero_point = affine_grid(low, high, bits)
    return -zero_point * scale, (2**bits - 1 - zero_point) * scale


@pytest.mark.parametrize(("low", "high"), RANGES)
@pytest.mark.parametrize("bits", [4, 8])
def test_activations_are_rounded_as_the_formula_says(low: float, high: float, bits: int) -> None:
    low, high = aligned(low, high, bits)
    x = np.random.default_rng(0).uniform(1.5 * low - 0.1 * high, 1.5 * high - 0.1 * low, 4096)
    x = x.astype(np.float32)
    rounded = np.asarray(FakeQuant(low, high, bits)(x))
    scale, zero_point = affine_grid(low, high, bits)
    ties = np.abs((x / scale + zero_point) % 1 - 0.5) < 1e-3  # where float32 and float64 may part
    np.testing.assert_allclose(
        rounded[~ties], on_affine_grid(x, low, high, bits)[~ties], rtol=1e-5, atol=1e-5 * scale
    )


def test_zero_stays_zero() -> None:
    for low, high in RANGES:
        assert float(FakeQuant(*aligned(low, high))(np.zeros(1, np.float32))[0]) == 0.0


def test_the_gradient_passes_inside_the_range_only() -> None:
    layer = FakeQuant(*aligned(-1.0, 1.0))
    x = tf.constant([-2.0, -0.5, 0.0, 0.7, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    np.testing.assert_array_equal(tape.gradient(y, x), [0, 1, 1, 1, 0])


def test_the_range_is_not_trained_by_gradients() -> None:
    layer = FakeQuant()
    layer.build((None, 3))
    assert layer.trainable_variables == []
    assert len(layer.variables) == 2


def wrapped(kept: tuple[int, ...] = (1,), bits: int = 8) -> FakeQuantWeights:
    layer = FakeQuantWeights(layers.Dense(3), {"kernel": kept}, bits)
    layer.build((None, 4))
    generator = np.random.default_rng(0)
    layer.layer.kernel.assign(generator.normal(0, 1, (4, 3)))
    layer.layer.bias.assign(generator.normal(0, 1, 3))
    shape = layer.scales["kernel"].shape
    layer.scales["kernel"].assign(generator.uniform(0.005, 0.02, shape))
    return layer


@pytest.mark.parametrize("kept", [(), (1,), (0, 1)])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weights_are_rounded_to_a_symmetric_grid(kept: tuple[int, ...], bits: int) -> None:
    layer = wrapped(kept, bits)
    kernel, scale = layer.layer.kernel.numpy(), layer.scales["kernel"].numpy()
    limit = 2 ** (bits - 1) - 1
    integers = np.clip(np.rint(kernel / scale), -limit, limit)
    x = np.random.default_rng(1).normal(0, 1, (5, 4)).astype(np.float32)
    expected = x @ (integers * scale) + layer.layer.bias.numpy()
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-6)
    found, found_scale = layer.integers()["kernel"]
    np.testing.assert_array_equal(found, integers)
    np.testing.assert_array_equal(found_scale, scale)
    assert found.dtype == np.int8


def test_the_weights_gradient_is_that_of_the_rounded_weight() -> None:
    layer = wrapped()
    x = tf.constant(np.random.default_rng(1).normal(0, 1, (5, 4)), tf.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x))
    gradient = tape.gradient(loss, layer.layer.kernel.value)
    np.testing.assert_allclose(gradient, np.tile(x.numpy().sum(axis=0)[:, None], (1, 3)), rtol=1e-5)


def test_values_of_an_outer_scope_are_the_ones_that_are_rounded() -> None:
    layer = wrapped()
    x = np.ones((1, 4), np.float32)
    kernel, scale = np.full((4, 3), 0.503, np.float32), np.full((1, 3), 0.01, np.float32)
    other = [(layer.layer.kernel, tf.constant(kernel)), (layer.scales["kernel"], tf.constant(scale))]
    with keras.StatelessScope(other):
        inside = np.asarray(layer(x))
    np.testing.assert_allclose(inside - layer.layer.bias.numpy(), np.full((1, 3), 4 * 0.50), rtol=1e-5)
    assert not np.allclose(inside, layer(x))


def test_lowering_takes_the_weights_as_they_are() -> None:
    layer = wrapped()
    x = np.ones((1, 4), np.float32)
    with lowering():
        np.testing.assert_allclose(layer(x), layer.layer(x))
    assert not np.allclose(layer(x), layer.layer(x))


def test_lowering_leaves_out_a_second_rounding_only_where_it_is_asked_to() -> None:
    first, again = FakeQuant(*aligned(-1, 1)), FakeQuant(*aligned(-1, 1), requantizes=True)
    x = np.full((1, 2), 0.1234, np.float32)
    with lowering(merging=True):
        np.testing.assert_array_equal(again(x), x)
        assert not np.array_equal(first(x), x)
    with lowering():
        np.testing.assert_array_equal(again(x), first(x))
    np.testing.assert_array_equal(again(x), first(x))


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (0.0, 2.5), (-4.0, 0.0), (-0.3, 0.3), (0.0, 0.0)])
def test_a_grid_of_16_bits_is_the_finest_one_around_0_that_covers_its_range(low: float, high: float) -> None:
    start, end, scale = aligned_range(low, high, 16)

    assert (start, end) == (-32768 * scale, 32767 * scale)
    assert start <= low * (1 - 1e-6) <= high * (1 - 1e-6) <= end
    assert affine_grid(start, end, 16)[1] == 32768
    if low or high:
        assert -0.9999 * 32768 * scale > low or 0.9999 * 32767 * scale < high


def test_a_fake_quant_of_16_bits_rounds_to_its_grid() -> None:
    low, high, scale = aligned_range(-1.5, 0.9, 16)
    x = np.random.default_rng(0).uniform(-1.8, 1.8, 5000).astype(np.float32)

    got = np.asarray(FakeQuant(low, high, 16)(x))

    wanted = np.clip(np.rint(x / scale), -32768, 32767) * scale
    ties = np.abs(np.abs(x / scale - np.floor(x / scale)) - 0.5) < 0.02
    np.testing.assert_allclose(got[~ties], wanted[~ties], atol=0.02 * scale)
    assert np.asarray(FakeQuant(low, high, 16)(np.zeros(1, np.float32)))[0] == 0


def test_lowering_traces_16_bits_as_8_bits_of_the_same_scale() -> None:
    scale = 1 / 32768
    x = np.float32([-128.6, -3.4, 0, 5.6, 300]) * np.float32(scale)

    with lowering():
        got = np.asarray(FakeQuant(*narrowed_range(scale), 16)(x))

    np.testing.assert_allclose(got, np.float32([-128, -3, 0, 6, 127]) * scale, rtol=1e-6)


def test_merging_keeps_a_rounding_apart_that_asks_for_it() -> None:
    scale = 1 / 32768
    x = np.float32([1.3, 2.6]) * np.float32(scale)
    for requantizes in (False, True):
        layer = FakeQuant(*narrowed_range(scale), 16, requantizes=requantizes, apart=True)
        with lowering(merging=True):
            graph = tf.function(layer).get_concrete_function(tf.TensorSpec((2,), tf.float32)).graph
            np.testing.assert_allclose(layer(x), np.float32([1, 3]) * scale, rtol=1e-6)
        assert [op.type for op in graph.get_operations() if op.type == "Cast"] == ["Cast", "Cast"]


def test_lowering_ends_where_an_error_ends_it() -> None:
    layer, x = wrapped(), np.ones((1, 4), np.float32)
    before = np.asarray(layer(x))
    with pytest.raises(RuntimeError), lowering(merging=True):
        raise RuntimeError
    np.testing.assert_array_equal(layer(x), before)


def small_model() -> keras.Model:
    inputs = keras.Input((4,))
    x = FakeQuant(*aligned(-2.0, 2.0), name="in_fq")(inputs)
    x = wrapped()(x)
    return keras.Model(inputs, FakeQuant(*aligned(0.0, 3.0), bits=4, requantizes=True, name="out_fq")(x))


def test_both_layers_are_saved_and_loaded(tmp_path: Path) -> None:
    network = small_model()
    network.get_layer("out_fq").high.assign(2.5)
    x = np.random.default_rng(2).normal(0, 1, (6, 4)).astype(np.float32)
    network.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), network(x))
    assert loaded.get_layer("out_fq").grid() == network.get_layer("out_fq").grid()
    assert loaded.get_layer("out_fq").requantizes
    copied = keras.models.clone_model(network)
    assert copied.get_layer("out_fq").grid() == network.get_layer("out_fq").grid()


def test_training_in_a_compiled_step_lowers_the_loss() -> None:
    network = small_model()
    network.compile(keras.optimizers.Adam(0.05), "mse")
    generator = np.random.default_rng(3)
    x = generator.normal(0, 1, (64, 4)).astype(np.float32)
    y = np.maximum(x @ generator.normal(0, 0.5, (4, 3)), 0).astype(np.float32)
    losses = network.fit(x, y, epochs=40, batch_size=64, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]


def test_half_precision_around_it_does_not_touch_the_grid() -> None:
    layer = FakeQuant(*aligned(-1.0, 1.0), dtype="float32")
    assert layer(np.full((1, 1), 0.3, np.float16)).dtype == tf.float32
