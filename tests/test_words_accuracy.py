"""The bundled LSTM on all test words: its bars, and the ops of its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimedge.benchmarks import demo, words
from slimedge.benchmarks.file_graph import read_tflite, tflite_kinds
from slimedge.benchmarks.words_accuracy import SCHEME, _missed, measure
from slimedge.compress.quantization import SCHEMES
from slimedge.errors import UnavailableError
from slimedge.export.exporting import export_model

ACCURACY = {"float onnx": 0.9, "quantized onnx": 0.896, "float tflite": 0.9, "quantized tflite": 0.91}
BUILT_IN = {"float tflite": ("GATHER", "WHILE"), "quantized tflite": ("GATHER", "WHILE")}


def test_half_a_point_may_be_lost_and_no_more():
    assert _missed("net", ACCURACY, BUILT_IN) == []
    assert _missed("net", {**ACCURACY, "quantized onnx": 0.893}, BUILT_IN) == [
        "quantized onnx of net loses 0.70%, at most 0.50% is allowed"
    ]


def test_an_op_that_is_not_built_in_is_a_missed_bar():
    ops = {**BUILT_IN, "quantized tflite": ("CUSTOM", "GATHER")}
    assert _missed("net", ACCURACY, ops) == ["quantized tflite of net has an op that is not built in"]


def test_the_ops_inside_of_a_loop_are_counted_as_the_files(tmp_path: Path):
    (file,) = export_model(demo.FOLDER / demo.WORDS_MODEL, to=["tflite"], folder=tmp_path)
    kinds = tflite_kinds(file.path)
    outside = {op.kind for op in read_tflite(file.path).ops}
    assert outside < set(kinds)
    assert "LOGISTIC" in set(kinds) - outside  # the LSTM's gates
    assert "CUSTOM" not in kinds


@pytest.mark.skipif(SCHEME not in SCHEMES, reason=f"there is no scheme {SCHEME}")
def test_the_bundled_lstm_meets_its_bars_on_all_test_words(tmp_path: Path):
    try:
        data = words.load()
    except UnavailableError as error:
        pytest.skip(str(error))
    found = measure(data, tmp_path)
    assert found.examples == 15_000
    assert found.missed == ()
