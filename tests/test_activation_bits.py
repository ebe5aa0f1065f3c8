"""The measurement of the bits of activations: which bars a run misses."""

from __future__ import annotations

from slimedge.benchmarks.activation_bits import Run, missed


def run(scheme="static_wi8_ai16", accuracy=0.915, sqnr_db=40.0, agreement=1.0):
    shares = {"keras": accuracy, "onnx": 0.915, "tflite": 0.915}
    pairs = {"keras / onnx": 1.0, "keras / tflite": agreement}
    return Run("resnet8", scheme, 10_000, 0.916, shares, sqnr_db, pairs, {}, {}, {})


def test_runs_inside_the_bars_miss_none():
    assert missed([run("static_wi8_ai8", sqnr_db=35.0), run(agreement=0.995)]) == []


def test_each_bar_that_is_missed_has_a_sentence():
    runs = [run("static_wi8_ai8", sqnr_db=41.0), run(accuracy=0.9, agreement=0.99)]
    assert missed(runs) == [
        "keras / tflite of resnet8 (static_wi8_ai16) agree on 99.00%",
        "keras of resnet8 (static_wi8_ai16) loses 1.60%",
        "resnet8 has 40.0 dB with 16 bits and 41.0 dB with 8",
    ]
