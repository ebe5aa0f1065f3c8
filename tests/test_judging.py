"""A verdict says what was measured beyond noise, and a goal is met only where the interval says so."""

from __future__ import annotations

import itertools

import pytest

from slimedge.benchmarks.judging import Direction, Goals, check_goals, judge
from slimedge.comparison import (
    AccuracyDelta,
    Agreement,
    Comparison,
    Speedup,
    Variant,
    Verdict,
)
from slimedge.measurement import Environment

ANSWERS = {
    Direction.BETTER: AccuracyDelta(0.02, 0.01, 0.03, 0.001),
    Direction.SAME: AccuracyDelta(-0.001, -0.003, 0.001, 0.4),
    Direction.WORSE: AccuracyDelta(-0.02, -0.03, -0.01, 0.001),
    None: None,
}
LATENCIES = {
    Direction.BETTER: Speedup(1.5, 1.4, 1.6),
    Direction.SAME: Speedup(1.0, 0.97, 1.03),
    Direction.WORSE: Speedup(0.9, 0.89, 0.92),
    None: None,
}
SIZES = {Direction.BETTER: 300, Direction.SAME: 1004, Direction.WORSE: 1400, None: None}
BASELINE = Variant("before", "onnx", "ort", "cpu", file_bytes=1000)


def variant(**fields: object) -> Variant:
    return Variant("after", "onnx", "ort", "cpu", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(("answers", "latency", "size"), list(itertools.product(ANSWERS, LATENCIES, SIZES)))
def test_the_verdict_adds_up_its_three_axes(answers, latency, size):
    after = variant(accuracy_delta=ANSWERS[answers], speedup=LATENCIES[latency], file_bytes=SIZES[size])
    gains = (answers, latency, size).count(Direction.BETTER)
    losses = (answers, latency, size).count(Direction.WORSE)
    expected = {
        (True, True): Verdict.TRADE_OFF,
        (True, False): Verdict.BETTER,
        (False, True): Verdict.WORSE,
        (False, False): Verdict.NO_DIFFERENCE,
    }[gains > 0, losses > 0]

    judgement = judge(after, BASELINE)

    assert judgement.verdict == expected
    assert (judgement.answers, judgement.latency, judgement.size) == (answers, latency, size)


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ((1.021, 1.10), Direction.BETTER),
        ((1.019, 1.10), Direction.SAME),  # within what the order of runs does
        ((0.985, 0.999), Direction.SAME),
        ((0.90, 0.98), Direction.WORSE),
        ((0.90, 1.10), Direction.SAME),
    ],
)
def test_latency_differs_only_where_the_whole_interval_is_2_percent_beyond_1(interval, expected):
    assert judge(variant(speedup=Speedup(1.0, *interval)), BASELINE).latency == expected


def test_an_interval_that_clears_zero_is_not_enough_where_mcnemar_disagrees():
    borderline = AccuracyDelta(-0.01, -0.02, -0.0001, 0.06)

    assert judge(variant(accuracy_delta=borderline), BASELINE).answers is Direction.SAME


def test_a_small_p_value_is_not_enough_where_the_interval_holds_zero():
    borderline = AccuracyDelta(-0.01, -0.02, 0.0001, 0.04)

    assert judge(variant(accuracy_delta=borderline), BASELINE).answers is Direction.SAME


@pytest.mark.parametrize(
    ("share", "n", "expected"),
    [
        (1.0, 1000, Direction.SAME),
        (0.98, 100, Direction.SAME),  # Wilson's interval still holds 99 %
        (0.98, 10_000, Direction.WORSE),
        (0.5, 100, Direction.WORSE),
    ],
)
def test_without_labels_other_answers_than_the_baseline_s_are_worse(share, n, expected):
    after = variant(agreement=Agreement(share, n), sqnr_db=60.0, file_bytes=300)

    judgement = judge(after, BASELINE)

    assert judgement.answers == expected
    assert judgement.verdict == (Verdict.BETTER if expected is Direction.SAME else Verdict.TRADE_OFF)


def test_with_labels_agreement_says_nothing():
    after = variant(accuracy_delta=ANSWERS[Direction.SAME], agreement=Agreement(0.5, 10_000))

    assert judge(after, BASELINE).answers is Direction.SAME


@pytest.mark.parametrize(("sqnr_db", "expected"), [(19.9, Direction.WORSE), (20.0, Direction.SAME)])
def test_values_are_worse_under_20_db(sqnr_db, expected):
    assert judge(variant(sqnr_db=sqnr_db), BASELINE).answers == expected


@pytest.mark.parametrize(
    ("file_bytes", "expected"),
    [(989, Direction.BETTER), (991, Direction.SAME), (1009, Direction.SAME), (1011, Direction.WORSE)],
)
def test_sizes_within_1_percent_are_the_same(file_bytes, expected):
    assert judge(variant(file_bytes=file_bytes), BASELINE).size == expected


def compared(**fields: object) -> Comparison:
    here = Environment(None, (), 1, 1, None, None, "here")
    return Comparison(BASELINE, (variant(**fields),), here)


@pytest.mark.parametrize(
    ("delta", "met", "words"),
    [
        (AccuracyDelta(-0.002, -0.005, 0.001, 0.2), True, "even the lower bound −0.50 is at least −1.00"),
        (AccuracyDelta(-0.008, -0.015, -0.001, 0.02), False, "the lower bound −1.50 is not at least −1.00"),
        (
            AccuracyDelta(-0.02, -0.03, -0.012, 0.001),
            False,
            "even the upper bound −1.20 is not at least −1.00",
        ),
    ],
)
def test_an_accuracy_goal_is_held_against_the_lower_bound(delta, met, words):
    (outcome,) = check_goals(compared(accuracy_delta=delta), Goals(max_accuracy_drop=1.0))

    assert outcome.met is met
    assert words in outcome.sentence
    assert outcome.goal == "--max-accuracy-drop 1"


@pytest.mark.parametrize(
    ("speedup", "met", "words"),
    [
        (Speedup(1.6, 1.5, 1.7), True, "even the lower bound 1.50 is at least 1.5×"),
        (Speedup(1.55, 1.45, 1.65), False, "a longer measurement or a quieter machine could decide it"),
        (Speedup(0.9, 0.8, 1.0), False, "even the upper bound 1.00 is not at least 1.5×"),
    ],
)
def test_a_speed_goal_is_held_against_the_lower_bound(speedup, met, words):
    (outcome,) = check_goals(compared(speedup=speedup), Goals(min_speedup=1.5))

    assert outcome.met is met
    assert words in outcome.sentence


def test_a_goal_for_what_was_not_measured_is_missed_and_says_so():
    accuracy, speed = check_goals(compared(), Goals(max_accuracy_drop=1.0, min_speedup=1.5))

    assert not accuracy.met
    assert "no accuracy was measured" in accuracy.sentence
    assert not speed.met
    assert "no latency was measured" in speed.sentence


def test_no_goals_have_no_outcomes():
    assert check_goals(compared(), Goals()) == ()
