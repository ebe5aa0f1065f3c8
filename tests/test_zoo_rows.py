"""The zoo's models at their small size: each builds, runs with a sensible spread, and survives being saved."""

from __future__ import annotations

from functools import cache

import keras
import numpy as np
import pytest

from slimedge.benchmarks.zoo.calling import call
from slimedge.benchmarks.zoo.inputs import examples, smooth
from slimedge.benchmarks.zoo.rows import ROWS, build, row
from slimedge.benchmarks.zoo.scaling import EMBEDDING_STD, well_scaled
from slimedge.errors import InputError

NAMES = [one.name for one in ROWS]
every_row = pytest.mark.parametrize("name", NAMES)


@cache
def small(name):
    return build(row(name), small=True)


@cache
def outputs(name):
    return call(small(name), examples(small(name), 8, seed=5))


@every_row
def test_a_small_row_gives_finite_outputs_that_depend_on_its_inputs(name):
    for output in outputs(name):
        assert np.isfinite(output).all()
        assert output.std() < 10
        assert output.std(axis=0).mean() > 0.02  # between examples


# Other sizes and depths of a net have the same layers.
SAME_LAYERS = ("_160", "_224", "resnet152", "densenet201", "efficientnetb4")


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith(SAME_LAYERS)])
def test_a_small_row_survives_being_saved(name, tmp_path):
    small(name).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    again = call(
        loaded, dict(zip(examples(loaded, 1), examples(small(name), 8, seed=5).values(), strict=True))
    )
    for before, after in zip(outputs(name), again, strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mnist_cnn", "text_gru", "tiny_ds_cnn", "vit", "siamese", "subclassed"])
def test_a_row_is_the_same_twice_with_a_seed_and_another_with_another(name):
    again, other = build(row(name), small=True), build(row(name), small=True, seed=1)
    assert all(
        np.array_equal(one, two) for one, two in zip(weights(small(name)), weights(again), strict=True)
    )
    assert not all(
        np.array_equal(one, two) for one, two in zip(weights(small(name)), weights(other), strict=True)
    )


def test_building_leaves_the_policy_and_the_random_numbers_of_python_as_they_were():
    import random

    random.seed(3)
    expected = random.Random(3).random()
    build(row("mixed_precision"), small=True)
    assert random.random() == expected
    assert keras.config.dtype_policy().name == "float32"


def test_row_names_are_unique_words():
    assert len(set(NAMES)) == len(NAMES)
    assert all(name.isidentifier() and name == name.lower() for name in NAMES)


def test_every_family_is_there():
    families = {one.family for one in ROWS}
    assert families >= {
        *("Dense", "CNN", "Text CNN", "LSTM", "GRU", "Bidirectional LSTM", "Stacked LSTM", "VGG"),
        *("ResNet v1", "ResNet v2", "Inception", "Xception", "MobileNet v1", "MobileNet v2", "MobileNet v3"),
        *("DenseNet", "NASNet", "EfficientNet", "EfficientNet v2", "ConvNeXt", "MLPerf Tiny", "U-Net", "GAN"),
        *("WaveNet", "TCN", "Transformer", "Recommender", "Siamese", "Multi-output", "Nested"),
        *("Preprocessing", "Mixed precision", "Channels first", "Subclassed"),
    }


def test_the_basic_rows_come_first_and_end_with_mlperf_tiny():
    basic = [one.basic for one in ROWS]
    assert basic == sorted(basic, reverse=True)
    assert ROWS[sum(basic) - 1].family == "MLPerf Tiny"


def test_an_unknown_row_is_told_with_the_one_that_was_meant():
    with pytest.raises(InputError, match="no zoo model 'resnet51'; did you mean 'resnet50'"):
        row("resnet51")


def test_inputs_are_named():
    for name in NAMES:
        assert not any("input_layer" in key or "keras_tensor" in key for key in examples(small(name), 1))


def test_a_batchnorm_has_the_statistics_that_flow_through_it():
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(6, 3, name="seen")(inputs)
    norm = keras.layers.BatchNormalization(name="norm")
    model = well_scaled(keras.Model(inputs, [x, norm(x)]), seed=4)
    seen, _ = call(model, examples(model, 128, seed=4))  # the examples that scaling took
    np.testing.assert_allclose(norm.moving_mean, seen.mean((0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, seen.var((0, 1, 2)), rtol=1e-3)
    _, normed = call(model, examples(model, 128, seed=9))  # and others
    np.testing.assert_allclose(normed.std((0, 1, 2)), np.abs(norm.gamma), rtol=0.15)


def test_kernels_give_unit_variance_and_bias_takes_the_mean_away():
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(64, 3, activation="relu")(inputs)
    for _ in range(8):
        x = keras.layers.Conv2D(64, 3, padding="same", activation="relu")(x)
    model = well_scaled(keras.Model(inputs, keras.layers.Conv2D(64, 1)(x)), seed=4)
    (output,) = call(model, examples(model, 64, seed=9))
    assert np.sqrt(output.var((0, 1, 2)).mean()) == pytest.approx(1, rel=0.2)
    assert np.abs(output.mean((0, 1, 2))).mean() < 0.3


@pytest.mark.parametrize("name", ["mobilenet", "mobilenetv2", "resnet152", "efficientnetb4"])
def test_small_differences_stay_small_through_a_deep_net(name):
    image = examples(small(name), 8, seed=5)["image"]
    noise = np.random.default_rng(0).normal(0, 0.005 * image.std(), image.shape).astype(np.float32)
    (disturbed,) = call(small(name), {"image": image + noise})
    (output,) = outputs(name)
    assert 20 * np.log10(output.std() / (disturbed - output).std()) > 20  # of 46 dB; 7 with ReLUs about zero


def test_embeddings_and_layers_inside_other_models_are_scaled():
    table = small("gpt_like").get_layer("tokens").embeddings
    assert np.std(table) == pytest.approx(EMBEDDING_STD, rel=0.01)
    body = small("nested").get_layer("body")
    norm = next(one for one in body.layers if isinstance(one, keras.layers.BatchNormalization))
    assert np.abs(norm.moving_mean).min() > 0


def test_ids_stay_within_their_embeddings_and_reach_their_ends():
    found = examples(small("wide_and_deep"), 2000)
    assert {name: (array.min(), array.max()) for name, array in found.items() if name != "numeric"} == {
        "education": (0, 15),
        "zip_code": (0, 39),
    }
    assert examples(small("gpt_like"), 200)["token_ids"].max() == 49


def test_a_model_that_scales_pixels_itself_gets_pixels():
    assert examples(small("preprocessing"), 8)["image"].max() > 100
    assert examples(small("resnet50"), 8)["image"].max() <= 1


@pytest.mark.parametrize(
    ("shape", "channels"), [((50, 20, 20, 3), 3), ((50, 3, 20, 20), 1), ((50, 40, 5), 2)]
)
def test_pictures_and_signals_are_smooth_in_place_and_not_across_channels(shape, channels):
    drawn = smooth(np.random.default_rng(0), shape)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    steps = [np.abs(np.diff(drawn, axis=axis)).mean() for axis in range(1, len(shape))]
    across = steps.pop(channels - 1)
    assert max(steps) < across / 2


def weights(model):
    return [np.asarray(weight) for weight in model.weights]
