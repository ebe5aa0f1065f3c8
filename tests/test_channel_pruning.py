"""Channel pruning: what channels are worth, which go, and the smaller model."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
from channel_nets import NETS
from graph_checks import shaken
from keras import layers

from slimedge.compress.channel_pruning import PruneChannels, prune_channels
from slimedge.compress.channels.choosing import Choosing, Target
from slimedge.compress.channels.criteria import CRITERIA, Asked
from slimedge.compress.channels.groups import MACS_A_NUMBER, groups_of, parameters_of, work_of
from slimedge.compress.channels.removing import without
from slimedge.compress.channels.rules import RULES
from slimedge.compress.channels.tracing import trace
from slimedge.compress.quantization import quantize
from slimedge.compress.selecting import selected
from slimedge.data import Data
from slimedge.errors import InputError
from slimedge.graph_reading import from_model
from slimedge.keras_file import input_specs
from slimedge.lineage import lineage_of
from slimedge.macs import count, count_graph


def classifier(activation="relu"):
    x = inputs = keras.Input((8, 8, 3), name="picture")
    x = layers.Conv2D(16, 3, activation="relu", name="wide")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Conv2D(8, 3, activation=activation, name="deep")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return shaken(keras.Model(inputs, layers.Dense(3, activation="softmax", name="classes")(x)))


def pictures(count=96, *, labels=True):
    generator = np.random.default_rng(0)
    images = generator.normal(size=(count, 8, 8, 3)).astype(np.float32)
    classes = generator.integers(0, 3, count)
    return Data.load((images, classes) if labels else {"picture": images})


def asked(network, data, seed=0):
    graph = from_model(network)
    return Asked(network, graph, trace(graph, RULES), data.bind(input_specs(network), checks="types"), seed)


def group_made_by(given, name):
    return next(group for group in groups_of(given.graph, given.tracing) if name in group.layers)


def test_l1_counts_the_weights_that_make_and_take_a_channel_relative_to_their_layer():
    network = classifier()
    given = asked(network, pictures())
    scores = CRITERIA["l1"].score(given)[group_made_by(given, "wide").units]
    made = np.abs(np.asarray(network.get_layer("wide").kernel)).sum(axis=(0, 1, 2))
    taken = np.abs(np.asarray(network.get_layer("deep").kernel)).sum(axis=(0, 1, 3))
    np.testing.assert_allclose(scores, (made / made.mean() + taken / taken.mean()) / 2, rtol=1e-5)


def test_batchnorm_is_the_gain():
    network = classifier()
    given = asked(network, pictures())
    scores = CRITERIA["batchnorm"].score(given)
    np.testing.assert_allclose(
        scores[group_made_by(given, "wide").units], np.abs(network.get_layer("norm").gamma), rtol=1e-6
    )
    # What has no BatchNorm is not compared with what has one.
    assert np.isinf(scores[group_made_by(given, "deep").units]).all()


def test_taylor_is_the_squared_slope_of_the_loss_when_a_channel_fades():
    network = classifier("tanh")  # which has no kinks
    data = pictures(32)
    given = asked(network, data)
    scores = CRITERIA["taylor"].score(given)[group_made_by(given, "wide").units]
    (images,), classes = data.arrays()[0].values(), np.asarray(data.arrays()[1])
    kernel = np.asarray(network.get_layer("deep").kernel)

    def loss(channel, factor):
        changed = kernel.copy()
        changed[:, :, channel] *= factor
        network.get_layer("deep").kernel.assign(changed)
        chosen = np.asarray(network(images), np.float64)[np.arange(32), classes.ravel()]
        return -np.log(chosen).mean()

    slopes = [(loss(channel, 1.01) - loss(channel, 0.99)) / 0.02 for channel in range(16)]
    np.testing.assert_allclose(scores, np.square(slopes), rtol=0.05, atol=1e-7)


def test_hessian_is_the_curvature_of_the_distance_from_the_own_outputs():
    inputs = keras.Input((4,), name="picture")
    network = keras.Model(inputs, layers.Dense(2, name="out")(layers.Dense(6, name="hidden")(inputs)))
    shaken(network)
    values = np.random.default_rng(0).normal(size=(2048, 4)).astype(np.float32)
    given = asked(network, Data.load({"picture": values}))
    scores = CRITERIA["hessian"].score(given)[group_made_by(given, "hidden").units]
    # Removing channel i moves the outputs by h_i v_i, and the squared distance by the square of that.
    hidden = values @ np.asarray(network.get_layer("hidden").kernel) + np.asarray(
        network.get_layer("hidden").bias
    )
    moved = np.square(hidden).mean(0) * np.square(np.asarray(network.get_layer("out").kernel)).sum(1)
    np.testing.assert_allclose(scores / scores.sum(), moved / moved.sum(), rtol=0.5)
    assert np.argmin(scores) == np.argmin(moved)


def test_random_is_another_one_with_another_seed():
    network = classifier()
    one, same, other = (CRITERIA["random"].score(asked(network, pictures(), seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("kind", "ranking"), list(itertools.product(("macs", "parameters"), ("layer", "global")))
)
def test_a_target_is_met_by_removing_no_more_than_it_takes(kind, ranking):
    network = NETS["residual"]()
    graph = from_model(network)
    tracing = trace(graph, RULES)
    groups = groups_of(graph, tracing)
    scores = np.random.default_rng(3).random(tracing.units.count)
    choosing = Choosing(graph, tracing, groups, scores, in_loss=False, ranking=ranking)

    def size(graph):
        if kind == "macs":
            return count_graph(graph).total
        return sum(array.size for layer in graph.calls() for _, array in layer.weights)

    target = Target(kind, 0.6 * size(graph))
    removed = choosing.for_target(target)
    assert size(without(graph, tracing, removed)) <= target.value
    # Without the last channels of any group the target would not be met.
    best_left = [
        max((unit for unit in group.units if unit in removed), key=lambda u: scores[u], default=None)
        for group in groups
    ]
    kept = removed - {int(unit) for unit in best_left if unit is not None}
    assert size(without(graph, tracing, kept)) > target.value


def test_the_channels_that_go_are_those_that_are_worth_the_least():
    network = NETS["residual"]()
    graph = from_model(network)
    tracing = trace(graph, RULES)
    groups = groups_of(graph, tracing)
    scores = np.random.default_rng(5).random(tracing.units.count)
    removed = Choosing(graph, tracing, groups, scores, in_loss=False, ranking="layer").for_target(
        Target("ratio", 0.5)
    )
    for group in groups:
        gone = [unit for unit in group.units if unit in removed]
        left = [unit for unit in group.units if unit not in removed]
        assert len(gone) == len(left)
        assert scores[gone].max() < scores[left].min()


def test_channels_are_left_in_multiples():
    network = classifier()
    small = prune_channels(
        network, pictures(), ratio=0.4, ranking="layer", multiple=4, criterion="l2", epochs=0
    )
    assert [small.get_layer(name).filters for name in ("wide", "deep")] == [8, 4]


def test_a_loss_is_weighed_against_the_work_that_a_channel_makes():
    network = NETS["residual"]()
    graph = from_model(network)
    tracing = trace(graph, RULES)
    groups = groups_of(graph, tracing)
    even = np.ones(tracing.units.count)
    removed = Choosing(graph, tracing, groups, even, in_loss=True, ranking="global").for_target(
        Target("parameters", 0.9 * parameters_of(graph))
    )
    # One inside the block is in two convolutions with 6 others each; one of the sum in two with 4, and in one with 3.
    inside = next(group for group in groups if group.layers == ("inner",))
    assert removed
    assert removed <= {int(unit) for unit in inside.units}


def test_numbers_that_are_moved_count_as_work_beside_the_multiplications():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 1, name="wide")(x)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    network = keras.Model(inputs, layers.Conv2D(5, 1)(x))
    graph = from_model(network)
    tracing = trace(graph, RULES)
    (group,) = groups_of(graph, tracing)
    multiplied = 8 * 8 * (3 + 9 + 5)
    moved = 8 * 8 * (1 + 2 + 1)  # made once, taken and made by the depthwise convolution, taken by the last
    np.testing.assert_allclose(
        work_of(graph, tracing, "macs")[group.units], multiplied + MACS_A_NUMBER * moved
    )


def test_channels_whose_going_was_not_needed_stay():
    network = classifier()
    graph = from_model(network)
    tracing = trace(graph, RULES)
    groups = groups_of(graph, tracing)
    wide, deep = (next(group for group in groups if name in group.layers) for name in ("wide", "deep"))
    scores = np.zeros(tracing.units.count)
    scores[deep.units], scores[wide.units] = 1, 2
    # The deep ones, worth less, go first; then half of the wide ones, which would have done alone.
    removed = Choosing(
        graph, tracing, [wide, deep], scores, in_loss=False, ranking="global", multiple=4
    ).for_target(Target("macs", 0.51 * count_graph(graph).total))
    assert len(removed) == 8
    assert removed <= {int(unit) for unit in wide.units}


@pytest.mark.parametrize(("multiple", "left"), [(8, 8), (16, 8), (32, 8), (4, 4)])
def test_a_layer_too_small_for_a_multiple_keeps_the_half_of_it_that_fits(multiple, left):
    network = classifier()
    small = prune_channels(
        network,
        pictures(),
        ratio=0.49 if left == 8 else 0.7,
        ranking="layer",
        multiple=multiple,
        layers=["wide"],
        criterion="l2",
        epochs=0,
    )
    assert small.get_layer("wide").filters == left


@pytest.mark.parametrize(("had", "left"), [({}, 8), ({"wide": 16}, 8), ({"wide": 32}, 16)])
def test_a_layer_that_lost_channels_keeps_multiples_of_what_it_had(had, left):
    graph = from_model(classifier())
    tracing = trace(graph, RULES)
    wide = next(group for group in groups_of(graph, tracing) if "wide" in group.layers)
    scores = np.zeros(tracing.units.count)
    choosing = Choosing(
        graph, tracing, [wide], scores, in_loss=False, ranking="layer", multiple=16, sizes=had
    )
    assert len(wide.units) - len(choosing.all_that_can_go()) == left


@pytest.mark.parametrize("ranking", ["layer", "global"])
def test_each_branch_of_a_concatenation_keeps_its_best_channel(ranking):
    graph = from_model(NETS["added_to_branches"]())
    tracing = trace(graph, RULES)
    (group,) = groups_of(graph, tracing)
    scores = np.zeros(tracing.units.count)
    scores[group.units] = [5, 6, *range(11, 15), *range(101, 111)]  # as the branches lie beside each other
    choosing = Choosing(graph, tracing, [group], scores, in_loss=False, ranking=ranking)
    gone = choosing.for_target(Target("ratio", 0.5))
    small = {
        layer.name: layer.config["filters"]
        for layer in without(graph, tracing, gone).calls()
        if layer.weights
    }
    # Of the eight that go, four are all but the best ones of the two smaller branches.
    assert small == {"branch2": 1, "branch4": 1, "branch10": 6, "all": 8, graph.nodes[-1].source: 2}
    least = without(graph, tracing, choosing.all_that_can_go())
    counts = [layer.config["filters"] for layer in least.calls() if layer.name.startswith("branch")]
    assert counts == [1, 1, 1]


def test_pruning_gives_a_trained_smaller_model_with_its_lineage():
    network = classifier()
    before = [np.asarray(weight).copy() for weight in network.weights]
    small = prune_channels(network, pictures(), macs=0.5, steps=2, epochs=1, batch_size=32)
    assert all(np.array_equal(one, other) for one, other in zip(before, network.weights, strict=True))
    assert count(small).total <= 0.5 * count(network).total
    assert [layer.name for layer in small.layers] == [layer.name for layer in network.layers]
    (step,) = lineage_of(small)
    assert step.name == "prune_channels"
    assert len(step.settings["epoch_losses"]) == 2
    assert step.settings["macs"] == [count(network).total, count(small).total]
    assert step.settings["channels"]["wide"] == [16, small.get_layer("wide").filters]
    again = prune_channels(network, pictures(), macs=0.5, steps=2, epochs=1, batch_size=32)
    for one, other in zip(small.weights, again.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_pruned_model_is_quantized_like_any_other():
    network = classifier()
    small = PruneChannels(ratio=0.5, epochs=0, criterion="l1")(network, pictures())
    quantized = quantize(small, pictures(), scheme="static_wi8_ai8")
    assert (
        count(quantized).by_layer["wide"] == count(small).by_layer["wide"] < count(network).by_layer["wide"]
    )
    assert [step.name for step in lineage_of(quantized)] == ["prune_channels", "quantize"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "no target was given; give one of ratio, macs, parameters"),
        ({"ratio": 0.5, "macs": 0.5}, "ratio=0.5 and macs=0.5 was given; give one"),
        ({"macs": 1.5}, "macs=1.5 is not allowed; give a share between 0 and 1, of what is left"),
        ({"ratio": 0.0}, "ratio=0 is not allowed; give a share between 0 and 1, of the channels that go"),
        ({"macs": 0.0001}, r"\d+\.\d % of the macs of model '.*' are left .* 0\.0 % was asked for"),
        ({"ratio": 0.95}, r"% of the channels that can go of model '.*' are left .* 5\.0 % was asked for"),
        ({"ratio": 0.5, "criterion": "l3"}, "there is no criterion 'l3'"),
        ({"ratio": 0.5, "ranking": "best"}, "ranking='best' is not allowed; give layer or global"),
        ({"ratio": 0.5, "steps": 0}, "steps=0 is not allowed"),
        (
            {"ratio": 0.5, "layers": ["dense_*"]},
            "the pattern 'dense_\\*' fits no layer .* those are wide, deep",
        ),
        ({"ratio": 0.5, "exclude": ["*e*"]}, "every layer of model .* is excluded"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(settings, message):
    with pytest.raises(InputError, match=message):
        prune_channels(classifier(), pictures(), **settings)


def test_layers_of_a_sum_are_chosen_together_or_not_at_all():
    network = NETS["residual"]()
    data = Data.load(
        {input_specs(network)[0].name: np.random.default_rng(0).random((4, 8, 8, 3), np.float32)}
    )
    with pytest.raises(InputError, match="a sum ties them to those of other layers; choose these, too"):
        prune_channels(network, data, ratio=0.5, layers=["stem"], epochs=0, criterion="l1")


def test_taylor_asks_for_labels():
    with pytest.raises(InputError, match=r"taylor needs labels: .* hessian needs none"):
        prune_channels(classifier(), pictures(labels=False), ratio=0.5, criterion="taylor")


def test_a_quantized_model_is_refused():
    network = quantize(classifier(), pictures(), scheme="static_wi8_ai8")
    with pytest.raises(InputError, match="is quantized; prune the float model"):
        prune_channels(network, pictures(), ratio=0.5)


def test_patterns_choose_names():
    names = ["conv_1", "conv_2", "dense"]
    assert selected(names, (), ["conv_1"], model="net", what="can go") == {"conv_2", "dense"}
    assert selected(names, ["c*"], (), model="net", what="can go") == {"conv_1", "conv_2"}
