"""Models split by low rank: how far, by what the data show, and files of every format."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from graph_checks import shaken
from keras import layers
from low_rank_nets import (
    assert_equal,
    full,
    one_layer,
)
from small_models import MODELS, examples

from slimedge.compress.factorization import Factorize, factorize
from slimedge.compress.low_rank.options import Option, allowed_ranks
from slimedge.compress.low_rank.ranks import by_energy, by_loss
from slimedge.compress.low_rank.splitting import split
from slimedge.compress.low_rank.subjects import subjects_of
from slimedge.compress.low_rank.ways import WAYS
from slimedge.compress.norm_statistics import with_measured_norms
from slimedge.compress.quantization import quantize
from slimedge.data import Data
from slimedge.errors import InputError
from slimedge.export.exporters import EXPORTERS, Settings
from slimedge.export.verify import fidelity, is_close, output_steps
from slimedge.export.worker import keras_outputs
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.integers import integers_for, isa_here
from slimedge.keras_file import input_specs, load_model, save_model
from slimedge.lineage import lineage_of
from slimedge.macs import count


def test_energy_gives_the_smallest_rank_that_keeps_it():
    network = one_layer(layers.Dense(24, name="split"), (20,))
    squares = np.square(np.linalg.svd(network.get_layer("split").kernel.numpy(), compute_uv=False))
    shares = np.cumsum(squares) / squares.sum()
    for energy in (0.3, 0.6, 0.8):
        told = lineage_of(factorize(network, energy=energy))[-1].settings["layers"]["split"]
        assert told["ranks"] == [1 + int(np.argmax(shares >= energy))]
        assert told["kept_energy"] == pytest.approx(shares[told["ranks"][0] - 1], rel=1e-5)


def test_the_cheapest_pair_of_ranks_that_keeps_the_energy_is_taken():
    network = one_layer(layers.Conv2D(8, 3, padding="same", name="split"), (6, 6, 8))
    table = WAYS["tucker2"].table(subjects_of(from_model(network))["split"], 1)
    told = lineage_of(factorize(network, energy=0.7, ways=["tucker2"]))[-1].settings["layers"]["split"]
    assert told["macs_after"] == min(table.macs[table.kept >= 0.7])


def test_ranks_are_multiples_or_full():
    assert allowed_ranks(16, 8).tolist() == [8, 16]
    network = one_layer(layers.Conv2D(24, 3, name="split"), (6, 6, 20))
    told = lineage_of(factorize(network, energy=0.3, multiple=8))[-1].settings["layers"]["split"]
    assert all(rank % 8 == 0 for rank in told["ranks"])


@pytest.mark.parametrize("share", [0.8, 0.5, 0.3])
@pytest.mark.parametrize("what", ["macs", "parameters"])
def test_a_budget_is_reached_and_used(what, share):
    network = MODELS["fused_activations"]()
    step = lineage_of(factorize(network, **{what: share}))[-1].settings
    assert 0.9 * share < step[f"{what}_after"] / step[f"{what}_before"] <= share
    assert step["macs_after"] < step["macs_before"] == count(network).total


def option(macs, kept):
    return Option("svd", (1,), macs, macs, kept)


def test_a_budget_is_taken_where_it_costs_least():
    flat = [option(10, 0.9), option(50, 0.95), option(100, 1.0)]
    steep = [option(10, 0.1), option(50, 0.5), option(100, 1.0)]
    chosen = by_loss({"flat": flat, "steep": steep}, "macs", 115)
    assert {key: one.macs for key, one in chosen.items()} == {"flat": 10, "steep": 100}
    assert by_loss({"flat": flat, "steep": steep}, "macs", 19) is None


def test_what_is_left_of_a_budget_is_used():
    few = [option(10, 0.9), option(60, 0.91), option(100, 1.0)]  # 60 is above the hull
    assert by_loss({"few": few}, "macs", 70)["few"].macs == 60
    assert by_energy({"few": few}, 0.905)["few"].macs == 60


EXACT = integers_for(isa_here())


@pytest.mark.parametrize(
    "name", ["conv_batchnorm_relu", "fused_activations", "sequence", "dense_chain", "float_island"]
)
def test_a_split_model_is_exported_and_quantized(name):
    network = factorize(MODELS[name](), energy=0.6)
    assert lineage_of(network)[-1].settings["layers"]
    inputs = examples(network, count=8, seed=2)
    data = Data.load(examples(network)).bind(input_specs(network), checks="types")
    quantized = quantize(network, data, scheme="static_wi8_ai8")
    settings = Settings(io="float32", batch=1, integers=EXACT, metadata={"lineage": []})
    for exporter in EXPORTERS:
        for made, steps in ((network, None), (quantized, output_steps(quantized))):
            _, trial = EXPORTERS[exporter](made, settings)
            measured = fidelity(keras_outputs(made, inputs), trial.run(inputs), steps or {})
            assert is_close(measured, quantized=steps is not None)


def test_a_split_model_is_saved_with_its_lineage(tmp_path):
    network = Factorize(energy=0.6)(MODELS["dense_chain"](), None)
    save_model(network, tmp_path / "split.keras")
    again = load_model(tmp_path / "split.keras")
    assert_equal(network, again)
    (step,) = lineage_of(again)
    assert step.name == "factorize"
    assert step.settings["energy"] == 0.6
    assert step.settings["left"] == {"value": "no rank saves multiply-accumulates"}


def test_grouped_depthwise_and_batched_products_stay():
    x = inputs = keras.Input((6, 8))
    x = layers.Conv1D(8, 3, groups=2, padding="same", name="grouped")(x)
    x = layers.DepthwiseConv1D(3, padding="same", name="depthwise")(x)
    x = layers.EinsumDense("abc,bcd->abd", (6, 8), name="each")(x)
    network = keras.Model(inputs, layers.Dense(8, name="dense")(x))
    made = factorize(network, energy=0.5)
    step = lineage_of(made)[-1].settings
    assert list(step["layers"]) == ["dense"]
    assert step["left"] == {
        "grouped": "it is grouped",
        "each": "its equation is more than a matrix product",
    }


def test_patterns_say_which_layers_are_split():
    x = inputs = keras.Input((16,))
    for name in ("a_one", "a_two", "b_one"):
        x = layers.Dense(16, name=name)(x)
    network = keras.Model(inputs, x)

    def names(**settings):
        return list(lineage_of(factorize(network, energy=0.5, **settings))[-1].settings["layers"])

    assert names() == ["a_one", "a_two", "b_one"]
    assert names(layers=["a_*"]) == ["a_one", "a_two"]
    assert names(exclude=["*_one"]) == ["a_two"]
    assert names(layers=["a_*"], exclude=["a_two"]) == ["a_one"]


def correlated(count, width, seed=5):
    """Rows whose strength lies in few directions."""
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(width, width)) * np.logspace(0, -2, width)[:, None]
    return (generator.normal(size=(count, width)) @ mixing).astype(np.float32)


def bound(network, rows):
    return Data.load({"given": rows}).bind(input_specs(network), checks="types")


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: layers.Dense(16, use_bias=False, name="split"), (16,)),
        (lambda: layers.EinsumDense("abcd,dce->abe", (None, 16), name="split"), (3, 4, 4)),
    ],
)
def test_data_make_the_error_of_the_outputs_the_least_that_a_rank_allows(layer, shape):
    network = one_layer(layer(), shape)
    rows = correlated(400 * int(np.prod(shape)) // 16, 16).reshape(400, *shape)
    made = factorize(network, bound(network, rows), energy=0.8)
    rank = lineage_of(made)[-1].settings["layers"]["split"]["ranks"][0]

    exact, got = (np.asarray(one(rows), np.float64).reshape(-1, 16) for one in (network, made))
    # The best product of that rank for these inputs is made of the outputs' own singular vectors.
    values = np.linalg.svd(exact, compute_uv=False)
    least = np.square(values[rank:]).sum()
    assert least <= np.square(exact - got).sum() <= 1.1 * least + 1e-6 * np.square(values).sum()
    alone = factorize(network, energy=0.8)
    assert lineage_of(alone)[-1].settings["layers"]["split"]["ranks"][0] > rank


def test_channels_that_a_batchnorm_makes_strong_count_more():
    inputs = keras.Input((8,), name="given")
    x = layers.Dense(12, use_bias=False, name="split")(inputs)
    network = shaken(keras.Model(inputs, layers.BatchNormalization(scale=True, name="norm")(x)))
    gain = np.where(np.arange(12) < 3, 30.0, 0.03)
    network.get_layer("norm").gamma.assign(gain)
    rows = np.random.default_rng(0).normal(size=(512, 8)).astype(np.float32)
    network = with_measured_norms(network, bound(network, rows))
    made = factorize(network, bound(network, rows), energy=0.999)
    assert lineage_of(made)[-1].settings["layers"]["split"]["ranks"] == [3]
    exact, got = np.asarray(network(rows)), np.asarray(made(rows))
    assert 1 - np.square(exact - got)[:, :3].mean() / np.var(exact[:, :3]) > 0.99


def test_batchnorm_is_measured_again():
    inputs = keras.Input((16,), name="given")
    x = layers.Dense(16, name="split")(inputs)
    network = shaken(keras.Model(inputs, layers.BatchNormalization(name="norm")(x)))
    rows = correlated(600, 16)
    made = factorize(network, bound(network, rows), energy=0.8)
    before = keras.Model(made.inputs, made.get_layer("split").output)(rows)
    norm = made.get_layer("norm")
    np.testing.assert_allclose(norm.moving_mean, np.mean(before, axis=0), atol=1e-3)
    np.testing.assert_allclose(norm.moving_variance, np.var(before, axis=0), rtol=1e-2)


@pytest.mark.parametrize(
    "name", ["conv_batchnorm_relu", "sequence", "shared_tower", "two_inputs_two_outputs"]
)
def test_data_change_no_function_at_full_rank(name):
    network = MODELS[name]()
    graph = from_model(network)
    data = Data.load(examples(network)).bind(input_specs(network), checks="types")
    subjects = subjects_of(graph, None, data)
    assert any(subject.weighting.root is not None for subject in subjects.values())
    for way in WAYS:
        tables = {key: WAYS[way].table(subject, 1) for key, subject in subjects.items()}
        chosen = {key: table.option(full(table)) for key, table in tables.items() if table is not None}
        assert_equal(network, to_model(split(graph, subjects, chosen)))


def test_training_brings_the_outputs_closer():
    network = one_layer(layers.Dense(16, activation="tanh", name="split"), (16,))
    rows = correlated(640, 16)
    data = bound(network, rows)
    plain, trained = (
        factorize(network, data, energy=0.8, epochs=epochs, batch_size=32, learning_rate=5e-3)
        for epochs in (0, 3)
    )
    errors = [float(np.square(np.asarray(one(rows)) - network(rows)).mean()) for one in (plain, trained)]
    assert errors[1] < errors[0]
    step = lineage_of(trained)[-1].settings
    assert (step["epochs"], step["loss"], step["examples"]) == (3, "distillation", 640)
    assert len(step["epoch_losses"]) == 3
    assert step["macs_after"] == count(trained).total


def test_the_name_of_a_nested_model_stands_for_its_layers():
    inner = keras.Sequential([keras.Input((16,)), layers.Dense(16, name="deep")], name="inner")
    inputs = keras.Input((16,))
    network = keras.Model(inputs, layers.Dense(16, name="end")(inner(inputs)))
    assert list(lineage_of(factorize(network, energy=0.5, layers=["inner"]))[-1].settings["layers"]) == [
        "deep"
    ]


def two_layers():
    x = inputs = keras.Input((16,), name="x")
    x = layers.Dense(16, name="one")(x)
    return keras.Model(inputs, layers.Dense(1, name="two")(x), name="net")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "exactly one says how far to factorize, and given was none"),
        ({"energy": 0.9, "macs": 0.5}, "given was energy 0.9 and macs 0.5"),
        ({"macs": 1.5}, "macs is 1.5; it is a share between 0 and 1"),
        ({"energy": 0.0}, "energy is 0; it is a share"),
        ({"energy": 0.9, "ways": ["cp"]}, "cannot be split by 'cp'; the ways are svd, tucker2, spatial_svd"),
        ({"energy": 0.9, "multiple": 0}, "multiples of 0"),
        ({"energy": 0.9, "epochs": 2}, "2 epochs of training need data"),
        ({"energy": 0.9, "epochs": -1}, "epochs=-1 is not allowed"),
        (
            {"energy": 0.9, "layers": ["conv*"]},
            "'conv\\*' fits no layer of model 'net' .* those are one, two",
        ),
        ({"energy": 0.9, "exclude": ["*"]}, "every layer of model 'net' that low rank can split is excluded"),
        ({"energy": 0.9, "layers": ["two"]}, "no layer of model 'net' has ranks that save"),
        ({"energy": 0.9999}, "no layer of model 'net' has ranks that keep 0.9999"),
        ({"macs": 0.1}, "cannot bring model 'net' to 0.1 of its macs; the smallest ranks reach 0.1765"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(settings, message):
    with pytest.raises(InputError, match=message):
        factorize(two_layers(), **settings)


def test_the_reachable_energy_and_budget_that_are_named_are_reachable():
    network = two_layers()
    with pytest.raises(InputError, match="give an energy of") as refused:
        factorize(network, energy=0.9999)
    named = float(str(refused.value).split("energy of ")[1].split(" ")[0])
    assert lineage_of(factorize(network, energy=named))[-1].settings["layers"]
    assert lineage_of(factorize(network, macs=0.1765))[-1].settings["macs_after"] == 48


def test_a_quantized_model_and_one_with_nothing_to_split_are_refused():
    network = MODELS["dense_chain"]()
    data = Data.load(examples(network)).bind(input_specs(network), checks="types")
    with pytest.raises(InputError, match="quantized already; factorize the float model"):
        factorize(quantize(network, data, scheme="static_wi8_ai8"), energy=0.5)
    inputs = keras.Input((6, 4))
    grouped = keras.Model(inputs, layers.Conv1D(4, 3, groups=2, name="pairs")(inputs), name="net")
    with pytest.raises(InputError, match=r"net' has no layer that low rank can split.*pairs: it is grouped"):
        factorize(grouped, energy=0.5)


def test_products_that_cannot_be_counted_have_no_budget():
    inputs = keras.Input((None, None, 8), name="x")
    network = keras.Model(inputs, layers.Conv2D(8, 3, name="split")(inputs), name="net")
    with pytest.raises(InputError, match=r"'net' cannot be counted .*'split'.* give energy or par"):
        factorize(network, macs=0.5)
    step = lineage_of(factorize(network, parameters=0.5))[-1].settings
    assert step["parameters_after"] <= 0.5 * step["parameters_before"]
    assert step["macs_after"] is None
