"""Training a quantized graph: it wins back what rounding lost, and stays a graph that the files equal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import keras
import numpy as np
import pytest
from keras import layers
from small_models import MODELS, examples, float_and_int8

from slimedge.compress.fitting.constraints import KeepZeros
from slimedge.compress.qat.rewriting import range_groups, with_weights
from slimedge.compress.quantization import quantize
from slimedge.compress.training import Train, train
from slimedge.data import Data
from slimedge.errors import CheckError, InputError
from slimedge.export.exporters import EXPORTERS, Settings
from slimedge.export.verify import fidelity, is_close, output_steps
from slimedge.export.worker import keras_outputs
from slimedge.fake_quant import FakeQuant, FakeQuantWeights
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.integers import integers_for, isa_here
from slimedge.keras_file import input_specs, load_model, save_model
from slimedge.lineage import lineage_of, with_lineage


def bound(network: keras.Model, count: int = 32, labels: object = None) -> Data:
    return Data.load(examples(network, count), labels=labels).bind(input_specs(network), checks="types")


def sqnr_db(network: keras.Model, other: keras.Model) -> float:
    """Of a model's outputs against the float one's, on examples that neither saw."""
    inputs = examples(network, count=64, seed=9)
    found = fidelity(keras_outputs(network, inputs), keras_outputs(other, inputs)).sqnr_db
    return np.inf if found is None else found


@cache
def trained(name: str) -> keras.Model:
    """Give a small model after a few large steps, which move every range and weight; leave it as it is."""
    network, quantized = float_and_int8(name)
    return train(quantized, bound(network), teacher=network, batch_size=8, learning_rate=3e-3)


SHARING = ("unet", "requantized_concat")
UNLIKE = ("float_island", "shared_tower", "preactivation", "arithmetic", "nested_by_name")


@pytest.mark.parametrize("name", [*SHARING, "preactivation", "shared_tower"])
def test_both_files_equal_the_trained_graph(name: str) -> None:
    network = trained(name)
    inputs = examples(network, count=16, seed=2)
    for make in (EXPORTERS[exporter] for exporter in EXPORTERS):
        _, trial = make(
            network, Settings(io="float32", batch=1, integers=integers_for(isa_here()), metadata={})
        )
        found = fidelity(keras_outputs(network, inputs), trial.run(inputs), output_steps(network))
        assert is_close(found, quantized=True)


@pytest.mark.parametrize("name", SHARING)
def test_tensors_that_shared_a_range_share_one_that_training_moved(name: str) -> None:
    _, before = float_and_int8(name)
    old, new = range_groups(from_model(before)), range_groups(from_model(trained(name)))
    shared = 0
    for one, other in zip(old, new, strict=True):
        assert [node.name for node in one] == [node.name for node in other]
        (was,) = {(node.layer.config["low"], node.layer.config["high"]) for node in one}
        (now,) = {(node.layer.config["low"], node.layer.config["high"]) for node in other}
        shared += len(one) > 1 and was != now
    assert shared


@pytest.mark.parametrize("name", [*SHARING, *UNLIKE])
def test_every_range_holds_zero_and_those_of_inputs_and_formulas_stay(name: str) -> None:
    network, before = float_and_int8(name)
    old = {layer.name: layer for layer in before.layers if isinstance(layer, FakeQuant)}
    inputs = {f"{spec.name}_fq" for spec in input_specs(network)}
    for layer in trained(name).layers:
        if not isinstance(layer, FakeQuant):
            continue
        scale, zero_point = layer.grid()
        low, high = float(layer.low.numpy()), float(layer.high.numpy())
        assert low <= 0 <= high
        assert low == pytest.approx(-zero_point * scale, abs=1e-5 * scale)
        assert high == pytest.approx((255 - zero_point) * scale, rel=1e-5, abs=1e-5 * scale)
        if layer.name in inputs or old[layer.name].grid() in {(1 / 256, 0), (1 / 128, 128)}:
            assert layer.grid() == old[layer.name].grid()


@pytest.mark.parametrize("name", [*SHARING, *UNLIKE])
def test_a_trained_bias_is_a_whole_number_of_accumulator_steps(name: str) -> None:
    graph = from_model(trained(name))
    producers, checked = graph.producers(), 0
    for node in graph.nodes:
        if node.layer.type is not FakeQuantWeights or graph.calls()[node.layer] > 1:
            continue
        given = producers[node.inputs[0]].layer.config
        unit = (given["high"] - given["low"]) / 255 * node.layer.weight("kernel_scale").ravel()
        steps = node.layer.weight("bias") / unit
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3, rtol=1e-6)
        checked += 1
    assert checked


def test_training_wins_back_what_four_bits_lost() -> None:
    network = MODELS["dense_chain"]()
    coarse = train(network, bound(network, 64), weight_bits=4, learning_rate=1e-12)
    better = train(
        network,
        bound(network, 256),
        weight_bits=4,
        gradients="lsq",
        epochs=30,
        batch_size=32,
        learning_rate=3e-3,
    )
    assert {layer.bits for layer in better.layers if isinstance(layer, FakeQuantWeights)} == {4}
    assert sqnr_db(network, better) > sqnr_db(network, coarse) + 4


@pytest.mark.parametrize("ranges", ["learned", "moving_average"])
def test_training_mends_ranges_that_calibration_got_wrong(ranges: str) -> None:
    network, quantized = float_and_int8("dense_chain")
    graph = from_model(quantized)
    wide = {
        node.layer: [np.float32(40) * array for _, array in node.layer.weights]
        for node in graph.nodes
        if node.layer.type is FakeQuant
    }
    poor = with_lineage(to_model(with_weights(graph, wide)), lineage_of(quantized))
    mended = train(
        poor,
        bound(network, 256),
        teacher=network,
        ranges=ranges,
        epochs=20,
        batch_size=16,
        freeze_after=0.8,
        learning_rate=1e-2,
    )
    assert sqnr_db(network, mended) > sqnr_db(network, poor) + 3


def test_the_same_seed_gives_the_same_model_and_another_one_does_not() -> None:
    network, quantized = float_and_int8("dense_chain")

    def weights(seed: int) -> list[np.ndarray]:
        return train(quantized, bound(network), teacher=network, batch_size=8, seed=seed).get_weights()

    first = weights(3)
    for one, again in zip(first, weights(3), strict=True):
        np.testing.assert_array_equal(one, again)
    assert any(not np.array_equal(one, other) for one, other in zip(first, weights(4), strict=True))


def convolution_with_norm() -> keras.Model:
    return MODELS["conv_batchnorm_relu"]()


def test_a_batchnorm_that_trained_is_folded_into_the_kernel_that_was_rounded() -> None:
    network = convolution_with_norm()
    found = train(
        network, bound(network), batchnorm="trained", freeze_after=1.0, batch_size=8, learning_rate=1e-2
    )
    folded = train(
        network, bound(network), batchnorm="folded", freeze_after=1.0, batch_size=8, learning_rate=1e-2
    )
    assert not [layer for layer in found.layers if isinstance(layer, layers.BatchNormalization)]
    assert [layer.name for layer in found.layers] == [layer.name for layer in folded.layers]
    assert sqnr_db(network, found) > 20


@pytest.mark.parametrize(("freeze_after", "moves"), [(0.0, False), (1.0, True)])
def test_a_batchnorm_that_could_not_be_folded_trains_until_it_is_frozen(
    freeze_after: float, moves: bool
) -> None:
    inputs = keras.Input((6,), name="x")
    x = layers.BatchNormalization(name="norm")(layers.Dense(8, activation="gelu")(inputs))
    network = keras.Model(inputs, layers.Dense(2, name="end")(layers.Activation("elu")(x)))
    found = train(network, bound(network), batch_size=8, freeze_after=freeze_after)
    before, after = network.get_layer("norm"), found.get_layer("norm")
    assert np.array_equal(before.moving_mean.numpy(), after.moving_mean.numpy()) == (not moves)
    assert not np.array_equal(before.gamma.numpy(), after.gamma.numpy())


def test_frozen_layers_keep_their_weights() -> None:
    network = MODELS["dense_chain"]()
    frozen = network.layers[0]
    frozen.trainable = False
    quantized = quantize(network, bound(network), scheme="static_wi8_ai8")
    found = train(quantized, bound(network), teacher=network, batch_size=8, learning_rate=1e-2)
    for layer in (layer for layer in found.layers if isinstance(layer, FakeQuantWeights)):
        before = quantized.get_layer(layer.name).layer.kernel.numpy()
        assert np.array_equal(before, layer.layer.kernel.numpy()) == (layer.name == frozen.name)


def with_zeros() -> keras.Model:
    network = MODELS["dense_chain"]()
    for layer in network.layers:
        if isinstance(layer, layers.Dense):
            kernel = layer.kernel.numpy()
            kernel[np.abs(kernel) < np.median(np.abs(kernel))] = 0
            layer.kernel.assign(kernel)
    return network


def test_zeros_stay_where_they_are_asked_to() -> None:
    network = with_zeros()
    kept = train(network, bound(network), keep_zeros=True, batch_size=8)
    lost = train(network, bound(network), batch_size=8)
    for layer in (layer for layer in network.layers if isinstance(layer, layers.Dense)):
        zeros = layer.kernel.numpy() == 0
        assert zeros.any()
        assert not kept.get_layer(layer_like(kept, layer)).integers()["kernel"][0][zeros].any()
        assert lost.get_layer(layer_like(lost, layer)).layer.kernel.numpy()[zeros].any()


def layer_like(network: keras.Model, layer: keras.layers.Layer) -> str:
    """Give the name of the layer that rounds the weights of `layer`."""
    return next(
        other.name
        for other in network.layers
        if isinstance(other, FakeQuantWeights) and other.layer.name.startswith(layer.name)
    )


@dataclass(frozen=True)
class KeepsNothing(KeepZeros):
    def projection(self, start):
        del start


def test_a_constraint_that_does_not_hold_at_the_end_is_an_error() -> None:
    network = with_zeros()
    with pytest.raises(
        CheckError, match=r"training changed what it had to keep: of weight '.*kernel' .* zeros are"
    ):
        train(network, bound(network), constraints=[KeepsNothing()], batch_size=8)


def test_labels_are_learned_that_the_float_model_never_saw() -> None:
    generator = np.random.default_rng(3)
    x = generator.normal(0, 1, (256, 6)).astype(np.float32)
    truth = (x @ generator.normal(0, 1, (6, 3))).argmax(axis=1)
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6,), name="x")
    hidden = layers.Dense(12, activation="relu")(inputs)
    network = keras.Model(inputs, layers.Dense(3, activation="softmax", name="y")(hidden))
    found = train(network, Data.load((x, truth)), loss="labels", epochs=10, batch_size=32, learning_rate=2e-2)

    def right(model: keras.Model) -> float:
        return float(np.mean(np.asarray(model(x)).argmax(axis=1) == truth))

    assert right(network) < 0.6
    assert right(found) > 0.85
    losses = lineage_of(found)[-1].settings["epoch_losses"]
    assert losses[-1] < 0.5 * losses[0]


def test_targets_and_losses_of_your_own_train_too() -> None:
    network = MODELS["dense_chain"]()
    targets = np.full((32, 1), 3.0, np.float32)
    data = bound(network, 32, targets)
    for loss in ("labels", keras.losses.MeanAbsoluteError()):
        found = train(network, data, loss=loss, epochs=5, batch_size=8, learning_rate=1e-2)
        losses = lineage_of(found)[-1].settings["epoch_losses"]
        assert losses[-1] < losses[0]


def test_a_trained_model_saves_loads_and_tells_how_it_came_to_be(tmp_path) -> None:
    network = trained("shared_tower")
    save_model(network, tmp_path / "trained.keras")
    loaded = load_model(tmp_path / "trained.keras")
    inputs = examples(network, seed=2)
    for one, other in zip(
        keras_outputs(network, inputs).values(), keras_outputs(loaded, inputs).values(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    quantized, told = lineage_of(loaded)
    assert (quantized.name, told.name) == ("quantize", "train")
    assert quantized.settings["layer_sqnr_db"] == {}
    assert told.settings["loss"] == "distillation"
    assert told.settings["training_examples"] == 32


def test_the_stage_does_what_the_function_does_and_leaves_its_model() -> None:
    network = MODELS["dense_chain"]()
    before = network.get_weights()
    one = Train(batch_size=8, seed=5)(network, bound(network))
    other = train(network, bound(network), batch_size=8, seed=5)
    for first, second in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)
    for first, second in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_progress_tells_epoch_and_loss_and_an_interruption_passes_through() -> None:
    network, quantized = float_and_int8("dense_chain")
    told: list[tuple[str, float | None]] = []
    train(
        quantized,
        bound(network),
        teacher=network,
        batch_size=16,
        epochs=2,
        progress=lambda doing, share=None: told.append((doing, share)),
    )
    assert [share for _, share in told] == [0.25, 0.5, 0.75, 1.0]
    assert told[-1][0].startswith("training, epoch 2 of 2, loss 0.")

    def interrupted(doing: str, share: float | None = None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(quantized, bound(network), teacher=network, progress=interrupted)


def test_a_loss_that_is_not_finite_is_one_sentence() -> None:
    network = MODELS["dense_chain"]()
    data = bound(network, 32, np.full((32, 1), 1e30, np.float32))
    with pytest.raises(
        CheckError, match=r"the loss became inf in step 1 of 1, so nothing was kept; train with a"
    ):
        train(network, data, loss="labels")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"ranges": "learnt"}, "ranges='learnt' is not allowed; give 'learned' or 'moving_average'"),
        ({"gradients": "pact"}, "gradients='pact' is not allowed; give 'straight_through' or 'lsq'"),
        ({"batchnorm": "kept"}, "batchnorm='kept' is not allowed; give 'folded' or 'trained'"),
        ({"epochs": 0}, "epochs=0 is not allowed; give a whole number, 1 or more"),
        ({"batch_size": 2.5}, "batch_size=2.5 is not allowed"),
        ({"learning_rate": float("nan")}, "learning_rate=nan is not allowed; give a number above 0"),
        ({"freeze_after": 2}, "freeze_after=2 is not allowed; give a share of the steps in 0…1"),
        ({"weight_bits": 9}, "weight_bits=9 is not allowed; give 2 to 8"),
        ({"seed": -1}, "seed=-1 is not allowed"),
        ({"loss": "mse"}, "loss='mse' is not allowed; give 'labels'"),
        ({"engine": "kera"}, "there is no engine 'kera'; did you mean 'keras'"),
        ({"loss": "labels"}, "the data has no labels for a float output of the model"),
    ],
)
def test_a_wrong_setting_is_one_sentence(arguments: dict[str, object], sentence: str) -> None:
    network = MODELS["dense_chain"]()
    with pytest.raises(InputError, match=sentence):
        train(network, bound(network), **arguments)


def test_a_quantized_model_needs_labels_or_its_float_model() -> None:
    network, quantized = float_and_int8("dense_chain")
    with pytest.raises(InputError, match="give that as teacher=, or train on labels with loss='labels'"):
        train(quantized, bound(network))
    with pytest.raises(InputError, match="batchnorm='trained' needs the float model"):
        train(quantized, bound(network, 32, np.zeros((32, 1))), loss="labels", batchnorm="trained")
    with pytest.raises(InputError, match=r"the inputs of the teacher are .*give the float model that it was"):
        train(quantized, bound(network), teacher=MODELS["sequence"]())


def test_weight_only_models_have_nothing_that_trains() -> None:
    network = MODELS["dense_chain"]()
    quantized = quantize(network, bound(network), scheme="weight_only_wi8_afp32")
    with pytest.raises(InputError, match=r"no layer that is rounded as it runs.*static_wi8_ai8"):
        train(quantized, bound(network), teacher=network)


def test_where_all_layers_are_frozen_only_learned_ranges_train() -> None:
    network = MODELS["dense_chain"]()
    network.trainable = False
    found = train(network, bound(network), batch_size=8)
    assert lineage_of(found)[-1].settings["ranges"] == "learned"
    with pytest.raises(InputError, match=r"no layer of model .* is trainable"):
        train(network, bound(network), ranges="moving_average")
