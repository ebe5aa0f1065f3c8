"""Features of a student against a teacher's: hints, attention maps and relations, by numpy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from slimedge.compress.distilling import features

GENERATOR = np.random.default_rng(1)


def numbers(*shape):
    return GENERATOR.normal(0, 1, shape).astype(np.float32)


def slope(loss, made, taught):
    made = tf.Variable(made)
    with tf.GradientTape() as tape:
        found = loss(made, tf.constant(taught))
    return np.asarray(tape.gradient(found, made))


def halves(maps):
    """Mean of each 2x2 places."""
    count, height, width, channels = maps.shape
    return maps.reshape(count, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))


@pytest.mark.parametrize("shape", [(6, 5), (3, 4, 5), (3, 4, 2, 5)])
def test_a_hint_is_the_square_of_the_difference_relative_to_the_teacher(shape):
    made, taught = numbers(*shape), numbers(*shape)

    expected = np.mean((made - taught) ** 2) / np.mean(taught**2)

    assert float(features.hint(made, taught)) == pytest.approx(expected, rel=1e-5)
    assert float(features.hint(1000 * made, 1000 * taught)) == pytest.approx(expected, rel=1e-4)
    assert float(features.hint(taught, taught)) == 0


def test_larger_maps_of_a_teacher_count_by_the_mean_of_each_place():
    made, taught = numbers(2, 3, 2, 4), numbers(2, 6, 4, 4)

    small = halves(taught)

    assert float(features.hint(made, taught)) == pytest.approx(
        np.mean((made - small) ** 2) / np.mean(small**2), rel=1e-5
    )
    assert float(features.hint(small, taught)) == pytest.approx(0, abs=1e-10)


def test_a_linear_map_learns_the_features_that_are_one_of_the_students():
    made = numbers(64, 6)
    mapped = numbers(6, 3)
    taught = made @ mapped
    adaptor = tf.Variable(tf.zeros((6, 3)))
    for _ in range(200):
        with tf.GradientTape() as tape:
            loss = features.hint(tf.constant(made) @ adaptor, tf.constant(taught))
        adaptor.assign_sub(2.0 * tape.gradient(loss, adaptor))

    np.testing.assert_allclose(adaptor, mapped, atol=1e-3)


@pytest.mark.parametrize("shape", [(3, 4, 2, 5), (3, 7, 5)])
def test_attention_compares_where_squares_are_large_whatever_the_channels(shape):
    made, taught = numbers(*shape), numbers(*shape[:-1], 9)

    found = float(features.attention(made, taught))

    distances = []
    for one, other in zip(made, taught, strict=True):
        maps = [np.square(each).sum(axis=-1).ravel() for each in (one, other)]
        maps = [each / np.linalg.norm(each) for each in maps]
        distances.append(np.sum((maps[0] - maps[1]) ** 2))
    assert found == pytest.approx(np.mean(distances), rel=1e-4)


def test_attention_takes_a_teachers_larger_map_as_its_mean():
    taught = numbers(2, 4, 4, 3)
    strong = np.square(taught).sum(axis=-1, keepdims=True)
    made = np.sqrt(halves(strong))

    assert float(features.attention(made, taught)) == pytest.approx(0, abs=1e-9)
    assert float(features.attention(7 * made, taught)) == pytest.approx(0, abs=1e-9)


def huber(off):
    off = abs(off)
    return 0.5 * off**2 if off <= 1 else off - 0.5


def test_huber_turns_from_square_to_line_at_1():
    off = np.float32([0, 0.5, -1, 1, 3, -10])

    assert float(features.huber(off, np.zeros(6, np.float32))) == pytest.approx(
        (0 + 0.125 + 0.5 + 0.5 + 2.5 + 9.5) / 6
    )


def relations(made, taught):
    """Park et al., 2019, equations 4 to 9, one pair and one triplet at a time."""
    count = len(made)
    distances, angles = [], []
    for each in (made.astype(np.float64), taught.astype(np.float64)):
        apart = {
            (i, j): np.linalg.norm(each[i] - each[j]) for i, j in itertools.product(range(count), repeat=2)
        }
        mean = sum(apart.values()) / (count * (count - 1))
        distances.append({pair: value / mean for pair, value in apart.items()})
        corners = {}
        for i, j, k in itertools.product(range(count), repeat=3):
            one, other = each[i] - each[j], each[k] - each[j]
            lengths = np.linalg.norm(one) * np.linalg.norm(other)
            corners[i, j, k] = one @ other / lengths if lengths else 0.0
        angles.append(corners)
    of_distances, of_angles = (
        np.mean([huber(one[key] - other[key]) for key in one]) for one, other in (distances, angles)
    )
    return of_distances + 2 * of_angles


def test_relations_are_distances_and_angles_of_examples():
    made, taught = numbers(5, 3), numbers(5, 2, 2)

    found = float(features.relations(made, taught))

    assert found == pytest.approx(relations(made, taught.reshape(5, 4)), rel=1e-3)


def test_relations_are_the_same_after_turning_moving_and_scaling():
    made = numbers(6, 3)
    turned = np.linalg.qr(numbers(3, 3))[0].astype(np.float32)

    assert float(features.relations(made, 5 * made @ turned + 2)) == pytest.approx(0, abs=1e-5)


def test_relations_of_many_examples_are_those_of_the_first_ones():
    made, taught = numbers(70, 3), numbers(70, 3)
    most = features.MOST_EXAMPLES

    assert float(features.relations(made, taught)) == pytest.approx(
        float(features.relations(made[:most], taught[:most]))
    )


def test_examples_that_are_equal_have_a_finite_slope():
    made, taught = numbers(6, 3), numbers(6, 3)
    made[3:] = made[0]
    taught[4] = taught[0]

    found = slope(features.relations, made, taught)

    assert np.isfinite(found).all()
    assert np.isfinite(slope(features.relations, made[:1], taught[:1])).all()


@pytest.mark.parametrize("loss", [features.hint, features.attention, features.relations])
def test_slopes_are_those_of_small_steps(loss):
    made, taught = numbers(4, 2, 2, 3), numbers(4, 2, 2, 3)
    direction = numbers(*made.shape)
    step = 1e-2

    found = float(np.sum(slope(loss, made, taught) * direction))

    after, before = (float(loss(made + sign * step * direction, taught)) for sign in (1, -1))
    assert found == pytest.approx((after - before) / (2 * step), rel=0.02, abs=1e-3)
    assert abs(found) > 1e-3
