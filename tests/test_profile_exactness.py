"""A profile's ops beside a run: the ratio is that of the medians over the launches, and a bar is a bar."""

from __future__ import annotations

import pytest

from slimedge.benchmarks.profile_exactness import exactness, missed
from slimedge.benchmarks.profiles.times import Place, model_profile
from slimedge.runtime.profiling import OpEvent, Profile, ProfiledRun, RuntimeOp

LAYERS = ("stem", "first", "second", "third", "head")


def profiles(ops_us=(50, 40, 30, 20, 10), run_us=150, launches=6, resolution_us=0, layers=LAYERS):
    """As a runtime would tell them: each launch is 1 % slower than the one before."""
    found = []
    for launch in range(launches):
        slower = 1 + launch / 100
        events, start = [], 0
        for number, each in enumerate(ops_us):
            events.append(OpEvent(number, start, round(each * 1000 * slower)))
            start += events[-1].duration_ns
        found.append(
            model_profile(
                Profile(
                    ops=tuple(RuntimeOp(name, "Conv", "cpu") for name in layers),
                    runs=(ProfiledRun(0, start, tuple(events)),) * 5,
                    samples_s=(run_us * 1e-6 * slower,) * 10,
                    resolution_s=resolution_us * 1e-6,
                ),
                [Place(name, "Conv", name) for name in layers],
            )
        )
    return found


def files(**changed):
    """All four files of a net; one of them may be another."""
    names = ("float onnx", "int8 onnx", "float tflite", "int8 tflite")
    return {"net": [exactness(name, changed.get(name.replace(" ", "_"), profiles())) for name in names]}


def test_the_sum_of_the_ops_is_put_over_the_run_of_its_launch():
    found = exactness("float onnx", profiles(run_us=125))
    assert found.over_run.value == pytest.approx(1.2)
    assert (found.over_run.low, found.over_run.high) == pytest.approx((1.2, 1.2))
    assert (found.run_us, found.ops_us) == pytest.approx((125 * 1.025, 150 * 1.025))
    assert found.added_us == pytest.approx(25 / 5 * 1.025)


def test_the_slowest_layers_come_first():
    assert exactness("float onnx", profiles((10, 50, 30, 40, 20))).slowest == (
        "first",
        "third",
        "second",
        "head",
    )


def test_ops_that_add_up_miss_no_bar():
    assert missed(files()) == []


def test_litert_s_ops_may_be_longer_than_a_run_by_a_tenth():
    assert missed(files(float_tflite=profiles(run_us=137))) == []
    assert missed(files(float_tflite=profiles(run_us=135))) == [
        "net, float tflite: the ops are 1.11 of a run"
    ]


def test_onnx_runtime_s_profiler_may_take_15_microseconds_an_op():
    assert missed(files(int8_onnx=profiles(run_us=80))) == []
    assert missed(files(int8_onnx=profiles(run_us=70))) == [
        "net, int8 onnx: the profiler lengthens an op by 16.4 µs"
    ]


@pytest.mark.parametrize("file", ["float_onnx", "int8_tflite"])
def test_ops_that_are_too_short_miss_it_unless_their_times_were_cut_off(file):
    few = profiles(run_us=180)
    told = f"net, {file.replace('_', ' ')}: the ops are 0.83 of a run, and 0.00 was cut off"
    assert missed(files(**{file: few})) == [told]
    assert missed(files(**{file: profiles(run_us=180, resolution_us=3)})) == []


def test_runtimes_that_spend_their_time_in_other_layers_are_told():
    other = profiles(layers=("stem", "other", "another", "third", "head"))
    assert missed(files(int8_tflite=other)) == [
        "net, int8: the runtimes share only ['stem', 'third'] of the slowest layers"
    ]
