"""A check fails on what is worse beyond noise, and on nothing else."""

from __future__ import annotations

import pytest
from check_sample import FLOAT, INT8, accuracy, found, report, share
from report_sample import sample_report

from slimedge.benchmarks.judging import GoalOutcome
from slimedge.benchmarks.outcomes import Axis, Change
from slimedge.benchmarks.regression import check
from slimedge.benchmarks.reporting.report import Report
from slimedge.comparison import Variant


@pytest.mark.parametrize("made", [report, sample_report, lambda: report(labelled=False)])
def test_a_report_against_itself_is_the_same_everywhere(made):
    outcomes = check(made(), made())

    assert {each.change for each in outcomes} == {Change.SAME}
    assert not any(each.failed for each in outcomes)
    assert {each.axis for each in outcomes} >= {Axis.ACCURACY, Axis.SIZE, Axis.LATENCY}


def test_what_every_model_is_looked_at_along():
    assert [(each.variant, each.axis) for each in check(report(), report())] == [
        (FLOAT, Axis.ACCURACY),
        (FLOAT, Axis.SIZE),
        (INT8, Axis.ACCURACY),
        (INT8, Axis.SIZE),
        (INT8, Axis.LATENCY),
    ]


def test_a_figure_that_is_no_longer_measured_fails_and_a_new_one_passes():
    lost = accuracy(report(labelled=False))
    new = accuracy(report(), report(accuracy=None, agreement=None))
    unweighed = found(report(file_bytes=None), report(), Axis.SIZE)
    weighed = found(report(), report(file_bytes=None), Axis.SIZE)

    assert [each.change for each in (lost, new, unweighed, weighed)] == [Change.REFUSED] * 4
    assert [each.failed for each in (lost, new, unweighed, weighed)] == [True, False, True, False]
    assert lost.sentence == "not compared: the accuracy was measured then and is not now; give the same data."


def test_what_was_never_measured_is_not_told():
    nothing = {"accuracy": None, "agreement": None, "file_bytes": None}

    outcomes = check(report(**nothing), report(**nothing))

    assert [each.axis for each in outcomes if each.variant == INT8] == [Axis.LATENCY]


@pytest.mark.parametrize(
    ("size", "change", "words"),
    [
        (10_000, Change.SAME, "10,000 bytes, was 10,000: as before."),
        (10_100, Change.SAME, "1.0 % larger, within 1 %"),
        (10_101, Change.WORSE, "1.0 % larger, more than 1 %"),
        (12_000, Change.WORSE, "12,000 bytes, was 10,000: 20.0 % larger, more than 1 %."),
        (9_900, Change.SAME, "1.0 % smaller, within 1 %"),
        (5_000, Change.BETTER, "50.0 % smaller"),
    ],
)
def test_a_file_may_grow_by_one_per_cent(size, change, words):
    outcome = found(report(file_bytes=size), report(), Axis.SIZE)

    assert (outcome.change, outcome.failed) == (change, change is Change.WORSE)
    assert words in outcome.sentence


def test_a_model_that_is_gone_fails_and_a_new_one_passes():
    extra = Variant("extra.onnx", "onnx", "ort", "cpu", file_bytes=1, accuracy=share(range(900)))

    (gone,) = [each for each in check(report(), report(others=(extra,))) if each.variant == "extra.onnx"]
    (new,) = [each for each in check(report(others=(extra,)), report()) if each.variant == "extra.onnx"]

    assert (gone.axis, gone.change, gone.failed) == (Axis.MODEL, Change.WORSE, True)
    assert (new.axis, new.change, new.failed) == (Axis.MODEL, Change.REFUSED, False)


def test_models_of_one_name_in_several_comparisons_are_told_apart_by_their_order():
    first, second = report().comparisons[0], report(file_bytes=20_000).comparisons[0]

    same = check(Report("two", (first, second)), Report("two", (first, second)))
    swapped = check(Report("two", (second, first)), Report("two", (first, second)))

    assert {each.change for each in same} == {Change.SAME}
    assert {each.change for each in swapped if each.axis is Axis.SIZE and each.variant == INT8} == {
        Change.WORSE,
        Change.BETTER,
    }


def test_a_goal_that_was_met_and_is_missed_now_fails():
    def asked(met, goal="--min-speedup 1.5"):
        return report(goals=(GoalOutcome(goal, INT8, met=met, sentence=f"{INT8}: the figures."),))

    def goal(now, before):
        return [
            (each.change, each.failed, each.sentence) for each in check(now, before) if each.axis is Axis.GOAL
        ]

    assert goal(asked(met=False), asked(met=True)) == [
        (Change.WORSE, True, "--min-speedup 1.5, met before: the figures.")
    ]
    assert goal(asked(met=True), asked(met=False)) == [
        (Change.BETTER, False, "--min-speedup 1.5, missed before: the figures.")
    ]
    assert [found[:2] for found in goal(asked(met=False), asked(met=False))] == [(Change.SAME, False)]
    assert [found[:2] for found in goal(asked(met=False), report())] == [(Change.REFUSED, False)]
    assert goal(report(), asked(met=True)) == [(Change.REFUSED, False, "--min-speedup 1.5: no longer asked.")]
