"""Times of layers come from ONNX Runtime's own profile, op by op and run by run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_onnx import linear

from slimedge.artifact import Format
from slimedge.artifact_file import read_artifact
from slimedge.benchmarks.layer_latency import layer_latency, layer_of, layer_times
from slimedge.errors import InputError


def run(begin, *ops):
    """Events of one run that begins so late: name, type and time of each op, one after the other."""
    events, at = [], begin
    for name, op, duration in ops:
        events.append({"cat": "Node", "name": f"{name}_kernel_time", "ts": at, "dur": duration, "op": op})
        at += duration
    return [*events, {"cat": "Session", "name": "model_run", "ts": begin, "dur": at - begin, "op": ""}]


def test_a_layer_takes_the_median_of_the_sums_of_its_ops():
    events = [
        *run(0, ("conv/Quantize", "Q", 900), ("conv/Conv_token_3", "QLinearConv", 900)),
        *run(5000, ("conv/Quantize", "Q", 10), ("conv/Conv", "C", 20), ("dense/Gemm", "G", 5)),
        *run(6000, ("conv/Quantize", "Q", 12), ("conv/Conv", "C", 30), ("dense/Gemm", "G", 9)),
        *run(7000, ("conv/Quantize", "Q", 11), ("conv/Conv", "C", 99), ("dense/Gemm", "G", 7)),
    ]

    found = layer_times(events, (), skip=1)

    assert [time.layer for time in found] == ["conv", "dense"]
    assert [time.seconds for time in found] == pytest.approx([42e-6, 7e-6])
    assert [time.share for time in found] == pytest.approx([42 / 49, 7 / 49])


def test_what_a_loop_does_counts_for_the_layers_inside_and_not_twice():
    loop = {"cat": "Node", "name": "lstm/Loop_kernel_time", "ts": 0, "dur": 100, "op": "Loop"}
    inner = run(10, ("cell/MatMul", "MatMul", 30), ("cell/Add", "Add", 10))[:-1]
    around = {"cat": "Session", "name": "model_run", "ts": 0, "dur": 120, "op": ""}

    found = {time.layer: time.seconds for time in layer_times([*inner, loop, around], ())}

    assert found == pytest.approx({"lstm": 60e-6, "cell": 40e-6})


def test_without_runs_there_are_no_times():
    assert layer_times([], ()) == ()
    assert layer_times(run(0, ("a/Conv", "Conv", 5)), (), skip=1) == ()


def test_an_op_that_took_no_time_has_no_share():
    around = {"cat": "Session", "name": "model_run", "ts": 0, "dur": 1, "op": ""}

    found = layer_times([*run(0, ("a/Conv", "Conv", 0))[:-1], around], ())

    assert [(time.seconds, time.share) for time in found] == [(0.0, 0.0)]


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("block1/conv/Conv:out_nchwc", "block1/conv"),
        ("Conv_12", "Conv_12"),
        ("Transpose_token_32", "ONNX Runtime: Transpose"),
        ("", "ONNX Runtime: Transpose"),
    ],
)
def test_the_layer_is_what_stands_before_the_last_slash(name, layer):
    assert layer_of(name, "Transpose", {"Conv_12", ""}) == layer


def test_a_real_file_is_timed_op_by_op(tmp_path):
    kernel = np.random.default_rng(3).normal(size=(400, 300)).astype(np.float32)

    found = layer_latency(read_artifact(linear(tmp_path / "a.onnx", kernel)), runs=50)

    assert len(found) == 2  # a product and a softmax
    assert sum(time.share for time in found) == pytest.approx(1.0)
    assert all(0.0 <= time.seconds < 1.0 for time in found)
    assert found[0].seconds > found[1].seconds


def test_other_formats_and_too_few_runs_are_refused(tmp_path):
    artifact = read_artifact(linear(tmp_path / "a.onnx", np.ones((2, 2), np.float32)))

    with pytest.raises(InputError, match="runs=0 and batch=1"):
        layer_latency(artifact, runs=0)
    with pytest.raises(InputError, match=r"is a \.tflite file"):
        layer_latency(replace(artifact, format=Format.TFLITE))
