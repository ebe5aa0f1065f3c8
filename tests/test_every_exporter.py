"""Contract of every exporter: the file computes what the Keras model computes, under the same names."""

from __future__ import annotations

from functools import cache

import keras
import numpy as np
import pytest
from small_models import MODELS, examples, float_and_int8

from slimedge.errors import InputError
from slimedge.export.exporters import EXPORTERS, Settings
from slimedge.export.trial import Trial
from slimedge.export.verify import fidelity, is_close, output_steps
from slimedge.export.worker import keras_outputs
from slimedge.integers import INTEGERS, integers_for, isa_here, saturates
from slimedge.keras_file import output_specs

EXACT = integers_for(isa_here())  # no other pair need be exact on every CPU


@cache
def trial_of(exporter: str, network: keras.Model, io: str = "float32", integers: str = EXACT) -> Trial:
    settings = Settings(io=io, batch=1, integers=integers, metadata={"lineage": []})
    content, trial = EXPORTERS[exporter](network, settings)
    assert content
    return trial


def flat(network: keras.Model) -> list[keras.layers.Layer]:
    return list(network._flatten_layers())


@pytest.fixture(scope="module", params=list(MODELS))
def pair(request: pytest.FixtureRequest) -> tuple[keras.Model, keras.Model]:
    return float_and_int8(request.param)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_float_file_equals_keras(pair: tuple[keras.Model, keras.Model], exporter: str) -> None:
    network, _ = pair
    inputs = examples(network, count=3, seed=2)
    got = trial_of(exporter, network).run(inputs)
    expected = keras_outputs(network, inputs)
    names = [spec.name for spec in output_specs(network)]
    assert list(got) == names if exporter == "onnx" else sorted(got) == sorted(names)
    assert fidelity(expected, got).max_error <= 1e-3


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("io", ["float32", "int8"])
def test_a_quantized_file_equals_keras_but_for_rounding_ties(
    pair: tuple[keras.Model, keras.Model], exporter: str, io: str
) -> None:
    _, quantized = pair
    inputs = examples(quantized, count=16, seed=2)
    if (exporter, io) == ("tflite", "int8") and any(
        "LSTM" in type(layer).__name__ for layer in flat(quantized)
    ):
        with pytest.raises(InputError, match="use float32 inputs and outputs"):
            trial_of(exporter, quantized, io=io)
        return
    got = trial_of(exporter, quantized, io=io).run(inputs)
    measured = fidelity(keras_outputs(quantized, inputs), got, output_steps(quantized))
    assert is_close(measured, quantized=True)
    assert measured.sqnr_db is None or measured.sqnr_db > 30


@pytest.mark.parametrize("integers", [integers for integers in INTEGERS if integers != EXACT])
def test_all_integer_types_of_onnx_give_the_same_numbers(
    pair: tuple[keras.Model, keras.Model], integers: str
) -> None:
    if saturates(integers, isa_here()):
        pytest.skip(f"{integers} saturates on this CPU")
    _, quantized = pair
    inputs = examples(quantized, count=4, seed=2)
    reference = trial_of("onnx", quantized, io="float32").run(inputs)  # the one that is made already
    steps = output_steps(quantized)
    for name, array in trial_of("onnx", quantized, integers=integers).run(inputs).items():
        assert np.max(np.abs(array - reference[name])) <= 1.01 * steps.get(name, 1e-3)
