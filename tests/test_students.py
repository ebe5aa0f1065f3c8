"""Students: how large they are, whose weights they have, and that they run, here and in files."""

from __future__ import annotations

import random
import re

import keras
import numpy as np
import pytest
from channel_nets import NETS
from graph_checks import shaken
from keras import layers
from refusals import refusal_of
from small_models import examples

from slimedge.artifact import Step
from slimedge.benchmarks.models import depthwise_separable, mobilenet_v3, resnet8
from slimedge.compress.quantization import quantize
from slimedge.compress.students import student
from slimedge.data import Data
from slimedge.errors import OutOfReachError
from slimedge.export.exporting import export_model
from slimedge.export.worker import keras_outputs
from slimedge.keras_file import input_specs, load_model, output_specs, save_model
from slimedge.lineage import lineage_of, with_lineage
from slimedge.macs import count


def numbers(model):
    return [np.asarray(weight) for weight in model.weights]


def two_convolutions():
    x = inputs = keras.Input((8, 8, 3), name="picture")
    x = layers.Conv2D(16, 3, name="wide")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Conv2D(8, 3, activation="relu", name="deep")(layers.ReLU(name="relu")(x))
    outputs = layers.Dense(3, name="classes")(layers.GlobalAveragePooling2D(name="pool")(x))
    return shaken(keras.Model(inputs, outputs, name="net"))


# (kernel area, input channels, output channels, output places) of each convolution; a BatchNorm stands behind each.
RESNET8 = [
    (9, 1, 8, 28**2),
    *[(9, 8, 8, 28**2)] * 2,
    (9, 8, 16, 14**2),
    (9, 16, 16, 14**2),
    (1, 8, 16, 14**2),
    (9, 16, 32, 7**2),
    (9, 32, 32, 7**2),
    (1, 16, 32, 7**2),
]


def test_half_of_resnet8s_width_is_resnet8_with_half_of_the_filters():
    small = student(resnet8(), width=0.5)
    macs = sum(area * given * made * places for area, given, made, places in RESNET8)
    assert count(small).total == macs + 32 * 10
    weights = sum(area * given * made + 4 * made for area, given, made, _ in RESNET8)
    assert small.count_params() == weights + 32 * 10 + 10


def test_half_of_a_separable_nets_width_has_the_size_that_its_layers_come_to():
    small = student(depthwise_separable(), width=0.5)
    pairs = [(16, 24, 14), (24, 32, 14), (32, 48, 7), (48, 64, 7), (64, 64, 7)]
    macs = 28**2 * 9 * 16 + sum(size**2 * given * (9 + made) for given, made, size in pairs) + 64 * 10
    assert count(small).total == macs
    weights = 9 * 16 + 4 * 16 + sum(given * (9 + made) + 4 * (given + made) for given, made, _ in pairs)
    assert small.count_params() == weights + 64 * 10 + 10


def test_half_of_mobilenet_v3s_width_keeps_multiples_of_8_where_there_were_two_of_them():
    small = student(mobilenet_v3(), width=0.5)
    made = {layer.name: layer.filters for layer in small.layers if type(layer) is layers.Conv2D}
    assert made["stem_conv"] == 8  # of 12, where 8 and 4 are as near
    expanded = {"block2": 24, "block3": 32, "block4": 48, "block5": 48}
    assert {name: made[f"{name}_expand_conv"] for name in expanded} == expanded
    projected = {"block1": 8, "block2": 16, "block3": 16, "block4": 16, "block5": 24}
    assert {name: made[f"{name}_project_conv"] for name in projected} == projected
    # A squeeze-and-excite gate has a number for each channel that it scales.
    assert [made[f"block{number}_gate"] for number in (3, 4, 5)] == [32, 48, 48]
    assert [made[f"block{number}_reduce"] for number in (3, 4, 5)] == [8, 16, 16]
    assert (made["last_conv"], made["head"]) == (64, 224)


def test_half_of_mobilenet_v3s_depth_is_without_the_one_block_that_keeps_its_shape():
    teacher = mobilenet_v3()
    small = student(teacher, depth=0.5)
    gone = {layer.name for layer in teacher.layers} - {layer.name for layer in small.layers}
    assert gone == {layer.name for layer in teacher.layers if layer.name.startswith("block4_")}
    before = count(teacher)
    assert count(small).total == before.total - sum(
        macs for name, macs in before.by_layer.items() if name.startswith("block4_")
    )


def test_depth_goes_before_width():
    teacher = resnet8()
    small = student(teacher, width=0.5, depth=0.5)
    assert "block1_add" not in {layer.name for layer in small.layers}
    macs = sum(area * given * made * places for area, given, made, places in [RESNET8[0], *RESNET8[3:]])
    assert count(small).total == macs + 32 * 10
    (step,) = lineage_of(small)
    assert step.settings["macs"] == [count(teacher).total, count(small).total]
    assert step.settings["parameters"] == [teacher.count_params(), small.count_params()]
    assert step.settings["channels"]["block3_a_conv"] == [64, 32]
    ((first, *_, last),) = step.settings["blocks_removed"]
    assert (first, last) == ("block1_a_conv", "block1_relu")


def test_a_student_that_inherits_has_the_teachers_weights_of_its_largest_channels():
    teacher = two_convolutions()
    small = student(teacher, width=0.5, weights="inherit")

    def share(kernel, axes):
        sizes = np.sqrt(np.square(kernel).sum(axis=axes))
        return sizes / sizes.mean()

    wide, deep, classes = (np.asarray(teacher.get_layer(name).kernel) for name in ("wide", "deep", "classes"))
    kept = np.sort(np.argsort(share(wide, (0, 1, 2)) + share(deep, (0, 1, 3)))[8:])
    after = np.sort(np.argsort(share(deep, (0, 1, 2)) + share(classes, 1))[4:])
    np.testing.assert_array_equal(small.get_layer("wide").kernel, wide[..., kept])
    np.testing.assert_array_equal(small.get_layer("deep").kernel, wide_to_deep(deep, kept, after))
    np.testing.assert_array_equal(small.get_layer("classes").kernel, classes[after])
    for name in ("gamma", "beta", "moving_mean", "moving_variance"):
        taught, own = (np.asarray(getattr(each.get_layer("norm"), name)) for each in (teacher, small))
        np.testing.assert_array_equal(own, taught[kept])


def wide_to_deep(kernel, given, made):
    return kernel[:, :, given][..., made]


def test_blocks_that_stay_keep_the_teachers_weights():
    teacher = shaken(resnet8())
    small = student(teacher, depth=0.5, weights="inherit")
    for layer in small.layers:
        for own, taught in zip(layer.weights, teacher.get_layer(layer.name).weights, strict=True):
            np.testing.assert_array_equal(own, taught)


def test_fresh_weights_depend_on_the_seed_alone():
    teacher = two_convolutions()
    one = numbers(student(teacher, width=0.5))
    random.random()
    keras.random.uniform(())
    again = numbers(student(teacher, width=0.5))
    other = numbers(student(teacher, width=0.5, seed=1))
    inherited = numbers(student(teacher, width=0.5, weights="inherit"))
    assert all(map(np.array_equal, one, again))
    drawn = [place for place, array in enumerate(one) if array.ndim > 1]
    assert len(drawn) == 3
    for place in drawn:
        assert not np.isin(one[place], other[place]).any()
        assert not np.isin(one[place], inherited[place]).any()


def test_fresh_weights_are_those_of_an_untrained_net():
    x = inputs = keras.Input((64,))
    x = layers.Dense(64, kernel_initializer="he_normal", bias_initializer="ones", name="he")(x)
    x = layers.BatchNormalization(name="norm")(x)
    # One seed for both, so that the teacher started with the same numbers in them.
    for name in ("one", "other"):
        x = layers.Dense(64, kernel_initializer=keras.initializers.Orthogonal(seed=3), name=name)(x)
    x = layers.Bidirectional(layers.LSTM(8), name="both")(layers.Reshape((8, 8))(x))
    teacher = shaken(keras.Model(inputs, layers.Dense(2)(x)))
    small = student(teacher, width=0.5, exclude=["other"])
    he = small.get_layer("he")
    assert np.std(he.kernel) == pytest.approx(np.sqrt(2 / 64), rel=0.05)
    np.testing.assert_array_equal(he.bias, np.ones(32))
    norm = [np.asarray(weight) for weight in small.get_layer("norm").weights]
    np.testing.assert_array_equal(norm, [np.ones(32), np.zeros(32), np.zeros(32), np.ones(32)])
    one, other = (np.asarray(small.get_layer(name).kernel) for name in ("one", "other"))
    np.testing.assert_allclose(one.T @ one, np.eye(32), atol=1e-5)
    assert not np.isin(one, other).any()
    forward, backward = (np.asarray(small.get_layer("both").weights[place]) for place in (0, 3))
    assert not np.isin(forward, backward).any()


def test_what_was_learned_from_data_without_training_stays():
    inputs = keras.Input((3,))
    scale = layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 4.0, 4.0], name="given")
    adapted = layers.Normalization(name="adapted")
    adapted.adapt(np.random.default_rng(0).normal(5, 2, (64, 3)))
    x = layers.Dense(16, activation="relu")(adapted(scale(inputs)))
    teacher = keras.Model(inputs, layers.Dense(2)(x))
    small = student(teacher, width=0.5)
    for name in ("mean", "variance"):
        taught, own = (np.asarray(getattr(each.get_layer("adapted"), name)) for each in (teacher, small))
        np.testing.assert_array_equal(own, taught)
    row = np.float32([[7.0, 1.0, 2.0]])
    expected = keras.Model(inputs, adapted(scale(inputs)))(row)
    found = keras.Model(small.inputs, small.get_layer("adapted").output)(row)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("weights", ["fresh", "inherit"])
def test_a_table_that_starts_with_known_vectors_starts_with_their_kept_features(weights):
    table, square = (
        np.random.default_rng(size).normal(size=(size, 16)).astype(np.float32) for size in (20, 16)
    )
    ids = keras.Input((7,), dtype="int32")
    known = keras.initializers.Constant(table)
    x = layers.Embedding(20, 16, embeddings_initializer=known, trainable=False, name="table")(ids)
    start = keras.initializers.Constant(square)
    x = layers.Dense(
        16, kernel_initializer=start, bias_initializer=keras.initializers.Constant(0.1), name="all"
    )(x)
    teacher = keras.Model(ids, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))
    small = student(teacher, width=0.5, weights=weights)
    features = [
        place for place in range(16) if np.isin(table[:, place], small.get_layer("table").embeddings).all()
    ]
    np.testing.assert_array_equal(small.get_layer("table").embeddings, table[:, features])
    assert len(features) == 8
    columns = [
        place for place in range(16) if np.isin(square[features, place], small.get_layer("all").kernel).all()
    ]
    np.testing.assert_array_equal(small.get_layer("all").kernel, square[features][:, columns])
    np.testing.assert_allclose(small.get_layer("all").bias, 0.1)
    again = keras.Model.from_config(small.get_config())
    assert [weight.shape for weight in again.weights] == [weight.shape for weight in small.weights]


@pytest.mark.parametrize("weights", ["fresh", "inherit"])
@pytest.mark.parametrize("name", NETS)
def test_half_of_the_width_of_any_net_runs(name, weights):
    teacher = shaken(NETS[name]())
    before = numbers(teacher)
    small = student(teacher, width=0.5, weights=weights)
    assert small.name == f"{teacher.name}_student"
    assert small.count_params() < teacher.count_params()
    assert input_specs(small) == input_specs(teacher)
    assert output_specs(small) == output_specs(teacher)
    inputs = examples(teacher, count=3)
    expected = keras_outputs(teacher, inputs)
    for output, array in keras_outputs(small, inputs).items():
        assert array.shape == expected[output].shape
        assert np.isfinite(array).all()
    assert all(map(np.array_equal, before, numbers(teacher)))


def test_layers_keep_their_names_and_nested_models_become_layers():
    teacher = NETS["nested"]()
    small = student(teacher, width=0.5)
    assert [layer.name for layer in small.layers if layer.weights] == [
        "outer",
        "inner",
        teacher.layers[-1].name,
    ]


def test_patterns_choose_the_layers_that_lose_channels():
    teacher = two_convolutions()
    assert student(teacher, width=0.5, layers=["wide"]).get_layer("deep").filters == 8
    assert student(teacher, width=0.5, exclude=["wide"]).get_layer("wide").filters == 16
    assert student(teacher, width=0.4, multiple=1).get_layer("wide").filters == 6


def test_a_student_is_trained_quantized_and_written_like_any_model(tmp_path):
    teacher = with_lineage(two_convolutions(), [Step("prune", {"sparsity": 0.5})])
    small = student(teacher, width=0.5)
    small.compile("adam", "mse")
    pictures = np.random.default_rng(0).random((32, 8, 8, 3), np.float32)
    small.fit(pictures, np.asarray(teacher(pictures)), verbose=0)
    save_model(small, tmp_path / "small.keras")
    again = load_model(tmp_path / "small.keras")
    np.testing.assert_allclose(again(pictures), small(pictures), atol=1e-6)
    quantized = quantize(again, Data.load({"picture": pictures}), scheme="static_wi8_ai8")
    assert [step.name for step in lineage_of(quantized)] == ["prune", "student", "quantize"]


def test_a_student_is_exported_to_both_formats(tmp_path):
    save_model(student(two_convolutions(), width=0.5), tmp_path / "small.keras")
    # Each file is compared with Keras on the way.
    written = export_model(tmp_path / "small.keras", to=["onnx", "tflite"], folder=tmp_path)
    assert {artifact.path.suffix for artifact in written} == {".onnx", ".tflite"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "width=1 and depth=1 leave the teacher as it is"),
        ({"width": 0.0}, "width=0 is not allowed; give the share that is left, above 0, up to 1"),
        ({"width": 1.5}, "width=1.5 is not allowed"),
        ({"width": float("nan")}, "width=nan is not allowed"),
        ({"depth": -1.0}, "depth=-1 is not allowed"),
        ({"width": 0.05}, "width=0.05 is out of reach: at most 90 % of a layer's channels go; give 0.1"),
        ({"width": 0.95}, "width=0.95 leaves all channels of model 'net' .* a multiple of 8"),
        ({"depth": 0.5}, "model 'net' has no block that can go"),
        ({"width": 0.5, "weights": "copied"}, "weights='copied' is not allowed; give fresh or inherit"),
        ({"width": 0.5, "multiple": 0}, "multiple=0 is not allowed"),
        ({"width": 0.5, "layers": ["none"]}, "the pattern 'none' fits no layer"),
        ({"depth": 0.5, "exclude": ["wide"]}, "the pattern 'wide' chooses layers .* with width=1 none does"),
    ],
)
def test_what_cannot_be_made_is_told_in_a_sentence(settings, message):
    assert re.search(message, refusal_of(student, two_convolutions(), **settings))


@pytest.mark.parametrize("settings", [{"width": 0.05}, {"width": 0.95}, {"depth": 0.5}])
def test_more_than_can_go_is_told_from_other_bad_input(settings):
    with pytest.raises(OutOfReachError):
        student(two_convolutions(), **settings)


def test_a_quantized_teacher_is_refused():
    pictures = np.random.default_rng(0).random((16, 8, 8, 3), np.float32)
    quantized = quantize(two_convolutions(), Data.load({"picture": pictures}), scheme="static_wi8_ai8")
    assert "is quantized; make the student of the float model" in refusal_of(student, quantized, width=0.5)
