"""Goals of a recipe: the last variant of each comparison and each final file, by the unfavourable bound."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_sample import ONNX, TFLITE, compared

from slimedge.comparison import AccuracyDelta, Speedup
from slimedge.recipes.contents import Goals
from slimedge.recipes.goals import outcomes

BYTES = {"net.onnx": 41_000, "net.tflite": 39_000}


def ending(**figures):
    """A comparison whose last variant has these figures, and an earlier one that would miss every goal."""
    drop, slow = AccuracyDelta(-0.9, -0.95, -0.85, 0.0), Speedup(0.1, 0.1, 0.1)
    bad = replace(TFLITE, accuracy_delta=drop, speedup=slow)
    return compared(ONNX, bad, replace(TFLITE, name="net.onnx", **figures))


def held(goals, *comparisons, file_bytes=BYTES, arena_bytes=()):
    found = outcomes(goals, comparisons, file_bytes=file_bytes, arena_bytes=dict(arena_bytes))
    return [(each.goal, each.variant, each.met) for each in found]


def test_nothing_asked_is_no_outcome():
    assert held(Goals(), ending()) == []


@pytest.mark.parametrize(("low", "met"), [(-0.010, True), (-0.0101, False)])
def test_the_accuracy_may_drop_by_so_many_points_at_its_lower_bound(low, met):
    found = ending(accuracy_delta=AccuracyDelta(-0.005, low, 0.002, 0.5))
    assert held(Goals(max_accuracy_drop=1.0), found) == [("max-accuracy-drop 1", "net.onnx", met)]


def test_without_labels_the_goal_for_accuracy_is_missed_and_says_why():
    (found,) = outcomes(
        Goals(max_accuracy_drop=1.0), [ending(accuracy_delta=None)], file_bytes={}, arena_bytes={}
    )
    assert not found.met
    assert found.sentence == "net.onnx: missed, since no accuracy was measured; give data with class labels."


@pytest.mark.parametrize(("low", "met"), [(2.0, True), (1.99, False)])
def test_the_speedup_counts_by_its_lower_bound(low, met):
    assert held(Goals(min_speedup=2), ending(speedup=Speedup(2.5, low, 3.0))) == [
        ("min-speedup 2", "net.onnx", met)
    ]


def test_every_file_must_be_small_enough_up_to_the_last_byte():
    assert held(Goals(max_bytes=40_000), ending()) == [
        ("max-bytes 40.0 kB", "net.onnx", False),
        ("max-bytes 40.0 kB", "net.tflite", True),
    ]
    assert [met for _, _, met in held(Goals(max_bytes=41_000))] == [True, True]
    assert [met for _, _, met in held(Goals(max_bytes=38_999))] == [False, False]


def test_a_size_is_told_with_what_is_allowed():
    (large, small) = outcomes(Goals(max_bytes=40_000), [], file_bytes=BYTES, arena_bytes={})
    assert large.sentence == "net.onnx: missed, 41,000 bytes where 40,000 are allowed."
    assert small.sentence == "net.tflite: met, 39,000 bytes where 40,000 are allowed."


def test_the_arena_is_that_of_the_tflite_file_alone():
    assert held(Goals(max_arena_bytes=10_000), ending(), arena_bytes={"net.tflite": 10_001}) == [
        ("max-arena-bytes 10.0 kB", "net.tflite", False)
    ]


def test_outcomes_stand_in_the_order_of_the_goals_with_one_a_comparison():
    first = ending(accuracy_delta=AccuracyDelta(0, 0, 0, 1), speedup=Speedup(3, 3, 3))
    other = replace(first, variants=(replace(first.variants[-1], name="net.tflite"),))
    goals = Goals(max_accuracy_drop=1, min_speedup=2, max_bytes=10**6, max_arena_bytes=1)
    assert [name for name, _, _ in held(goals, first, other, arena_bytes={"net.tflite": 5})] == [
        "max-accuracy-drop 1",
        "max-accuracy-drop 1",
        "min-speedup 2",
        "min-speedup 2",
        "max-bytes 1.00 MB",
        "max-bytes 1.00 MB",
        "max-arena-bytes 1 B",
    ]
