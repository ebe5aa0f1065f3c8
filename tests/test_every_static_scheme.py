"""Contract of the static schemes beside int8: both files compute what the quantized Keras graph computes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from small_models import MODELS, examples

from slimedge.compress.quantization import quantize
from slimedge.compress.static import STATIC
from slimedge.data import Data
from slimedge.export.exporters import EXPORTERS, Settings
from slimedge.export.verify import fidelity, is_close, output_steps
from slimedge.export.worker import keras_outputs
from slimedge.fake_quant import FakeQuant, FakeQuantWeights
from slimedge.integers import integers_for, isa_here
from slimedge.keras_file import input_specs
from slimedge.lineage import lineage_of

NAMES = (
    "conv_batchnorm_relu",
    "depthwise_and_separable",
    "swish_and_leaky",
    "unet",
    "squeeze_and_excite",
    "sequence",
    "dense_chain",
    "two_inputs_two_outputs",
    "shared_tower",
    "requantized_concat",
    "dead_channels",
    "grouped_and_dilated",
    "transposed",
    "arithmetic",
    "fused_activations",
    "hard_swish_and_excite",
    "activations_that_stay_float",
    "recurrent",
    "tokens",
)
SCHEMES = [name for name in STATIC if name != "static_wi8_ai8"]


@pytest.fixture(scope="module", params=[(scheme, name) for scheme in SCHEMES for name in NAMES], ids="-".join)
def made(request: pytest.FixtureRequest) -> tuple[str, keras.Model, keras.Model]:
    scheme, name = request.param
    network = MODELS[name]()
    data = Data.load(examples(network)).bind(input_specs(network), checks="types")
    return scheme, network, quantize(network, data, scheme=scheme)


def test_layers_have_the_bits_of_the_scheme(made):
    scheme, _, quantized = made
    bits = STATIC[scheme]
    flat = quantized._flatten_layers()
    kernels = {layer.bits for layer in flat if isinstance(layer, FakeQuantWeights)}
    activations = {layer.bits for layer in quantized._flatten_layers() if isinstance(layer, FakeQuant)}

    assert kernels == {bits.weights}
    assert activations == {bits.activations}
    assert lineage_of(quantized)[-1].settings["scheme"] == scheme


def test_activations_of_more_than_8_bits_lie_around_zero(made):
    _, _, quantized = made
    wide = [layer for layer in quantized._flatten_layers() if isinstance(layer, FakeQuant) and layer.bits > 8]

    assert {layer.grid()[1] for layer in wide} <= {2**15}


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_file_computes_what_the_quantized_graph_computes(made, exporter):
    scheme, _, quantized = made
    inputs = examples(quantized, count=16, seed=2)
    settings = Settings(io="float32", batch=1, integers=integers_for(isa_here()), metadata={"lineage": []})

    content, trial = EXPORTERS[exporter](quantized, settings)

    assert content
    got = trial.run(inputs)
    measured = fidelity(keras_outputs(quantized, inputs), got, output_steps(quantized))
    assert is_close(measured, quantized=True, wide=STATIC[scheme].activations == 16), measured


def test_the_quantized_graph_is_near_the_float_model(made):
    scheme, network, quantized = made
    inputs = examples(network, count=16, seed=2)
    exact, other = keras_outputs(network, inputs), keras_outputs(quantized, inputs)
    signal = sum(float(np.sum(np.square(array))) for array in exact.values())
    noise = sum(float(np.sum(np.square(array - other[name]))) for name, array in exact.items())

    assert 10 * np.log10(signal / noise) >= (8 if STATIC[scheme].weights == 4 else 30)
