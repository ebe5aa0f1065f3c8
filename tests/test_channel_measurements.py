"""The measurements of channel pruning: what they compare, and which bars they call missed."""

from __future__ import annotations

import numpy as np
import pytest

from slimedge.benchmarks import channel_exactness, channels
from slimedge.benchmarks.channels import Run
from slimedge.benchmarks.zoo.rows import build, row
from slimedge.benchmarks.zoo.thinning import thinned
from slimedge.macs import count


@pytest.mark.parametrize("name", ["mobilenetv3small", "densenet121", "inceptionresnetv2", "convnexttiny"])
def test_a_net_of_the_zoo_without_channels_is_the_net_with_zeros_there(name):
    whole = build(row(name), small=True)
    small, found = thinned(whole, channel_exactness.RATIO)
    assert found.error < channel_exactness.LARGEST_ERROR
    assert found.change > channel_exactness.LEAST_CHANGE
    assert found.removed == pytest.approx(channel_exactness.RATIO * found.units, rel=0.25)
    assert found.macs == count(small).total / count(whole).total < 1


def test_a_net_without_channels_that_can_go_is_left_whole():
    whole = build(row("matrix_factorization"), small=True)
    small, found = thinned(whole, 0.3)
    assert found is None
    assert [np.shape(weight) for weight in small.weights] == [np.shape(weight) for weight in whole.weights]


FOUND = {"error": 1e-6, "change": 0.5, "failures": []}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, None),
        ({"error": 2e-4}, "net differs by 2.0e-04 of the output's range"),
        ({"change": 1e-5}, "changed only 1.0e-05"),
        ({"failures": ["no file"]}, "no file"),
        ({"failed": "it died"}, "net: it died"),
    ],
)
def test_a_net_that_differs_or_was_not_made_misses_its_bar(changed, message):
    missed = channel_exactness.bars({"net": {**FOUND, **changed}}, {"other": FOUND})
    assert len(missed) == (message is not None)
    assert message is None or message in missed[0]


def run(**changed):
    facts = {
        "model": "resnet8",
        "criterion": "hessian",
        "seed": 0,
        "recipe": {},
        "examples": 10_000,
        "float_accuracy": 0.92,
        "accuracy": 0.915,
        "difference": (-0.005, -0.008, -0.002),
        "over_random": (0.01, 0.005, 0.015),
        "channels": {},
        "macs": [10, 5],
        "parameters": [10, 5],
        "speedup": {"onnx": (1.6, 1.5, 1.7), "tflite": (1.7, 1.6, 1.8)},
        "train_s": 1.0,
    }
    return Run(**{**facts, **changed})


def speed(value):
    return {"speedup": {"value": value, "low": value, "high": value}}


@pytest.mark.parametrize(
    ("changed", "value", "message"),
    [
        ({}, 2.1, None),
        ({"accuracy": 0.905}, 2.0, "loses 1.50%, at most 1.00% is allowed"),
        ({"over_random": (0.002, -0.001, 0.005)}, 2.0, "over random, -0.10% at the lower end"),
        ({"speedup": {"onnx": (1.4, 1.3, 1.5)}}, 2.0, "is 1.40 times as fast in onnx"),
        ({}, 1.7, "is 1.70 times as fast where 2 was asked for"),
        ({}, 2.3, "is 2.30 times as fast where 2 was asked for"),
        ({"criterion": "random", "accuracy": 0.5, "over_random": None, "speedup": None}, 2.0, None),
    ],
)
def test_what_falls_short_of_a_bar_is_said(changed, value, message):
    missed = channels.missed([run(**changed)], speed(value))
    assert len(missed) == (message is not None)
    assert message is None or message in missed[0]
