"""The bars of the measurement of weight-only schemes, and the files that it measures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slimedge.benchmarks import demo
from slimedge.benchmarks.weight_only import FORMATS, FORMS, make_files, missed
from slimedge.data import Data

ACCURACY = {(kind, form): 0.9 for kind in FORMATS for form in FORMS}


def test_4_bits_may_cost_what_they_cost_and_float16_next_to_nothing() -> None:
    assert missed("net", ACCURACY) == []
    low = {**ACCURACY, ("onnx", "int4"): 0.5, ("tflite", "int4"): 0.5}
    assert missed("net", low) == []
    low = {**ACCURACY, ("onnx", "float16"): 0.8985, ("tflite", "float16"): 0.8992}
    assert missed("net", low) == ["float16 onnx of net loses 0.15%, at most 0.10% is allowed"]
    low = {**ACCURACY, ("onnx", "int8"): 0.894, ("tflite", "int8"): 0.8946}
    assert len(missed("net", low)) == 2


def test_formats_that_differ_miss_a_bar() -> None:
    apart = {**ACCURACY, ("onnx", "int4"): 0.88, ("tflite", "int4"): 0.882}
    assert missed("net", apart) == ["the two int4 files of net differ by 0.20% in accuracy"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    letters = np.random.default_rng(0).integers(0, 40, (40, 20)).astype(np.int32)
    data = Data.load({"letters": letters})
    name = Path(demo.WORDS_MODEL).stem
    made = make_files(name, data, tmp_path_factory.mktemp("files"))
    return {key: artifact.path for key, artifact in made.items()}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_form_is_measured_in_both_formats_and_fewer_bits_are_fewer_bytes(
    files: dict[tuple[str, str], Path], kind: str
) -> None:
    sizes = [files[kind, form].stat().st_size for form in ("float", "float16", "int8", "int4")]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[3] < files[kind, "int4 in blocks of 32"].stat().st_size < sizes[2]
