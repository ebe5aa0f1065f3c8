"""The measurement of methods: which bars a run misses, and the net whose channels are scaled apart."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from slimedge.benchmarks.method_effect import NETS, Run, merged, missed, wanted
from slimedge.benchmarks.rescaled import rescaled
from slimedge.data import Data
from slimedge.keras_file import input_specs


def run(model="resnet8", granularity="per_channel", methods=("adaround",), accuracy=0.91, agreement=None):
    scheme = "static_wi4_ai8" if granularity == "per_channel" else "static_wi8_ai8"
    return Run(model, scheme, granularity, methods, 0.915, accuracy, 30.0, agreement)


def test_runs_inside_the_bars_miss_none():
    runs = [
        run(agreement={"onnx": 1.0, "tflite": 0.996}),
        run(methods=(), accuracy=0.5),
        run("depthwise_rescaled", "per_tensor", (), 0.1),
        run("depthwise_rescaled", "per_tensor", ("equalization", "bias_correction"), 0.912),
    ]
    assert missed(runs) == []


def test_each_bar_that_is_missed_has_a_sentence():
    runs = [
        run(accuracy=0.9, agreement={"onnx": 0.99}),
        run("depthwise_rescaled", "per_tensor", (), 0.7),
        run("depthwise_rescaled", "per_tensor", ("equalization", "bias_correction"), 0.9),
    ]
    assert missed(runs) == [
        "resnet8 with adaround loses 1.50 points with 4 bits",
        "resnet8 (static_wi4_ai8, adaround): 99.00% of the onnx file's classes are Keras'",
        "depthwise_rescaled per tensor without equalization has 70.0%: it tests nothing",
        "depthwise_rescaled per tensor with equalization+bias_correction loses 1.50 points",
    ]


def test_single_rows_take_the_places_of_those_that_were_measured_before():
    before = [run(accuracy=0.90), run(methods=("gptq",), accuracy=0.89)]

    assert merged(before, [run(accuracy=0.91)]) == [run(accuracy=0.91), before[1]]
    assert [row.model for row in wanted(only=["gptq"])] == list(NETS)
    assert wanted(only=["bias_correction_analytic"])[-1].methods == (
        "equalization",
        "bias_correction_analytic",
    )


def test_a_rescaled_net_keeps_its_batchnorms():
    x = inputs = keras.Input((6, 6, 3), name="image")
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(16, 3, name="first")(x))
    x = layers.DepthwiseConv2D(3, name="second")(layers.ReLU()(x))
    model = keras.Model(inputs, layers.Dense(4, name="end")(layers.GlobalAveragePooling2D()(x)))
    images = np.random.default_rng(0).random((8, 6, 6, 3), np.float32)

    copy = rescaled(model, Data.load(images).bind(input_specs(model)))

    np.testing.assert_allclose(copy(images), model(images), atol=1e-4)
    gamma = np.asarray(copy.get_layer("norm").gamma)
    assert gamma.max() / gamma.min() > 50
    assert np.array_equal(copy.get_layer("norm").moving_variance, np.ones(16))


def test_a_rescaled_net_computes_the_same_with_channels_far_apart():
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((6, 6, 3), name="image")
    x = layers.Conv2D(16, 3, activation="relu", name="first")(x)
    x = layers.DepthwiseConv2D(3, name="second")(x)
    model = keras.Model(inputs, layers.Dense(4, name="end")(layers.GlobalAveragePooling2D()(x)))
    images = np.random.default_rng(0).random((8, 6, 6, 3), np.float32)

    copy = rescaled(model, Data.load(images).bind(input_specs(model)))

    np.testing.assert_allclose(copy(images), model(images), atol=1e-4)
    ranges = np.abs(np.asarray(copy.get_layer("first").kernel)).max(axis=(0, 1, 2))
    assert ranges.max() / ranges.min() > 50
