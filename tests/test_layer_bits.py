"""Bits of single layers: by pattern, into the graph, into both files."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from small_models import examples

from slimedge.compress.layer_bits import assigned_bits, check_layer_bits
from slimedge.compress.quantization import quantize
from slimedge.data import Data
from slimedge.errors import InputError
from slimedge.export.exporters import EXPORTERS, Settings
from slimedge.export.verify import fidelity, is_close, output_steps
from slimedge.export.worker import keras_outputs
from slimedge.fake_quant import FakeQuantWeights
from slimedge.graph_reading import from_model
from slimedge.integers import integers_for, isa_here, kernel_bits
from slimedge.keras_file import input_specs
from slimedge.lineage import lineage_of

BITS = {"first": 4, "last": "float", "*": 6}


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 8, 3), name="picture")
    x = keras.layers.Conv2D(6, 3, name="first")(inputs)
    x = keras.layers.ReLU(name="behind_first")(x)
    x = keras.layers.Conv2D(8, 3, name="middle")(x)
    x = keras.layers.ReLU(name="behind_middle")(x)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(inputs, keras.layers.Dense(4, name="last")(x))


@pytest.fixture(scope="module")
def data(network: keras.Model) -> Data:
    return Data.load(examples(network)).bind(input_specs(network), checks="types")


@pytest.fixture(scope="module")
def quantized(network: keras.Model, data: Data) -> keras.Model:
    return quantize(network, data, scheme="static_wi8_ai8", bits=BITS)


def test_the_first_pattern_that_fits_counts(network):
    graph = from_model(network)

    assert assigned_bits(graph, ["first", "middle", "last"], BITS) == {
        "first": 4,
        "middle": 6,
        "last": "float",
    }
    assert assigned_bits(graph, ["first", "last"], {"f*": 5}) == {"first": 5}


def test_a_pattern_that_fits_nothing_names_the_layers(network, data):
    with pytest.raises(InputError, match=r"'conv_' for bits fits no layer .* those are first, middle, last"):
        quantize(network, data, scheme="static_wi8_ai8", bits={"conv_": 4})


@pytest.mark.parametrize("bits", [1, 9, 32, "half", 4.5])
def test_other_bits_are_refused(bits):
    with pytest.raises(InputError, match=f"were given {bits} bits; weights can have 2 to 8, 16 stands"):
        check_layer_bits({"conv": bits})


def test_weight_only_schemes_have_no_bits_of_layers(network, data):
    with pytest.raises(InputError, match="bits of the layers 'first' is for static quantization only"):
        quantize(network, data, scheme="weight_only_wi8_afp32", bits={"first": 4})


def test_each_layer_has_its_bits_and_the_lineage_says_so(quantized):
    kernels = {
        layer.layer.name: layer.bits
        for layer in quantized._flatten_layers()
        if isinstance(layer, FakeQuantWeights)
    }
    settings = lineage_of(quantized)[-1].settings

    assert kernels == {"first": 4, "middle": 6}
    assert settings["layer_bits"] == {"first": 4, "middle": 6, "last": "float"}
    assert settings["float_layers"]["last"] == "float was chosen for its weights"
    assert kernel_bits(lineage_of(quantized)) == 6


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_file_computes_what_the_graph_of_mixed_bits_computes(quantized, exporter):
    inputs = examples(quantized, count=16, seed=2)
    settings = Settings(
        io="float32", batch=1, integers=integers_for(isa_here(), kernel_bits=6), metadata={"lineage": []}
    )

    _, trial = EXPORTERS[exporter](quantized, settings)

    got = trial.run(inputs)
    measured = fidelity(keras_outputs(quantized, inputs), got, output_steps(quantized))
    assert is_close(measured, quantized=True), measured


def test_a_relu_behind_a_float_layer_stays_float(network, data):
    half = quantize(network, data, scheme="static_wi8_ai8", bits={"first": "float"})
    left = lineage_of(half)[-1].settings["float_layers"]

    assert left["behind_first"] == "the layer that it would be fused into stays float"
    assert np.isfinite(half.predict(examples(network)["picture"], verbose=0)).all()


@pytest.fixture(scope="module")
def wide(network: keras.Model, data: Data) -> keras.Model:
    return quantize(network, data, scheme="static_wi8_ai8", bits={"middle": 16})


def test_sixteen_bits_widen_what_a_layer_takes_and_gives(wide):
    from slimedge.fake_quant import FakeQuant

    activations = {layer.name: layer.bits for layer in wide._flatten_layers() if isinstance(layer, FakeQuant)}

    assert activations == {
        "picture_fq": 8,
        "behind_first_fq": 16,
        "behind_middle_fq": 16,
        "flat_fq": 16,
        "last": 8,
    }
    assert {layer.bits for layer in wide._flatten_layers() if isinstance(layer, FakeQuantWeights)} == {8}


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_file_of_8_and_16_bit_activations_computes_what_the_graph_computes(wide, exporter):
    inputs = examples(wide, count=16, seed=2)
    settings = Settings(io="float32", batch=1, integers=integers_for(isa_here()), metadata={"lineage": []})

    _, trial = EXPORTERS[exporter](wide, settings)

    measured = fidelity(keras_outputs(wide, inputs), trial.run(inputs), output_steps(wide))
    assert is_close(measured, quantized=True), measured
