"""A model is slower than in an earlier report only where two runs on one machine show it."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
from check_sample import FLOAT, INT8, found, latency, report, timed
from report_sample import HERE

from slimedge.benchmarks.latency_change import latency_outcome
from slimedge.benchmarks.outcomes import Axis, Change, Placed, Tolerances
from slimedge.benchmarks.reporting import figures
from slimedge.benchmarks.reporting.report import Report
from slimedge.comparison import Comparison, Speedup, Variant

AA = Path(__file__).resolve().parent.parent / "benchmarks/results/aa.json"


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
