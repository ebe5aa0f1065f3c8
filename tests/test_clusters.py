"""Clusters of a weight's numbers: against scipy, against every way to cut few numbers, and what they must keep."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.cluster.vq import kmeans2

from slimedge.compress.clusters import INITIALIZATIONS
from slimedge.compress.clusters.centroids import density, kmeans_plus_plus, linear
from slimedge.compress.clusters.groups import grouped, value_counts
from slimedge.compress.clusters.kmeans import nearest, settled
from slimedge.compress.clusters.numbers import Numbers
from slimedge.errors import InputError

NONE = np.zeros(0)


def normal(count, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, count).astype(np.float32)


def error(weight, centroids):
    return float(np.sum(np.min(np.square(weight.reshape(-1, 1) - np.reshape(centroids, (1, -1))), axis=1)))


def least_error(values, clusters):
    """The smallest squared error of any cut of the sorted values into runs: in one dimension, of any clustering."""
    values = np.sort(values.astype(np.float64))
    cuts = itertools.combinations(range(1, len(values)), clusters - 1)
    return min(
        sum(np.sum(np.square(run - run.mean())) for run in np.split(values, cut)) for cut in map(list, cuts)
    )


@pytest.mark.parametrize("init", INITIALIZATIONS)
def test_rounds_end_where_those_of_scipy_end(init):
    weight = normal(3000)
    numbers = Numbers.of(weight)
    start = INITIALIZATIONS[init](numbers, 8, NONE, np.random.default_rng(3))

    found = settled(numbers, start, NONE)

    theirs, _ = kmeans2(weight.astype(np.float64).reshape(-1, 1), start.reshape(-1, 1), 500, minit="matrix")
    assert found == pytest.approx(np.sort(theirs.reshape(-1)), rel=1e-9)


@pytest.mark.parametrize("clusters", [2, 3, 4])
def test_few_numbers_have_the_best_of_all_clusterings_from_some_start(clusters):
    weight = normal(14, seed=clusters)

    errors = [error(weight, np.unique(grouped(weight, clusters, seed=seed).weight())) for seed in range(10)]

    assert min(errors) == pytest.approx(least_error(weight, clusters), rel=1e-5)


def test_a_centroid_is_the_mean_of_its_numbers_and_every_number_is_at_the_nearest():
    weight = normal(10_000).reshape(100, 100)

    groups = grouped(weight, 16)

    assert len(groups.centroids) == 16
    for cluster, centroid in enumerate(groups.centroids):
        assert centroid == pytest.approx(weight[groups.members == cluster].mean(dtype=np.float64), rel=1e-5)
    distances = np.abs(weight[..., None] - groups.centroids)
    assert np.all(
        np.take_along_axis(distances, groups.members[..., None], -1)[..., 0] <= distances.min(-1) + 1e-7
    )


def test_a_number_that_is_there_often_counts_as_often():
    weight = np.float32([0.25] * 9 + [0.75] + [4, 5])

    assert np.unique(grouped(weight, 2).weight()).tolist() == pytest.approx([0.3, 4.5])


def test_linear_starts_evenly_between_the_ends_and_density_evenly_among_the_numbers():
    numbers = Numbers.of(np.float32([0, 1, 2, 3, 4, 5, 6, 100]))
    generator = np.random.default_rng(0)

    assert linear(numbers, 5, NONE, generator).tolist() == [0, 25, 50, 75, 100]
    assert density(numbers, 4, NONE, generator).tolist() == [1, 3, 5, 100]


def test_density_counts_a_number_as_often_as_it_is_there():
    weight = normal(4000)
    weight[:2000] = 1.0

    starts = density(Numbers.of(weight), 10, NONE, np.random.default_rng(0))

    assert np.sum(starts == 1.0) == 5
    assert starts == pytest.approx(np.quantile(weight, (np.arange(10) + 0.5) / 10), abs=1e-3)


def test_kmeans_plus_plus_draws_in_proportion_to_the_squared_distance():
    numbers = Numbers.of(np.float64([1, 2, 4]))

    drawn = [
        float(kmeans_plus_plus(numbers, 1, np.zeros(1), np.random.default_rng(seed))[0])
        for seed in range(4000)
    ]

    shares = [drawn.count(value) / len(drawn) for value in (1, 2, 4)]
    assert shares == pytest.approx([1 / 21, 4 / 21, 16 / 21], abs=0.02)


def test_kmeans_plus_plus_never_draws_a_value_twice_even_where_squares_are_too_small_for_floats():
    numbers = Numbers.of(np.arange(5) * 1e-200)

    drawn = kmeans_plus_plus(numbers, 5, NONE, np.random.default_rng(0))

    assert sorted(drawn) == numbers.values.tolist()


@pytest.mark.parametrize("init", INITIALIZATIONS)
@pytest.mark.parametrize("axes", [(), (1,)])
def test_zeros_stay_zeros_and_zero_is_one_of_the_values(init, axes):
    weight = normal(6000).reshape(200, 30) + np.float32(0.3)
    weight[np.random.default_rng(1).random(weight.shape) < 0.6] = 0

    groups = grouped(weight, 8, init=init, axes=axes)

    made = groups.weight()
    assert np.all(made[weight == 0] == 0)
    assert np.all(groups.zeros[groups.members[weight == 0]])
    assert np.all(value_counts(made, axes) <= 8)
    assert np.all(groups.centroids[groups.zeros] == 0)
    assert np.count_nonzero(groups.zeros) == (30 if axes else 1)


def test_without_zeros_all_values_are_free():
    weight = normal(1000)

    groups = grouped(weight, 4)

    assert not groups.zeros.any()
    assert len(np.unique(groups.weight())) == 4


@pytest.mark.parametrize("axes", [(3,), (2, 3), (0,)])
def test_each_channel_has_the_values_that_it_would_have_alone(axes):
    weight = normal(3 * 3 * 20 * 12).reshape(3, 3, 20, 12) * np.arange(1, 13, dtype=np.float32)

    made = grouped(weight, 3, init="density", axes=axes)

    places = itertools.product(*(range(weight.shape[axis]) for axis in axes))
    for place in places:
        at = [slice(None)] * 4
        for axis, index in zip(axes, place, strict=True):
            at[axis] = index
        alone = grouped(weight[tuple(at)], 3, init="density").weight()
        assert np.array_equal(made.weight()[tuple(at)], alone)
    sizes = np.prod([weight.shape[axis] for axis in axes])
    assert made.members.max() + 1 == len(made.centroids) == 3 * sizes


def test_a_weight_of_few_values_stays_as_it_is():
    weight = np.float32([[0.5, -0.25], [0, 0.5], [1e-30, 0.125]])

    assert np.array_equal(grouped(weight, 5).weight(), weight)
    assert len(np.unique(grouped(weight, 4).weight())) == 4


def test_a_seed_gives_the_same_clusters_again_and_another_one_may_give_others():
    weight = normal(2000)

    first, same, other = (grouped(weight, 12, seed=seed).weight() for seed in (0, 0, 1))

    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_a_number_between_two_centroids_belongs_to_the_smaller():
    assert nearest(np.float32([0.5, 0.50001, -3, 9]), np.float64([0, 1])).tolist() == [0, 1, 0, 1]


def test_a_centroid_without_numbers_is_left_out():
    numbers = Numbers.of(np.float32([0, 1, 100, 101]))

    assert settled(numbers, np.float64([0, 50, 100]), NONE).tolist() == [0.5, 100.5]


def test_an_unknown_start_lists_the_known_ones():
    with pytest.raises(InputError, match=r"no initialization 'random'.*kmeans\+\+, linear, density"):
        grouped(normal(10), 2, init="random")
