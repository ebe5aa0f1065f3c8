"""The search for bits finds the fewest that are within a budget."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from slimedge.compress.mixed_precision import Option, choices, mean_bits, options_of, search
from slimedge.compress.rehearsal import Effect
from slimedge.compress.sensitivity import LayerSensitivity, Sensitivity

NONE = Effect(0.0, 0.0)


def found(noises: dict[str, tuple[float, float]], sizes: dict[str, int]) -> Sensitivity:
    layers = tuple(
        LayerSensitivity(name, sizes[name], {4: Effect(four, 10 * four), 8: Effect(eight, 10 * eight)}, {})
        for name, (four, eight) in noises.items()
    )
    return Sensitivity(layers, {}, NONE)


def additive(noises: dict[str, tuple[float, float]]):
    """A net that loses as much as its layers do alone."""

    def measure(choice):
        return sum({4: four, 8: eight, "float": 0.0}[choice[name]] for name, (four, eight) in noises.items())

    return measure


@pytest.mark.parametrize("seed", range(8))
def test_the_search_is_as_good_as_trying_all_where_losses_add_up(seed):
    generator = np.random.default_rng(seed)
    names = "abcde"
    noises = {
        name: (four, four / generator.uniform(20, 300))
        for name, four in zip(names, generator.lognormal(-4, 1.5, len(names)), strict=True)
    }
    sizes = dict(zip(names, map(int, generator.integers(100, 5000, len(names))), strict=True))
    measure, budget = additive(noises), 0.02
    best = min(
        mean_bits(choice, sizes)
        for ways in itertools.product((4, 8, "float"), repeat=len(names))
        if measure(choice := dict(zip(names, ways, strict=True))) <= budget
    )

    result = search(found(noises, sizes), measure, budget)

    assert measure(result.bits) <= budget
    assert result.drop == measure(result.bits)
    assert result.mean_bits <= 1.25 * best


def test_nothing_stays_wider_without_need():
    noises = {"a": (0.001, 0.0001), "b": (0.002, 0.0001)}

    result = search(found(noises, {"a": 10, "b": 10}), additive(noises), 0.01)

    assert result.bits == {"a": 4, "b": 4}
    assert result.reasons == {}


def test_a_layer_that_is_wider_has_its_reason():
    noises = {"a": (0.0001, 0.00001), "b": (0.2, 0.0001)}

    result = search(found(noises, {"a": 10, "b": 10}), additive(noises), 0.01)

    assert result.bits == {"a": 4, "b": 8}
    assert result.reasons == {
        "b": "rounded alone to 4 bits it leaves 7.0 dB of SQNR in the outputs and loses 200.00 points; narrower, the "
        "whole may lose 20.01 points"
    }


def test_everything_is_float_where_nothing_else_is_within_the_budget():
    noises = {"a": (0.5, 0.4), "b": (0.5, 0.4)}

    result = search(found(noises, {"a": 10, "b": 10}), additive(noises), 0.01)

    assert set(result.bits.values()) == {"float"}
    assert result.drop == 0.0
    assert all(one.drop > 0.01 for one in result.tried)


def test_choices_go_from_the_narrowest_to_float_and_only_widen():
    noises = {"a": (0.1, 0.001), "b": (0.01, 0.0001), "c": (0.3, 0.01)}
    row = choices(options_of(found(noises, {"a": 100, "b": 1000, "c": 10})))
    width = {4: 0, 8: 1, "float": 2}

    assert set(row[0].values()) == {4}
    assert set(row[-1].values()) == {"float"}
    for narrow, wide in itertools.pairwise(row):
        assert all(width[narrow[name]] <= width[wide[name]] for name in noises)
        assert narrow != wide


def test_bits_that_only_cost_are_left_out():
    row = choices({"a": [Option(4, 40, 0.1), Option(8, 80, 0.1), Option("float", 320, 0.0)]})

    assert row == [{"a": 4}, {"a": "float"}]
