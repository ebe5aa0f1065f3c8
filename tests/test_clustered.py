"""What the measurement of clustered nets calls missed, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slimedge.benchmarks.clustered import Found, missed
from slimedge.comparison import AccuracyDelta

GOOD = Found(
    sparsity=None,
    training_examples=1000,
    accuracy={},
    accuracy_delta={"onnx": AccuracyDelta(-0.004, -0.006, -0.002, 0.01)},
    file_bytes={"onnx": 1000},
    gzip_bytes={"onnx": 200},
    gzip_share={"onnx": 0.2, "tflite": 0.3},
    raw_share={"onnx": 0.2},
    most_values=16,
    zeros=0,
    zeros_lost=0,
)


def test_a_net_within_every_bar_misses_none():
    assert missed(GOOD) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"accuracy_delta": {"tflite": AccuracyDelta(-0.006, -0.008, -0.004, 0.001)}},
            "tflite clustered loses 0.60%, at most 0.50% is allowed",
        ),
        (
            {"gzip_share": {"onnx": 0.31, "tflite": 0.3}},
            "onnx clustered has 0.310 of the float file's bytes after gzip, at most 0.3 is allowed",
        ),
        ({"most_values": 17}, "a weight clustered has 17 values"),
        (
            {"sparsity": 0.5, "zeros": 100, "zeros_lost": 3},
            "3 of 100 zeros are lost pruned to 50% and clustered",
        ),
    ],
)
def test_each_bar_that_is_missed_is_one_sentence(change, said):
    assert missed(replace(GOOD, **change)) == [said]


def test_accuracy_after_pruning_is_told_and_not_judged():
    delta = {"onnx": AccuracyDelta(-0.02, -0.03, -0.01, 0.0001)}

    assert missed(replace(GOOD, sparsity=0.8, accuracy_delta=delta)) == []
