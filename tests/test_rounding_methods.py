"""AdaRound and GPTQ choose integers that are as good as those found by trying all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from slimedge.compress.adaround import adaptively_rounded
from slimedge.compress.gptq import successively_rounded
from slimedge.compress.reconstruction import Quadratic

METHODS = {"adaround": adaptively_rounded, "gptq": successively_rounded}


def quadratic(seed: int, inputs: int, outputs: int = 2, *, shift: float = 0.0) -> Quadratic:
    """A layer whose inputs hang together, as those of a convolution do."""
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(inputs, inputs)) + 2.0
    samples = generator.normal(size=(500, inputs)) @ mixing
    hessian = (samples.T @ samples / 500).astype(np.float32)[None]
    weights = generator.uniform(-5, 5, (1, inputs, outputs))
    moved = shift * generator.normal(size=(1, inputs, outputs))
    return Quadratic(hessian, (hessian @ moved).astype(np.float32), weights, np.full((1, 1, outputs), 0.1), 7)


def error(form: Quadratic, integers: np.ndarray) -> np.ndarray:
    """Written out, as in the module's formula."""
    change = (integers - form.weights)[0] * form.scale[0]
    return np.array(
        [
            d @ form.hessian[0].astype(float) @ d + 2 * d @ c
            for d, c in zip(change.T, form.shift[0].T, strict=True)
        ]
    )


@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_adaround_finds_one_of_the_best_of_all_ways_to_round_up_or_down(shift):
    ways = np.array(list(itertools.product([0, 1], repeat=8)))[:, :, None]
    better, better_than_nearest = [], []
    for seed in range(5):
        form = quadratic(seed, inputs=8, shift=shift)
        errors = np.array([error(form, np.floor(form.weights) + way) for way in ways])
        better += list(np.mean(errors < error(form, adaptively_rounded(form)) - 1e-9, axis=0))
        better_than_nearest += list(np.mean(errors < error(form, form.nearest()) - 1e-9, axis=0))

    assert np.median(better) <= 0.03
    assert np.median(better_than_nearest) >= 0.06


@pytest.mark.parametrize("method", METHODS)
def test_integers_are_whole_inside_the_grid_and_no_worse_than_the_nearest(method):
    for seed in range(5):
        form = quadratic(seed, inputs=20, outputs=3, shift=0.02)
        chosen = METHODS[method](form)

        assert np.array_equal(chosen, np.rint(chosen))
        assert np.abs(chosen).max() <= 7
        assert np.all(error(form, chosen) <= error(form, form.nearest()) + 1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_weights_that_pruning_made_zero_stay_zero(method):
    for seed in range(3):
        form = quadratic(seed, inputs=20, outputs=3, shift=0.02)
        zeros = np.random.default_rng(seed).random(form.weights.shape) < 0.5
        form.weights[zeros] = 0

        chosen = METHODS[method](form)

        assert np.all(chosen[zeros] == 0)
        assert error(form, chosen).sum() < error(form, form.nearest()).sum()


@pytest.mark.parametrize("method", METHODS)
def test_inputs_that_hang_together_are_rounded_together(method):
    ratios = []
    for seed in range(10):
        form = quadratic(seed, inputs=20)
        ratios.append(error(form, METHODS[method](form)).sum() / error(form, form.nearest()).sum())

    assert np.median(ratios) < 0.3


def test_gptq_without_correlation_gives_the_nearest_integers():
    weights = np.random.default_rng(0).uniform(-6, 6, (1, 10, 4))
    form = Quadratic(
        np.eye(10, dtype=np.float32)[None], np.zeros((1, 10, 4), np.float32), weights, np.ones((1, 1, 4)), 7
    )

    assert np.array_equal(successively_rounded(form), np.rint(weights))
