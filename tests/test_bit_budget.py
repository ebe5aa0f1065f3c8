"""The measurement of bits under a budget: which bars a run misses."""

from __future__ import annotations

from slimedge.benchmarks.bit_budget import Run, missed


def run(accuracy: float = 0.912, methods: tuple[str, ...] = (), tflite: float = 1.0) -> Run:
    return Run(
        model="net",
        max_accuracy_drop=0.5,
        methods=methods,
        layers={"4": 2},
        wider={},
        mean_bits=4.0,
        tried=1,
        float_accuracy=0.916,
        accuracy=accuracy,
        low=-0.006,
        agreement={"onnx": 1.0, "tflite": tflite},
    )


def test_a_run_within_its_budget_misses_none() -> None:
    assert missed([run(), run(0.92), run(0.9111)]) == []


def test_each_bar_that_is_missed_has_a_sentence() -> None:
    assert missed([run(0.91), run(methods=("gptq",), tflite=0.99)]) == [
        "net (nearest) loses 0.60 points, and 0.5 were allowed",
        "net (gptq): 99.00% of the tflite file's classes are Keras'",
    ]
