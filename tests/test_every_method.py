"""Contract of every method of post-training quantization."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from slimedge.compress.calibration import Watch, calibrate
from slimedge.compress.inserting import insert
from slimedge.compress.methods import METHODS
from slimedge.compress.placement import place
from slimedge.compress.planning import Bits, Plan, planned
from slimedge.compress.quantization import quantize
from slimedge.compress.static import simplify
from slimedge.data import Data
from slimedge.errors import InputError
from slimedge.fake_quant import FakeQuantWeights
from slimedge.graph import Graph
from slimedge.graph_reading import from_model
from slimedge.keras_file import input_specs
from slimedge.lineage import lineage_of


def net() -> keras.Model:
    """Channels of very different ranges, a branch, a depthwise layer, biases of both signs."""
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="first")(x)
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depthwise")(x)
    y = layers.Conv2D(8, 1, activation="relu", name="pointwise")(x)
    x = layers.Add(name="add")([x, y])
    x = layers.MaxPooling2D(name="pool")(layers.Conv2D(6, 3, activation="relu", name="last")(x))
    x = layers.Dense(5, name="hidden", activation="relu")(layers.Flatten(name="flat")(x))
    model = keras.Model(inputs, layers.Dense(4, name="classes")(x))
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            factor = np.exp(
                generator.uniform(0, 3, kernel.shape[-1] if kernel.shape[-1] > 1 else (kernel.shape[-2], 1))
            )
            layer.set_weights([kernel * factor, generator.normal(0.1, 0.3, bias.shape)])
    return model


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return net()


@pytest.fixture(scope="module")
def data(network: keras.Model) -> Data:
    images = np.random.default_rng(1).random((96, 8, 8, 3), np.float32)
    return Data.load(images).bind(input_specs(network), checks="types")


@pytest.fixture(scope="module")
def graph(network: keras.Model) -> Graph:
    return simplify(from_model(network))[0]


def outputs(graph: Graph, data: Data) -> np.ndarray:
    watch = Watch(graph, graph.outputs)
    return np.concatenate([watch.run(batch)[0] for batch, _ in data.batches(32)])


def plan_of(graph: Graph, data: Data, bits: int) -> Plan:
    placement = place(graph)
    return planned(graph, placement, calibrate(graph, placement, data), Bits(bits, 8))


def error(plan: Plan, exact: np.ndarray, data: Data) -> float:
    return float(np.mean((outputs(insert(plan, trainable=False), data) - exact) ** 2))


@pytest.mark.parametrize("name", METHODS)
def test_preparing_leaves_what_the_model_computes(name, graph, data):
    exact = outputs(graph, data)
    other = outputs(METHODS[name].prepare(graph, data), data)

    # Absorbed biases are exact for all but the lowest 0.1 % of values.
    tolerance = 0.02 if name == "bias_absorption" else 1e-4
    assert np.abs(other - exact).max() <= tolerance * np.abs(exact).max()


@pytest.mark.parametrize("name", ["adaround", "gptq", "bias_correction"])
def test_refining_makes_a_net_of_4_bits_more_exact(name, graph, data):
    plan = plan_of(graph, data, bits=4)
    exact = outputs(graph, data)

    refined = METHODS[name].refine(plan, data)

    assert error(refined, exact, data) < error(plan, exact, data)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_kernels_on_their_grid(name, network, data):
    made = quantize(network, data, scheme="static_wi4_ai8", methods=(name,))

    wrapped = [layer for layer in made.layers if isinstance(layer, FakeQuantWeights)]
    assert len(wrapped) == 6
    for layer in wrapped:
        integers, scale = layer.integers()["kernel"]
        assert np.abs(integers).max() <= 7
        assert np.all(scale > 0)
    assert lineage_of(made)[-1].settings["methods"] == [name]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_kernels_that_rewriting_made(name):
    keras.utils.set_random_seed(5)
    x = inputs = keras.Input((8, 8, 3), name="image")
    x = layers.Rescaling(2.0, offset=-1.0, name="rescaling")(x)
    x = layers.SeparableConv2D(8, 3, activation="hard_swish", name="separable")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    gate = layers.Conv2D(8, 1, activation="hard_sigmoid", name="gate")(gate)
    x = layers.BatchNormalization(name="norm")(layers.Multiply(name="excite")([x, gate]))
    network = keras.Model(inputs, layers.Dense(4, name="classes")(layers.Flatten()(x)))
    images = np.random.default_rng(6).random((64, 8, 8, 3), np.float32)

    made = quantize(network, Data.load(images), scheme="static_wi4_ai8", methods=(name,))

    nearest = quantize(network, Data.load(images), scheme="static_wi4_ai8")
    exact, found, before = (
        np.asarray(model.predict(images, verbose=0)) for model in (network, made, nearest)
    )
    assert np.mean((found - exact) ** 2) < 2 * np.mean((before - exact) ** 2)


@pytest.mark.parametrize(
    "order", [("equalization", "gptq", "bias_correction"), ("smoothing", "equalization", "adaround")]
)
def test_methods_are_combined_in_any_order(order, network, data):
    exact = np.asarray(network(next(iter(data.arrays()[0].values()))))

    def error_of(methods: tuple[str, ...]) -> float:
        made = quantize(network, data, scheme="static_wi4_ai8", methods=methods)
        return float(np.mean((np.asarray(made(next(iter(data.arrays()[0].values())))) - exact) ** 2))

    assert error_of(order) < error_of(())


def test_equalization_makes_the_ranges_on_both_sides_of_a_link_equal(graph, data):
    prepared = METHODS["equalization"].prepare(graph, data)

    kernels = {
        node.source: dict(node.layer.weights).get("kernel") for node in prepared.nodes if node.layer.weights
    }
    before = np.abs(kernels["first"]).max(axis=(0, 1, 2))
    behind = np.abs(kernels["depthwise"]).max(axis=(0, 1, 3))
    np.testing.assert_allclose(before, behind, rtol=5e-3)


def test_equalization_saves_a_net_whose_channels_are_scaled_apart(network, data):
    scaled = keras.models.clone_model(network)
    scaled.set_weights(network.get_weights())
    factor = np.exp(np.random.default_rng(2).uniform(0, np.log(1000), 8)).astype(np.float32)
    first, depthwise = scaled.get_layer("first"), scaled.get_layer("depthwise")
    first.set_weights([weight * factor for weight in first.get_weights()])
    kernel, bias = depthwise.get_weights()
    depthwise.set_weights([kernel / factor[:, None], bias])
    images = next(iter(data.arrays()[0].values()))
    exact = np.asarray(scaled(images))

    def error_of(methods: tuple[str, ...]) -> float:
        made = quantize(scaled, data, scheme="static_wi8_ai8", methods=methods, granularity="per_tensor")
        return float(np.mean((np.asarray(made(images)) - exact) ** 2))

    assert error_of(("equalization",)) < 0.01 * error_of(())


def test_bias_correction_takes_the_mean_error_out_of_the_outputs(graph, data):
    plan = plan_of(graph, data, bits=3)
    exact = outputs(graph, data)

    corrected = METHODS["bias_correction"].refine(plan, data)

    before = np.abs(np.mean(outputs(insert(plan, trainable=False), data) - exact, axis=0))
    after = np.abs(np.mean(outputs(insert(corrected, trainable=False), data) - exact, axis=0))
    step = plan.grids[plan.placement.groups[graph.outputs[0]]].scale
    assert before.max() > 2 * step
    assert after.max() < 0.75 * step


def test_an_unknown_method_is_named_with_those_there_are(network, data):
    with pytest.raises(InputError, match="there is no method 'adaroud'; did you mean 'adaround'"):
        quantize(network, data, methods=("adaroud",))


def test_a_method_is_refused_where_weights_only_are_rounded(network, data):
    with pytest.raises(InputError, match="the method gptq is for static quantization only"):
        quantize(network, data, scheme="weight_only_wi8_afp32", methods=("gptq",))


def test_an_unknown_granularity_is_refused(network, data):
    with pytest.raises(InputError, match="granularity is 'per_row'; it can be per_channel or per_tensor"):
        quantize(network, data, granularity="per_row")


def test_a_method_is_refused_where_auto_chooses_to_round_weights_only():
    inputs = keras.Input((6, 8))
    model = keras.Model(inputs, layers.Dense(2)(layers.LSTM(32)(inputs)))
    examples = np.random.default_rng(0).random((8, 6, 8), np.float32)

    with pytest.raises(InputError, match="would be quantized by weight_only_wi8_afp32"):
        quantize(model, Data.load(examples), methods=("gptq",))
