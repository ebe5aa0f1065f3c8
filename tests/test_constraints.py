"""What training keeps of earlier stages: where zeros and shared values are, and that they come back."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from slimedge.artifact import Step
from slimedge.compress.clusters.groups import grouped
from slimedge.compress.fitting.constraints import (
    ConstraintKeeper,
    KeepClusters,
    KeepZeros,
    keeper_of,
    kept_by_default,
)
from slimedge.errors import CheckError

GENERATOR = np.random.default_rng(0)


def clustered(shape, most=4, axes=()):
    """A weight of few values, over all of it or for each place along axes; 0 is one of them."""
    weight = GENERATOR.normal(0, 1, shape).astype(np.float32)
    weight[GENERATOR.random(shape) < 0.2] = 0
    return grouped(weight, most, axes=[axis % len(shape) for axis in axes]).weight()


def parts(weight, axes):
    moved = np.moveaxis(weight, axes, range(len(axes)))
    return moved.reshape(int(np.prod(moved.shape[: len(axes)])), -1)


def moved(weight):
    return weight + GENERATOR.normal(0, 0.1, weight.shape).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((40, 30), ()),
        ((3, 3, 8, 6), ()),
        ((40, 30), (-1,)),
        ((3, 3, 8, 6), (-1,)),
        ((5, 5, 12, 1), (-2,)),  # a depthwise kernel
        ((5, 5, 6, 2), (-2, -1)),  # with two filters a channel
        ((3, 3, 6, 8), (-2,)),  # a transposed convolution
        ((20, 3, 4), (-2, -1)),  # a projection to heads
        ((3, 4, 20), (-1,)),  # and from them
    ],
)
def test_a_projection_gives_each_cluster_the_mean_of_its_weights_and_leaves_zeros(shape, axes):
    weight = clustered(shape, axes=axes)
    after = moved(weight)

    found = np.asarray(KeepClusters(4, by_channel=bool(axes)).projection(weight)(after))

    for start, went, made in zip(*(parts(each, axes) for each in (weight, after, found)), strict=True):
        for value in np.unique(start):
            expected = 0 if value == 0 else went[start == value].mean()
            np.testing.assert_allclose(made[start == value], expected, atol=1e-5)
            assert len(np.unique(made[start == value])) == 1
    assert KeepClusters(4, by_channel=bool(axes)).broken(weight, found) is None
    assert "values and had" in KeepClusters(4, by_channel=bool(axes)).broken(weight, after)


def test_many_equal_weights_keep_their_value_exactly():
    weight = np.full((1000, 1000), 0.1, np.float32)
    weight[0, 0] = 0.5

    assert np.array_equal(KeepClusters(2).projection(weight)(weight), weight)


def test_a_weight_of_more_values_is_none_of_clusters():
    weight = GENERATOR.normal(0, 1, (40, 30)).astype(np.float32)

    for by_channel in (False, True):
        assert KeepClusters(16, by_channel=by_channel).projection(weight) is None
        assert KeepClusters(16, by_channel=by_channel).broken(weight, moved(weight)) is None


def test_values_of_channels_are_none_of_the_whole_weight():
    weight = clustered((40, 30), axes=(-1,))

    assert len(np.unique(weight)) > 4
    assert KeepClusters(4).projection(weight) is None
    assert KeepClusters(4, by_channel=True).projection(weight) is not None


def test_zeros_are_multiplied_away_and_a_weight_without_any_is_left_alone():
    weight = np.float32([[0, 1, -2], [3, 0, 0]])

    np.testing.assert_array_equal(
        KeepZeros().projection(weight)(np.float32([[5, 6, 7], [8, 9, 10]])), [[0, 6, 7], [8, 0, 0]]
    )
    assert KeepZeros().projection(weight + 4) is None


def test_a_keeper_holds_kernels_and_checks_them_at_the_end():
    network = keras.Sequential([keras.Input((40,)), keras.layers.Dense(30)])
    kernel, bias = network.trainable_variables
    kernel.assign(clustered((40, 30)))
    (keeper,) = keeper_of((KeepZeros(), KeepClusters(4)))
    keeper.start(network)
    zeros = np.asarray(kernel) == 0
    kernel.assign(moved(np.asarray(kernel)))
    bias.assign(np.ones(30, np.float32))

    with pytest.raises(CheckError, match=r"of weight '.*kernel' \d+ of its \d+ zeros are not 0 any more"):
        keeper.check()
    keeper.project()
    keeper.check()

    assert len(np.unique(np.asarray(kernel))) == 4
    assert not np.asarray(kernel)[zeros].any()
    np.testing.assert_array_equal(bias, np.ones(30))
    assert keeper_of(()) == ()


PRUNED, CLUSTERED = (
    Step("prune", {"sparsity": 0.5}),
    Step("cluster", {"clusters": 7, "granularity": "per_channel"}),
)


@pytest.mark.parametrize(
    ("lineage", "asked", "kept"),
    [
        ([], {}, ()),
        ([PRUNED], {}, (KeepZeros(),)),
        ([PRUNED], {"zeros": False}, ()),
        ([CLUSTERED], {}, (KeepClusters(7, by_channel=True),)),
        ([PRUNED, CLUSTERED], {}, (KeepZeros(), KeepClusters(7, by_channel=True))),
        ([PRUNED, CLUSTERED], {"clusters": False}, (KeepZeros(),)),
        ([], {"zeros": True, "clusters": True}, (KeepZeros(), KeepClusters(256))),
    ],
)
def test_what_is_kept_is_what_the_lineage_or_the_user_says(lineage, asked, kept):
    assert kept_by_default(lineage, **asked) == kept


def test_a_keeper_of_nothing_holds_nothing():
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    keeper = ConstraintKeeper(())
    keeper.start(network)
    network.trainable_variables[0].assign(np.zeros((2, 2), np.float32))

    keeper.project()
    keeper.check()
