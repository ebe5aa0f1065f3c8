"""Sensitivity: the layer that suffers most is named, and a rehearsal computes what quantizing computes."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from small_models import MODELS, examples

from slimedge.benchmarks.layer_sensitivity import Measured, measure_sensitivity
from slimedge.benchmarks.reporting import sensitivity as report
from slimedge.compress.quantization import quantize
from slimedge.compress.rehearsal import Effect, Rehearsal
from slimedge.compress.sensitivity import LayerSensitivity, Sensitivity, sensitivity
from slimedge.data import Data
from slimedge.errors import InputError
from slimedge.keras_file import input_specs


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """A chain whose second layer has one channel thirty times as large as the others: it hates one scale."""
    keras.utils.set_random_seed(5)
    inputs = keras.Input((12,), name="numbers")
    x = keras.layers.Dense(16, activation="relu", name="first")(inputs)
    x = keras.layers.Dense(16, activation="relu", name="uneven")(x)
    network = keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="last")(x))
    spread, last = network.get_layer("uneven"), network.get_layer("last")
    factors = np.ones(16, np.float32)
    factors[0] = 30.0
    spread.set_weights([spread.get_weights()[0] * factors, spread.get_weights()[1] * factors])
    last.set_weights([last.get_weights()[0] / factors[:, None], last.get_weights()[1]])
    return network


@pytest.fixture(scope="module")
def data(network: keras.Model) -> Data:
    return Data.load(examples(network, count=64)).bind(input_specs(network), checks="types")


@pytest.fixture(scope="module")
def rehearsal(network: keras.Model, data: Data) -> Rehearsal:
    from slimedge.compress.settings import Settings

    return Rehearsal(network, data, data, settings=Settings(granularity="per_tensor"), drop=lambda _: 0.25)


def test_the_layer_that_one_scale_does_not_fit_is_the_most_sensitive(rehearsal):
    result = sensitivity(rehearsal, candidates=(8,))
    alone = {layer.layer: layer.alone[8].noise for layer in result.layers}
    spared = {layer.layer: layer.spared[8].noise for layer in result.layers}

    assert list(alone) == ["first", "uneven", "last"]
    assert max(alone, key=alone.get) == "uneven"
    assert min(spared, key=spared.get) == "uneven"
    assert spared["uneven"] < result.everything[8].noise / 4
    assert result.unrounded.noise == 0
    assert result.everything[8].drop == 0.25


def test_fewer_bits_make_more_noise(rehearsal):
    noises = [rehearsal.effect(dict.fromkeys(rehearsal.layers, bits)).noise for bits in (8, 6, 4, 2)]

    assert noises == sorted(noises)
    assert noises[0] < noises[-1] / 20


@pytest.mark.parametrize("name", ["conv_batchnorm_relu", "squeeze_and_excite", "shared_tower"])
def test_a_rehearsal_of_all_layers_computes_what_quantizing_computes(name):
    network = MODELS[name]()
    data = Data.load(examples(network)).bind(input_specs(network), checks="types")
    rehearsal = Rehearsal(network, data, data)

    outputs = rehearsal.outputs(dict.fromkeys(rehearsal.layers, 8))

    quantized = quantize(network, data, scheme="static_wi8_ai8")
    given = list(examples(network).values())
    expected = keras.tree.flatten(quantized(given if len(given) > 1 else given[0]))
    for made, wanted in zip(outputs, expected, strict=True):
        assert np.abs(made - np.asarray(wanted)).max() <= 0.02 * np.abs(np.asarray(wanted)).max()


def test_a_rehearsal_of_nothing_is_the_float_net(rehearsal, network, data):
    (outputs,) = rehearsal.outputs({}, limit=5)

    assert np.allclose(
        outputs, network.predict(examples(network, count=64)["numbers"][:5], verbose=0), atol=1e-6
    )


def test_weights_are_counted_once(rehearsal):
    assert rehearsal.weights() == {"first": 12 * 16, "uneven": 16 * 16, "last": 16 * 3}


@pytest.fixture(scope="module")
def measured(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    folder = tmp_path_factory.mktemp("sensitivity")
    network.save(folder / "m.keras")
    inputs = examples(network, count=200)
    labels = np.argmax(network.predict(inputs["numbers"], verbose=0), axis=1)
    return measure_sensitivity(
        folder / "m.keras", Data.load({**inputs, "y": labels}), candidates=(4, 8), checks="types"
    )


def test_a_file_is_measured_on_the_evaluation_examples(measured):
    assert measured.metric == "accuracy"
    assert measured.examples == 40
    assert set(measured.found.everything) == {4, 8}
    assert measured.found.unrounded == Effect(0.0, 0.0)


def test_json_has_a_row_for_each_layer(measured):
    document = json.loads(report.as_json(measured))

    assert document["schema"] == "slimedge/sensitivity/1"
    assert [layer["layer"] for layer in document["layers"]] == ["first", "uneven", "last"]
    assert set(document["layers"][0]["alone"]["4"]) == {"sqnr_db", "drop"}


def test_the_page_draws_the_shortest_bar_for_the_most_sensitive_layer():
    layers = tuple(
        LayerSensitivity(name, 10, {8: Effect(noise, 0.01)}, {8: Effect(0.02 - noise, 0.0)})
        for name, noise in (("<mild>", 0.001), ("bad", 0.01))
    )
    found = Sensitivity(layers, {8: Effect(0.02, 0.02)}, Effect(0.0, 0.0))
    page = report.render(Measured("m.keras", found, 100, "accuracy", "minmax", 50, ()))

    assert "&lt;mild&gt;" in page
    assert "<mild>" not in page
    assert page.count('class="bar least"') == 1
    assert 'class="bar least" style="width:66.7%"' in page
    assert "−1.00" in page


@pytest.mark.parametrize("bits", [(1,), (8, 12)])
def test_other_bits_are_refused_before_anything_is_read(bits):
    with pytest.raises(InputError, match="weights can have 2 to 8"):
        measure_sensitivity("missing.keras", Data.load({"x": np.zeros((4, 2), np.float32)}), candidates=bits)
