"""The search for the size of a model that is so much faster."""

from __future__ import annotations

import pytest

from slimedge.benchmarks.channel_speed import AIM, TOLERANCE, TRIES, Search, Try, search
from slimedge.comparison import Speedup
from slimedge.errors import InputError, OutOfReachError


def measured(curve, smallest=0.0):
    """Speeds of a runtime, by the share of the MACs that is left."""

    def speed_at(share):
        if share < smallest:
            raise OutOfReachError("too little is left")
        value = curve(share)
        return Speedup(value, 0.98 * value, 1.02 * value)

    return speed_at


CURVES = {
    "as fast as the work is less": lambda share: 1 / share,
    "slower gains": lambda share: share**-0.5,
    "a part that stays": lambda share: 1 / (0.2 + 0.8 * share),
    "faster than the work is less": lambda share: share**-1.5,
    "steps": lambda share: 1 / (0.1 + 0.9 * (int(share * 48) + 1) / 49),
}


@pytest.mark.parametrize("wanted", [1.2, 2.0, 3.5])
@pytest.mark.parametrize("curve", CURVES)
def test_the_speed_is_found_within_a_tenth(curve, wanted):
    tries = search(measured(CURVES[curve]), wanted)
    best = Search("litert", wanted, tuple(tries)).best
    assert wanted <= best.speedup.value <= wanted * (1 + TOLERANCE)
    assert len(tries) <= TRIES


def test_the_first_try_takes_the_work_for_the_time():
    (only,) = search(measured(CURVES["as fast as the work is less"]), 2.0)
    assert only.macs == pytest.approx(1 / (2.0 * AIM))


def test_a_speed_out_of_reach_ends_with_the_fastest_that_there_is():
    tries = search(measured(lambda share: min(1 / share, 3.0), smallest=0.1), 6.0)
    assert Search("litert", 6.0, tuple(tries)).best.speedup.value == 3.0


def test_what_cannot_be_cut_that_far_is_tried_with_more():
    tries = search(measured(lambda share: 1 / (0.55 + 0.45 * share), smallest=0.3), 4.0)
    assert min(one.macs for one in tries) < 0.4
    assert Search("ort", 4.0, tuple(tries)).best.speedup.value < 4.0


def test_of_tries_that_are_fast_enough_the_one_with_the_most_left_is_taken():
    tries = tuple(Try(share, Speedup(1 / share, 1, 9)) for share in (0.2, 0.5, 0.4, 0.7))
    assert Search("ort", 2.0, tries).best.macs == 0.5


def test_what_cannot_be_measured_for_another_reason_is_told():
    def speed_at(share):
        raise InputError("this file cannot be exported")

    with pytest.raises(InputError, match="cannot be exported"):
        search(speed_at, 2.0)
