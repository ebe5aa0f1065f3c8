"""Only if faster: a file that is slower than float is never chosen, whatever else speaks for it."""

from __future__ import annotations

import keras
import pytest

from slimedge.artifact_file import read_artifact
from slimedge.benchmarks import quantizing_for
from slimedge.benchmarks.demo import FOLDER
from slimedge.benchmarks.fastest import Contender, decide, race
from slimedge.comparison import Speedup
from slimedge.compress.choosing import scheme_for
from slimedge.compress.exclusions import exclusions
from slimedge.compress.quantization import STATIC_INT8, Quantize
from slimedge.compress.settings import Settings
from slimedge.export.exporting import export_model
from slimedge.keras_file import load_model
from slimedge.runtime.targets import parse_target


def contender(name: str, low: float, value: float, high: float, drop: float | None = None) -> Contender:
    return Contender(name, 1000, Speedup(value, low, high), drop)


def test_the_fastest_wins():
    contest = decide("ort", 1e-3, [contender("a", 1.4, 1.5, 1.6), contender("b", 1.9, 2.0, 2.1)])

    assert contest.winner == "b"
    assert contest.reason == "b runs at 2.00× the speed of float on ort."


def test_the_preferred_one_wins_where_intervals_overlap():
    assert decide("ort", 1e-3, [contender("a", 1.7, 1.8, 1.95), contender("b", 1.9, 2.0, 2.1)]).winner == "a"


@pytest.mark.parametrize(("low", "value"), [(0.5, 0.6), (0.98, 1.1), (1.0, 1.05), (1.02, 1.1)])
def test_a_file_that_is_not_faster_beyond_noise_never_wins(low, value):
    contest = decide("litert", 1e-3, [contender("a", low, value, value + 0.2)])

    assert contest.winner is None
    assert contest.reason.startswith("no quantized file is faster than float on litert: the fastest, a, has")


def test_a_fast_file_that_loses_too_much_does_not_win():
    contenders = [contender("exact", 1.2, 1.3, 1.4, drop=0.004), contender("wild", 2.0, 2.1, 2.2, drop=0.2)]

    assert decide("ort", 1e-3, contenders, largest_drop=0.01).winner == "exact"
    assert decide("ort", 1e-3, contenders[1:], largest_drop=0.01).reason == (
        "no quantized file is faster than float on ort and loses at most 1 points: wild has 2.10× the speed, and may "
        "lose 20.00."
    )


def test_what_could_not_be_made_is_no_winner():
    contest = decide("ort", 1e-3, [Contender("a", failure="it broke")])

    assert contest.winner is None
    assert contest.reason == "no quantized file could be made and run on ort."


@pytest.fixture(scope="module")
def depthwise() -> keras.Model:
    return load_model(FOLDER / "depthwise_separable.keras")


def test_the_collapse_of_dynamic_quantization_on_depthwise_nets_is_not_chosen(depthwise, tmp_path):
    from onnxruntime.quantization import quantize_dynamic

    (baseline,) = export_model(depthwise, to="onnx", folder=tmp_path, name="float")
    quantize_dynamic(str(baseline.path), str(tmp_path / "dynamic.onnx"))
    files = {"quantize_dynamic": read_artifact(tmp_path / "dynamic.onnx")}

    float_s, speedups = race(baseline, files, parse_target("ort"))
    contest = decide("ort", float_s, [Contender(name, 1, speedups[name]) for name in files])

    assert speedups["quantize_dynamic"].value < 0.5
    assert contest.winner is None


def test_auto_takes_static_integers_for_a_depthwise_net(depthwise):
    assert scheme_for(depthwise, Settings())[0] == "static_wi8_ai8"


def test_depthwise_convolutions_and_the_arithmetic_between_kernels_may_stay_float():
    found = exclusions(load_model(FOLDER / "mobilenet_v3.keras"), Settings())
    depthwise, between = (
        found[name] for name in ("depthwise convolutions float", "arithmetic between kernels float")
    )

    assert depthwise
    assert between
    assert not set(depthwise) & set(between)
    assert set(found["both float"]) == {*depthwise, *between}
    assert exclusions(load_model(FOLDER / "dense_autoencoder.keras"), Settings()) == {}


def test_bits_of_a_layer_that_is_tried_float_are_left_out():
    model = load_model(FOLDER / "mobilenet_v3.keras")
    layers = exclusions(model, Settings())["depthwise convolutions float"]
    bits = {layers[0]: 4, "probabilities": 8}

    ways = quantizing_for._ways(model, Quantize(STATIC_INT8, bits=bits), "tflite")

    assert ways[STATIC_INT8].bits == bits
    assert ways["static int8, depthwise convolutions float"].bits == {"probabilities": 8}
