"""A check fails on what is worse beyond noise, and on nothing else."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
from check_sample import FLOAT, INT8, N, answering, latency, report, share
from report_sample import HERE, sample_report
from scipy import stats

from slimedge.benchmarks.judging import GoalOutcome
from slimedge.benchmarks.latency_change import latency_outcome
from slimedge.benchmarks.outcomes import Axis, Change, Placed, Tolerances
from slimedge.benchmarks.regression import check
from slimedge.benchmarks.reporting import figures
from slimedge.benchmarks.reporting.report import Report
from slimedge.comparison import Agreement, Comparison, Speedup, Variant

AA = Path(__file__).resolve().parent.parent / "benchmarks/results/aa.json"


def found(now, before, axis, name=INT8, **tolerances):
    (outcome,) = [
        each
        for each in check(now, before, Tolerances(**tolerances))
        if (each.axis, each.variant) == (axis, name)
    ]
    return outcome


def accuracy(now, before=None, **tolerances):
    return found(now, before or report(), Axis.ACCURACY, **tolerances)


def timed(now, before=None, **tolerances):
    return found(now, before or report(), Axis.LATENCY, **tolerances)


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


@pytest.mark.parametrize(("lost", "change"), [(20, Change.SAME), (24, Change.WORSE)])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"fingerprint": "b" * 64}, "on other examples (1,000, was 1,000)"),
        ({"kept": False}, "on examples whose answers were not kept (1,000, was 1,000)"),
    ],
)
def test_other_examples_and_lost_answers_are_compared_unpaired(lost, change, given, words):
    """95.0 % against 93.0 %: 2 ± 2.1 points (Newcombe); against 92.6 %: 2.4 ± 2.1."""
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


@pytest.mark.parametrize(
    ("speedup", "change"),
    [
        (Speedup(1.40, 1.38, 1.42), Change.WORSE),  # takes 1.071 times as long
        (Speedup(1.44, 1.42, 1.46), Change.SAME),  # 1.042: beyond noise, within the margin
        (Speedup(1.20, 0.90, 1.49), Change.SAME),  # 1.25: the intervals overlap
        (Speedup(1.70, 1.68, 1.72), Change.BETTER),
        (Speedup(1.55, 1.54, 1.56), Change.SAME),
    ],
)
def test_speed_is_held_against_the_same_baseline_file(speedup, change):
    # The times themselves are half as long now: the machine is in another state, which says nothing.
    outcome = timed(report(speedup=speedup, latency_s=latency(50e-6)))

    assert (outcome.change, outcome.failed) == (change, change is Change.WORSE)
    assert f"takes {1.5 / speedup.value:.2f} times as long" in outcome.sentence
    assert "the speed of float.onnx, was 1.50× (1.48 to 1.52)" in outcome.sentence


def test_the_margin_of_the_latency_can_be_chosen():
    slower = report(speedup=Speedup(1.44, 1.42, 1.46))

    assert timed(slower, latency_margin=4.0).change is Change.WORSE
    assert timed(slower, latency_margin=4.2).change is Change.SAME


@pytest.mark.parametrize(
    ("median_s", "change"),
    [
        (120e-6, Change.WORSE),
        (109e-6, Change.SAME),  # 9 %, within the double margin of what is not measured in turns
        (100e-6, Change.SAME),
        (85e-6, Change.BETTER),
    ],
)
def test_with_another_baseline_file_the_times_themselves_are_compared(median_s, change):
    now = report(float_bytes=39_000, latency_s=latency(median_s), speedup=Speedup(9.0, 8.9, 9.1))

    outcome = timed(now)

    assert outcome.change is change
    assert outcome.sentence.startswith(f"{figures.seconds(median_s)} a run (")
    assert f"takes {median_s / 100e-6:.2f} times as long" in outcome.sentence


def test_times_whose_launches_differ_much_are_not_told_apart():
    noisy = replace(latency(120e-6), turns=((90e-6,) * 5, (130e-6,) * 5, (150e-6,) * 5))

    assert timed(report(float_bytes=39_000, latency_s=noisy)).change is Change.SAME


def test_a_baseline_that_is_another_file_is_timed_itself():
    now = report(float_bytes=39_000)
    slower = replace(now.comparisons[0].baseline, latency_s=latency(200e-6))
    now = Report("slower", (replace(now.comparisons[0], baseline=slower),))

    assert found(now, report(), Axis.LATENCY, FLOAT).change is Change.WORSE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cpu": "Another"}, "CPU Another, was AMD EPYC 9575F 64-Core Processor"),
        ({"cpu": None}, "CPU not known, was AMD"),
        ({"isa": ("avx2",)}, "instruction sets avx2, was avx2 avx512_vnni"),
        ({"cores": 4}, "cores 4, was 2"),
        ({"threads": 2}, "threads 2, was 1"),
        ({"governor": "powersave"}, "governor powersave, was not known"),
        ({"system": "Linux-6.2-x86_64"}, "system Linux-6.2-x86_64, was Linux-6.1-x86_64"),
        ({"versions": {**HERE.versions, "onnxruntime": "2.0"}}, "onnxruntime 2.0, was 1.31.1"),
    ],
)
def test_another_machine_or_set_up_is_refused_and_fails_on_request_only(change, words):
    now = report(environment=replace(HERE, **change), speedup=Speedup(0.1, 0.09, 0.11))

    outcome = timed(now)

    assert (outcome.change, outcome.failed) == (Change.REFUSED, False)
    assert f"the machine or set-up differs ({words}" in outcome.sentence
    assert timed(now, require_latency=True).failed
    assert timed(report(), require_latency=True).change is Change.SAME


def test_the_version_of_a_runtime_that_took_no_part_says_nothing():
    other = replace(HERE, versions={**HERE.versions, "ai-edge-litert": "9", "slimedge": "7"}, memory_bytes=1)

    assert timed(report(environment=other)).change is Change.SAME


def test_a_baseline_on_another_version_of_its_runtime_is_no_reference():
    def mixed(version):
        made = report(environment=replace(HERE, versions={**HERE.versions, "keras": version})).comparisons[0]
        return Report("mixed", (replace(made, baseline=replace(made.baseline, runtime="reference")),))

    assert "the speed of" in timed(mixed("3"), mixed("3")).sentence
    assert "a run (" in timed(mixed("4"), mixed("3")).sentence


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"latency_s": None, "speedup": None}, "there is no latency of it in this report"),
        ({"runtime": "litert"}, "it ran on litert, and on ort then"),
        (
            {"speedup": None, "latency_s": replace(latency(1e-4), turns=None)},
            "keeps too little to tell the noise",
        ),
    ],
)
def test_latencies_that_say_nothing_are_refused(fields, words):
    outcome = timed(report(**fields))

    assert outcome.change is Change.REFUSED
    assert words in outcome.sentence


def test_a_runtime_that_is_not_known_here_is_held_to_all_versions():
    now = report(
        runtime="engine", environment=replace(HERE, versions={**HERE.versions, "ai-edge-litert": "9"})
    )

    assert "ai-edge-litert 9, was 2.3.0" in timed(now, report(runtime="engine")).sentence


def measured(slowdown):
    """Speedups of files over themselves, slowed down or not, that were really measured; by file."""
    trials = [each for each in json.loads(AA.read_text())["trials"] if each["slowdown"] == slowdown]
    return {
        name: [Speedup(**each["speedup"]) for each in trials if each["file"] == name]
        for name in {each["file"] for each in trials}
    }


def judged(before, now):
    def placed(speedup):
        plain = Variant(FLOAT, "onnx", "ort", "cpu", file_bytes=1)
        timed = Variant(INT8, "onnx", "ort", "cpu", speedup=speedup)
        return Placed(timed, Comparison(plain, (timed,), HERE))

    return latency_outcome(placed(before), placed(now), Tolerances()).change


def test_real_runs_of_one_file_are_never_told_apart():
    pairs = [pair for found in measured(0.0).values() for pair in itertools.permutations(found, 2)]

    assert len(pairs) > 1000
    assert {judged(*pair) for pair in pairs} == {Change.SAME}


def test_real_runs_of_a_file_that_became_slower_by_a_tenth_are():
    slowed = measured(0.1)
    pairs = [pair for name, found in measured(0.0).items() for pair in itertools.product(found, slowed[name])]

    assert len(pairs) > 1000
    assert {judged(*pair) for pair in pairs} == {Change.WORSE}


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


def test_agreement_of_a_few_examples_is_not_told_apart():
    few = {"accuracy": None, "agreement": Agreement(0.9, 20)}

    assert accuracy(
        report(kept=False, **few), report(kept=False, **{**few, "agreement": Agreement(1.0, 20)})
    ).change is (Change.SAME)
