"""Answers are worse than in an earlier report only where the examples show it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from check_sample import FLOAT, N, accuracy, answering, found, report
from scipy import stats

from slimedge.benchmarks.outcomes import Axis, Change
from slimedge.benchmarks.regression import check
from slimedge.benchmarks.reporting.report import Report
from slimedge.comparison import Agreement


@pytest.mark.parametrize(
    ("lost", "gained", "change"),
    [
        (20, 0, Change.WORSE),
        (6, 0, Change.WORSE),
        (5, 0, Change.SAME),  # 2 · (1/2)⁵ = 0.0625
        (30, 18, Change.SAME),
        (35, 18, Change.WORSE),
        (0, 0, Change.SAME),
        (0, 20, Change.BETTER),
        (0, 5, Change.SAME),
    ],
)
def test_answers_to_the_same_examples_are_paired(lost, gained, change):
    now = report(wrong=[*range(gained, 50), *range(100, 100 + lost)])
    # A binomial test of the examples on which the two differ, computed by scipy.
    expected = stats.binomtest(lost, lost + gained).pvalue if lost + gained else 1.0

    outcome = accuracy(now)

    assert outcome.change is change
    assert outcome.failed is (change is Change.WORSE)
    assert f"p = {expected:.2g})" in outcome.sentence
    assert "on the same 1,000 examples" in outcome.sentence
    assert bool(expected < 0.05) is (change is not Change.SAME)


def test_a_loss_is_told_in_points_with_its_interval():
    assert accuracy(report(wrong=range(70))).sentence == (
        "93.00 %, was 95.00 %: −2.00 points (−3.07 to −1.30, p = 1.9e-06) on the same 1,000 examples, worse beyond "
        "noise."
    )


@pytest.mark.parametrize(
    ("allowed", "change", "words"),
    [
        (0.0, Change.WORSE, "worse beyond noise"),
        (1.2, Change.WORSE, "worse by more than the 1.2 points allowed"),
        (1.4, Change.SAME, "not shown to be more than the 1.4 points allowed"),
        (5.0, Change.SAME, "not shown to be more than the 5 points allowed"),
    ],
)
def test_a_loss_may_be_allowed(allowed, change, words):
    """The interval of the loss of 2 points is 1.30 to 3.07: only where all of it is beyond, it fails."""
    outcome = accuracy(report(wrong=range(70)), max_accuracy_drop=allowed)

    assert outcome.change is change
    assert words in outcome.sentence


@pytest.mark.parametrize(("lost", "change"), [(20, Change.SAME), (21, Change.WORSE)])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"fingerprint": "b" * 64}, "on other examples (1,000, was 1,000)"),
        ({"kept": False}, "on examples whose answers were not kept (1,000, was 1,000)"),
    ],
)
def test_other_examples_and_lost_answers_are_compared_unpaired(lost, change, given, words):
    """95.0 % against 93.0 %: a loss of -0.09 to 4.12 points (Newcombe); against 92.9 %: 0.003 to 4.22."""
    outcome = accuracy(report(wrong=range(50 + lost), **given))

    assert outcome.change is change
    assert words in outcome.sentence
    assert "p =" not in outcome.sentence


def test_another_output_of_the_same_examples_is_not_paired():
    now = report()
    kept = now.comparisons[0].evaluation
    other = replace(kept, truth=answering(range(N)))
    now = Report("other", (replace(now.comparisons[0], evaluation=other),))

    assert "on other examples" in accuracy(now).sentence


def test_without_labels_the_baselines_classes_are_the_truth():
    before = report(labelled=False)  # int8 and float differ on 10 examples
    worse = accuracy(report(labelled=False, wrong=range(57)), before)
    same = accuracy(report(labelled=False, wrong=range(52)), before)

    assert worse.change is Change.WORSE
    assert worse.sentence.startswith("same class as float.onnx on 98.30 %, was 99.00 %: −0.70 points (")
    assert same.change is Change.SAME


def test_the_baseline_without_labels_has_no_accuracy():
    outcomes = check(report(labelled=False), report(labelled=False))

    assert (FLOAT, Axis.ACCURACY) not in {(each.variant, each.axis) for each in outcomes}


def test_a_baseline_that_lost_accuracy_fails_too():
    outcome = found(report(float_wrong=range(60)), report(), Axis.ACCURACY, FLOAT)

    assert outcome.change is Change.WORSE


@pytest.mark.parametrize(
    ("level", "change"),
    [(27.1, Change.SAME), (26.9, Change.WORSE), (32.9, Change.SAME), (33.1, Change.BETTER)],
)
def test_where_answers_are_no_classes_twice_the_noise_is_worse(level, change):
    fields = {"accuracy": None, "agreement": None}

    outcome = accuracy(report(**fields, sqnr_db=level), report(**fields, sqnr_db=30.0))

    assert outcome.change is change
    assert outcome.sentence.startswith(f"SQNR {level} dB, was 30.0 dB")


def test_agreement_of_a_few_examples_is_not_told_apart():
    few = {"accuracy": None, "agreement": Agreement(0.9, 20)}

    assert accuracy(
        report(kept=False, **few), report(kept=False, **{**few, "agreement": Agreement(1.0, 20)})
    ).change is (Change.SAME)
