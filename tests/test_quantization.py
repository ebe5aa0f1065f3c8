"""Quantizing a Keras model: an ordinary Keras model comes out, close to the float one, exact in both formats."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from small_models import MODELS, examples, float_and_int8

from slimedge.artifact import Step
from slimedge.compress.calibration import Watch
from slimedge.compress.folding import OUTPUT_AXES
from slimedge.compress.kernels import kernel_scale, snapped_bias
from slimedge.compress.quantization import Quantize, quantize
from slimedge.compress.static import simplify
from slimedge.data import Data
from slimedge.errors import CheckError, InputError
from slimedge.fake_quant import FakeQuant, FakeQuantWeights
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.keras_file import (
    input_specs,
    input_structure,
    load_model,
    output_specs,
    output_structure,
    save_model,
)
from slimedge.lineage import lineage_of


def outputs_of(network: keras.Model, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    given = [inputs[spec.name] for spec in input_specs(network)]
    result = network(keras.tree.pack_sequence_as(input_structure(network), given), training=False)
    return [np.asarray(array) for array in keras.tree.flatten(result)]


def sqnr_db(exact: list[np.ndarray], other: list[np.ndarray]) -> float:
    noise = sum(float(np.sum((a - b) ** 2)) for a, b in zip(exact, other, strict=True))
    return float(10 * np.log10(sum(float(np.sum(a**2)) for a in exact) / max(noise, 1e-30)))


@pytest.fixture(scope="session", params=list(MODELS))
def pair(request: pytest.FixtureRequest) -> tuple[keras.Model, keras.Model]:
    return float_and_int8(request.param)


def test_a_rebuilt_graph_computes_what_the_model_computes(pair: tuple[keras.Model, keras.Model]) -> None:
    network, _ = pair
    inputs = examples(network, seed=2)
    again = to_model(from_model(network))
    for one, other in zip(outputs_of(network, inputs), outputs_of(again, inputs), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_simplifying_changes_nothing_but_the_order_of_sums(pair: tuple[keras.Model, keras.Model]) -> None:
    network, _ = pair
    inputs = examples(network, seed=2)
    simple = to_model(simplify(from_model(network))[0])
    assert not [layer for layer in simple.layers if layer.__class__.__name__ in {"Dropout", "Rescaling"}]
    for one, other in zip(outputs_of(network, inputs), outputs_of(simple, inputs), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_the_quantized_model_stays_close(pair: tuple[keras.Model, keras.Model]) -> None:
    network, quantized = pair
    inputs = examples(network, seed=2)
    assert sqnr_db(outputs_of(network, inputs), outputs_of(quantized, inputs)) > 20


def test_names_and_order_of_inputs_and_outputs_stay(pair: tuple[keras.Model, keras.Model]) -> None:
    network, quantized = pair
    assert [s.name for s in input_specs(quantized)] == [s.name for s in input_specs(network)]
    assert [s.name for s in output_specs(quantized)] == [s.name for s in output_specs(network)]


def test_every_activation_lies_on_its_grid(pair: tuple[keras.Model, keras.Model]) -> None:
    network, quantized = pair
    rounding = [layer for layer in quantized.layers if isinstance(layer, FakeQuant)]
    probe = keras.Model(quantized.inputs, [layer.output for layer in rounding])
    inputs = examples(network, seed=2)
    given = [inputs[spec.name] for spec in input_specs(network)]
    for layer, array in zip(rounding, probe(given), strict=True):
        scale, zero_point = layer.grid()
        levels = np.asarray(array, np.float64) / scale + zero_point
        np.testing.assert_allclose(levels, np.rint(levels), atol=2e-3)
        assert levels.min() > -0.01
        assert levels.max() < 255.01


def test_every_kernel_is_int8_with_a_scale_per_output_channel(pair: tuple[keras.Model, keras.Model]) -> None:
    _, quantized = pair
    wrapped = [layer for layer in quantized.layers if isinstance(layer, FakeQuantWeights)]
    assert wrapped
    for layer in wrapped:
        integers, scale = layer.integers()["kernel"]
        kernel = layer.layer.kernel.numpy()
        axes = OUTPUT_AXES[type(layer.layer).__name__]
        assert scale.shape == tuple(s if a in axes else 1 for a, s in enumerate(kernel.shape))
        assert integers.min() >= -127
        assert np.all(np.abs(integers * scale - kernel) <= scale * 0.5001)


def test_it_saves_loads_evaluates_and_trains(pair: tuple[keras.Model, keras.Model], tmp_path) -> None:
    network, quantized = pair
    inputs = examples(network, seed=2)
    before = outputs_of(quantized, inputs)
    save_model(quantized, tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    for one, other in zip(before, outputs_of(loaded, inputs), strict=True):
        np.testing.assert_array_equal(one, other)
    assert lineage_of(loaded)[-1].name == "quantize"
    loaded.compile("sgd", "mse", run_eagerly=True)
    given = keras.tree.pack_sequence_as(
        input_structure(loaded), [inputs[spec.name] for spec in input_specs(loaded)]
    )
    target = keras.tree.pack_sequence_as(output_structure(loaded), [np.zeros_like(array) for array in before])
    loss = loaded.evaluate(given, target, verbose=0, return_dict=True)["loss"]
    rounded = (layer for layer in loaded.layers if isinstance(layer, FakeQuantWeights))
    kernel = next(layer.layer.kernel for layer in rounded if layer.trainable_weights)
    old = kernel.numpy().copy()
    loaded.fit(given, target, epochs=1, verbose=0)
    assert np.isfinite(loss)
    assert not np.array_equal(old, kernel.numpy()), "the straight-through gradient did not reach the kernel"


def test_the_float_model_is_left_as_it_was(pair: tuple[keras.Model, keras.Model]) -> None:
    network, _ = pair
    assert not [layer for layer in network._flatten_layers() if isinstance(layer, FakeQuant)]
    assert lineage_of(network) == ()


def test_layers_that_are_not_understood_stay_float_and_say_why() -> None:
    network = MODELS["float_island"]()
    quantized = quantize(network, Data.load(examples(network)).bind(input_specs(network), checks="types"))
    reasons = lineage_of(quantized)[-1].settings["float_layers"]
    assert reasons["normed"].startswith("LayerNormalization has no int8 form")
    assert any("gelu" in reason for reason in reasons.values())
    assert len([layer for layer in quantized.layers if isinstance(layer, FakeQuantWeights)]) == 3


def test_pooling_reshaping_and_concatenation_share_one_scale() -> None:
    network = MODELS["unet"]()
    quantized = quantize(network, Data.load(examples(network)).bind(input_specs(network), checks="types"))
    grids = {layer.name: layer.grid() for layer in quantized.layers if isinstance(layer, FakeQuant)}
    joined = [grid for name, grid in grids.items() if name.startswith(("max_pooling", "concatenate"))]
    assert len(joined) == 2
    assert joined[0] == joined[1]
    assert grids["mask"] == (1 / 256, 0)


def test_a_relu_is_fused_and_its_input_has_no_grid_of_its_own() -> None:
    network = MODELS["conv_batchnorm_relu"]()
    quantized = quantize(network, Data.load(examples(network)).bind(input_specs(network), checks="types"))
    names = [layer.name for layer in quantized.layers if isinstance(layer, FakeQuant)]
    assert not [name for name in names if name.startswith("conv2d")]
    assert [name for name in names if name.startswith("re_lu")]


def test_an_excluded_layer_stays_float() -> None:
    network = MODELS["dense_chain"]()
    data = Data.load(examples(network)).bind(input_specs(network), checks="types")
    quantized = Quantize(exclude=("value",))(network, data)
    assert lineage_of(quantized)[-1].settings["float_layers"]["value"] == "it was excluded"
    assert len([layer for layer in quantized.layers if isinstance(layer, FakeQuantWeights)]) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"scheme": "static_wi8_ai7"}, "there is no scheme 'static_wi8_ai7'; did you mean 'static_wi8_ai8'"),
        ({"observer": "minimax"}, "there is no observer 'minimax'; did you mean 'minmax'"),
        ({"exclude": ["dense_99"]}, "there is no layer 'dense_99' to exclude"),
    ],
)
def test_a_wrong_setting_is_one_sentence(arguments: dict[str, object], sentence: str) -> None:
    network = MODELS["dense_chain"]()
    with pytest.raises(InputError, match=sentence):
        quantize(network, Data.load(examples(network)), **arguments)


def test_a_quantized_model_is_not_quantized_again() -> None:
    network = MODELS["dense_chain"]()
    data = Data.load(examples(network)).bind(input_specs(network), checks="types")
    with pytest.raises(InputError, match="is quantized already"):
        quantize(quantize(network, data), data)


def test_a_model_without_kernels_is_refused_with_the_reason() -> None:
    inputs = keras.Input((8,))
    network = keras.Model(inputs, keras.layers.LayerNormalization()(inputs))
    with pytest.raises(InputError, match="LayerNormalization has no int8 form"):
        quantize(network, bound(network), scheme="static_wi8_ai8")


def test_kernel_scales_are_the_largest_weight_over_127() -> None:
    kernel = np.array([[1.0, 0.0], [-2.54, 0.0]], np.float32)
    np.testing.assert_allclose(kernel_scale(kernel, (1,)), [[0.02, 0.02]], rtol=1e-6)


def test_a_snapped_bias_is_a_whole_number_of_accumulator_steps() -> None:
    bias = snapped_bias(np.array([0.1, -0.33], np.float32), 0.02, np.array([[0.5, 0.25]], np.float32))
    np.testing.assert_allclose(bias, [0.1, -0.33], atol=0.005)
    steps = bias / (0.02 * np.array([0.5, 0.25]))
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)


def test_lineage_tells_what_was_calibrated_on() -> None:
    network = MODELS["dense_chain"]()
    data = Data.load(examples(network)).bind(input_specs(network), checks="types")
    (step,) = lineage_of(quantize(network, data, observer="percentile"))
    assert isinstance(step, Step)
    assert step.settings["observer"] == "percentile"
    assert step.settings["calibration_examples"] == 32
    assert step.settings["calibration_data"] == data.fingerprint


def bound(network: keras.Model) -> Data:
    return Data.load(examples(network)).bind(input_specs(network), checks="types")


def test_every_example_is_calibrated_on_where_only_one_tensor_is_watched() -> None:
    inputs = keras.Input((4,))
    network = keras.Model(inputs, keras.layers.Dense(1, name="end")(inputs))
    seen = outputs_of(network, examples(network))[0]
    scale, zero_point = quantize(network, bound(network)).get_layer("end").grid()
    assert -zero_point * scale == pytest.approx(min(seen.min(), 0), abs=scale)
    assert (255 - zero_point) * scale == pytest.approx(max(seen.max(), 0), abs=scale)


class Hidden(keras.layers.Layer):
    """Computes with a number that its config does not tell."""

    factor = 1.0

    def call(self, inputs):
        return inputs * self.factor


def test_a_layer_that_a_copy_does_not_repeat_is_refused() -> None:
    inputs, hidden = keras.Input((4,)), Hidden()
    hidden.factor = 3.0
    network = keras.Model(inputs, keras.layers.Dense(2, name="end")(hidden(inputs)))
    with pytest.raises(CheckError, match=r"output 'end' .* changed when its graph was rewritten"):
        quantize(network, bound(network))


def test_infinite_activations_are_refused_at_their_layer() -> None:
    inputs = keras.Input((4,))
    x = keras.layers.Dense(4, kernel_initializer=keras.initializers.Constant(1e30))(inputs)
    x = keras.layers.Dense(4, kernel_initializer=keras.initializers.Constant(1e30), name="burst")(x)
    network = keras.Model(inputs, x)
    with pytest.raises(InputError, match=r"layer 'burst' .* gave NaN or infinity in calibration"):
        quantize(network, bound(network))


def test_excluding_a_nested_model_excludes_all_of_it() -> None:
    network = MODELS["nested_twice"]()
    reasons = lineage_of(quantize(network, bound(network), exclude=["inner"]))[-1].settings["float_layers"]
    assert list(reasons.values()) == ["it was excluded"] * 2
    with pytest.raises(InputError, match="no layer of model"):
        quantize(network, bound(network), exclude=["middle"], scheme="static_wi8_ai8")


def test_half_precision_is_quantized_in_single_precision() -> None:
    inputs = keras.Input((4,))
    network = keras.Model(inputs, keras.layers.Dense(2, dtype="mixed_float16")(inputs))
    quantized = quantize(network, bound(network))
    assert quantized.outputs[0].dtype == "float32"
    assert sqnr_db(outputs_of(network, examples(network)), outputs_of(quantized, examples(network))) > 30


def test_a_global_policy_does_not_reach_the_fake_quants() -> None:
    network = MODELS["dense_chain"]()
    expected = outputs_of(quantize(network, bound(network)), examples(network))[0]
    keras.config.set_dtype_policy("mixed_float16")
    try:
        quantized = quantize(network, bound(network))
        found = outputs_of(quantized, examples(network))[0]
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(found, expected)


def test_an_input_that_is_an_output_passes_unrounded() -> None:
    inputs = keras.Input((4,), name="x")
    network = keras.Model(inputs, [inputs, keras.layers.Dense(2, name="y")(inputs)])
    quantized = quantize(network, bound(network))
    given = examples(network)
    np.testing.assert_array_equal(outputs_of(quantized, given)[0], given["x"])
    assert [spec.name for spec in output_specs(quantized)] == ["x", "y"]


def test_an_open_size_is_taken_for_a_large_one() -> None:
    def batch_size(*size: int | None) -> int:
        inputs = keras.Input((*size, 64))
        graph = from_model(keras.Model(inputs, keras.layers.ReLU()(inputs)))
        return Watch(graph, graph.outputs).batch_size

    assert batch_size(None, None) == batch_size(256, 256) < batch_size(32, 32) == 64
