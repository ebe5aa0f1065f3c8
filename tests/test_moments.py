"""Moments of clipped normal numbers are those of numbers that were drawn and clipped."""

from __future__ import annotations

import math

import numpy as np
import pytest

from slimedge.moments import Moments

MEANS, DEVIATIONS = np.array([-4.0, -1.0, 0.0, 0.5, 5.0, 9.0]), np.array([1.0, 2.0, 1.0, 3.0, 0.5, 2.0])


@pytest.mark.parametrize(("low", "high"), [(0.0, math.inf), (0.0, 6.0), (-1.0, 2.0)])
def test_clipped_normal_numbers_have_the_moments_of_drawn_ones(low, high):
    drawn = np.random.default_rng(0).normal(MEANS, DEVIATIONS, (2_000_000, len(MEANS))).clip(low, high)

    found = Moments(MEANS, DEVIATIONS).clipped(low, high)

    np.testing.assert_allclose(found.mean, drawn.mean(axis=0), atol=0.005)
    np.testing.assert_allclose(found.deviation, drawn.std(axis=0), atol=0.005)


def test_a_channel_without_deviation_is_clipped_as_a_number():
    found = Moments(np.array([-1.0, 2.0, 9.0]), np.zeros(3)).clipped(0.0, 6.0)

    np.testing.assert_allclose(found.mean, [0.0, 2.0, 6.0])
    np.testing.assert_allclose(found.deviation, 0.0, atol=1e-6)


def test_an_unknown_deviation_leaves_what_a_clip_gives_unknown():
    known = Moments(np.ones(2), None)

    assert known.clipped(0.0, math.inf) is None
    assert known.affine(np.array([2.0, -1.0]), np.zeros(2)).deviation is None


def test_a_negative_gain_turns_the_mean_and_not_the_deviation():
    found = Moments(np.array([1.0]), np.array([2.0])).affine(np.array([-3.0]), np.array([0.5]))

    assert (found.mean, found.deviation) == (-2.5, 6.0)
