"""The stage that quantizes for a target: integers where they are faster, else small weights, else float."""

from __future__ import annotations

import numpy as np
import pytest
from refusals import refusal_of
from small_models import MODELS, examples

from slimedge.benchmarks.fastest import Contest
from slimedge.benchmarks.quantizing_for import Won
from slimedge.benchmarks.quantizing_stage import QuantizeFor
from slimedge.comparison import Speedup
from slimedge.compress.quantization import is_quantized, quantize
from slimedge.data import Data
from slimedge.errors import InputError
from slimedge.keras_file import input_specs, output_specs
from slimedge.lineage import lineage_of, quantization_of


@pytest.fixture
def winner(monkeypatch):
    """Who wins the contest, by hand, and how fast small weights are; both are tested elsewhere."""
    told = {"integers": True, "small": 1.0}

    def quantize_for(model, parts, target, asked, **_settings):
        if not told["integers"]:
            return Won(Contest(target, 1e-3, (), None, "float is the fastest on litert."), None)
        quantized = quantize(model, parts.calibration, scheme="static_wi8_ai8", exclude=asked.exclude)
        return Won(Contest(target, 1e-3, (), "auto", "auto is faster."), quantized)

    def race(_baseline, files, _target, **_settings):
        value = told["small"]
        return 1e-3, {name: Speedup(value, 0.98 * value, 1.02 * value) for name in files}

    monkeypatch.setattr("slimedge.benchmarks.quantizing_for.quantize_for", quantize_for)
    monkeypatch.setattr("slimedge.benchmarks.quantizing_stage.race", race)
    monkeypatch.setattr("slimedge.export.exporting.export_model", lambda *_given, **_settings: (None,))
    return told


@pytest.fixture(scope="module")
def network():
    return MODELS["conv_batchnorm_relu"]()


@pytest.fixture(scope="module")
def data(network):
    return Data.load(examples(network, 96)).bind(
        input_specs(network), outputs=output_specs(network), checks="types"
    )


def test_integers_that_are_faster_are_taken_and_trained_towards_the_parent(winner, network, data):
    found = QuantizeFor(max_accuracy_drop=100, epochs=1, batch_size=16)(network, data, parent=network)
    steps = {step.name: step.settings for step in lineage_of(found)}
    assert is_quantized(found)
    assert steps["quantize"]["scheme"] == "static_wi8_ai8"
    assert (steps["train"]["loss"], steps["train"]["epochs"]) == ("distillation", 1)


def test_without_epochs_nothing_is_trained(winner, network, data):
    found = QuantizeFor(max_accuracy_drop=100, epochs=0)(network, data)
    assert [step.name for step in lineage_of(found)] == ["quantize"]


def test_where_no_integers_are_faster_the_weights_alone_are_rounded(winner, network, data):
    winner["integers"] = False
    found = QuantizeFor()(network, data)
    told = quantization_of(lineage_of(found))
    assert told["scheme"] == "weight_only_wi8_afp32"
    assert "float" in told["chosen_for"]["reason"]


def test_where_even_that_is_slower_the_model_stays_float(winner, network, data):
    winner.update(integers=False, small=0.5)
    found = QuantizeFor()(network, data)
    assert not is_quantized(found)
    assert lineage_of(found)[-1].settings["scheme"] == "float"
    for one, other in zip(found.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"target": "toaster"}, "toaster"),
        ({"effort": "none"}, "effort 'none' is not known"),
        ({"max_accuracy_drop": -1}, "max_accuracy_drop=-1 is not allowed"),
        ({"epochs": -1}, "epochs=-1 is not allowed; give a whole number, 0 or more"),
        ({"learning_rate": 0}, "learning_rate=0 is not allowed"),
    ],
)
def test_settings_are_checked_before_anything_runs(settings, sentence):
    assert sentence in refusal_of(QuantizeFor(**settings).check)
    with pytest.raises(InputError):
        QuantizeFor(**settings).check()
