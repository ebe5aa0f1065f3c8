"""The comparison of one worker with two: what is told of losses and weights."""

from __future__ import annotations

import json

import pytest

from slimedge.benchmarks.two_workers import configurations, differences, missed


def test_differences_are_those_of_the_loss():
    assert differences([2.0, 4.0], [2.1, 3.0]) == pytest.approx([0.05, 0.25])


def test_a_difference_of_more_than_a_thousandth_and_other_weights_are_missed_bars():
    assert missed(1e-3, ["a", "a"]) == []
    assert missed(0.0011, ["a", "a"]) == [
        "the losses of one worker and of 2 differ by 1.10e-03 of the loss, at most 0.001 is allowed"
    ]
    assert missed(float("nan"), ["a", "a"])
    assert missed(0.0, ["a", "b"]) == ["the workers end with other weights than each other"]


def test_each_process_is_told_of_all_and_which_it_is():
    told = [json.loads(each["TF_CONFIG"]) for each in configurations(3)]
    assert [each["task"] for each in told] == [{"type": "worker", "index": index} for index in range(3)]
    addresses = told[0]["cluster"]["worker"]
    assert len(set(addresses)) == 3
    assert all(each["cluster"]["worker"] == addresses for each in told)
