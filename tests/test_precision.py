"""Models that compute in half precision while they train, and are float32 before and after."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from fitting_nets import net, table
from keras import layers
from small_models import MODELS, examples

from slimedge.compress.distillation import distill
from slimedge.compress.fitting.settings import DeviceSettings
from slimedge.data import Data
from slimedge.errors import InputError
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.keras_file import input_specs, output_specs
from slimedge.lineage import lineage_of
from slimedge.precision import computes_in_half, mixed_precision, single_precision

HALVES = ("mixed_bfloat16", "mixed_float16")


def policies(model):
    return {layer.name: layer.dtype_policy.name for layer in model.layers if layer.weights}


@pytest.mark.parametrize("policy", HALVES)
def test_layers_compute_in_half_and_keep_their_weights_in_float32(policy):
    network = net()
    graph = from_model(network)
    made = to_model(mixed_precision(graph, policy))
    layer = made.get_layer("second")
    assert layer.compute_dtype == policy.removeprefix("mixed_")
    assert {str(variable.dtype) for variable in made.variables} == {"float32"}
    assert [str(tensor.dtype) for tensor in made.inputs] == ["float32"]
    for one, other in zip(made.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    back = single_precision(from_model(made))
    assert computes_in_half(from_model(made))
    assert not computes_in_half(back)
    x = np.random.default_rng(0).normal(0, 1, (5, 6)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(to_model(back)(x)), np.asarray(network(x)))


def test_a_layer_in_half_precision_gives_what_numpy_gives_in_float16():
    inputs = keras.Input((6,), name="x")
    network = keras.Model(inputs, layers.Dense(1, use_bias=False, name="y")(inputs))
    network.set_weights([np.float32([[1], [2**-11], [0], [0], [0], [0]])])
    made = to_model(mixed_precision(from_model(network), "mixed_float16"))
    x = np.float32([[1, 1, 0, 0, 0, 0]])
    # 1 + 2^-11 lies between two numbers of float16, and goes to the even one.
    assert float(np.asarray(made(x))[0, 0]) == float(np.float16(1 + 2.0**-11)) == 1.0
    assert float(np.asarray(network(x))[0, 0]) == 1 + 2.0**-11


@pytest.mark.parametrize("precision", HALVES)
def test_what_was_trained_in_half_is_float32_and_close_to_what_float32_gives(precision):
    def trained(precision):
        return distill(
            net(),
            table(),
            teachers=net(2),
            precision=precision,
            epochs=4,
            batch_size=16,
            learning_rate=1e-2,
            validation=0,
        )

    exact, found = trained("float32"), trained(precision)
    start = net()
    assert policies(found) == dict.fromkeys(("first", "norm", "second", "y"), "float32")
    assert input_specs(found) == input_specs(start)
    assert output_specs(found) == output_specs(start)
    far = np.concatenate([np.ravel(weight) for weight in exact.get_weights()])
    near = np.concatenate([np.ravel(weight) for weight in found.get_weights()])
    begin = np.concatenate([np.ravel(weight) for weight in start.get_weights()])
    assert np.linalg.norm(near - far) < 0.2 * np.linalg.norm(far - begin)
    assert not np.array_equal(near, far)
    told = lineage_of(found)[-1].settings
    assert told["precision"] == precision
    np.testing.assert_allclose(told["epoch_losses"], lineage_of(exact)[-1].settings["epoch_losses"], rtol=0.1)
    # Steps of 2^-8 and 2^-11 would show in weights that were kept in half.
    assert np.any(near.astype(np.float16).astype(np.float32) != near)


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize(
    "name", ["float_island", "tokens", "nested_by_name", "recurrent", "hard_swish_by_hand"]
)
def test_norms_tables_nested_and_recurrent_layers_train_in_half(name, precision):
    network = MODELS[name]()
    data = Data.load(examples(network, 16))
    found = distill(
        network, data, teachers=MODELS[name](), precision=precision, epochs=1, batch_size=8, validation=0
    )
    assert not computes_in_half(from_model(found))
    assert input_specs(found) == input_specs(network)
    assert output_specs(found) == output_specs(network)
    assert [layer.name for layer in found.layers] == [layer.name for layer in network.layers]
    assert all(np.isfinite(weight).all() for weight in found.get_weights())


def test_a_precision_that_is_not_known_is_refused():
    with pytest.raises(InputError, match="precision='float16' is not allowed; give float32, mixed_bfloat16"):
        DeviceSettings(precision="float16")
