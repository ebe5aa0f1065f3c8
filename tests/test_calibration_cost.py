"""What calibration may cost, judged on made-up measurements."""

from __future__ import annotations

from slimedge.benchmarks.calibration_cost import JUDGED, OBSERVERS, PLAIN, missed, ratios


def peaks(growth_bytes: int) -> dict[str, dict[str, int]]:
    return {name: {"100": 10**9, "10000": 10**9 + growth_bytes} for name in OBSERVERS}


def test_a_ratio_is_the_median_of_those_of_each_round() -> None:
    seconds = {PLAIN: [1.0, 2.0, 4.0], **{name: [1.5, 2.2, 8.0] for name in OBSERVERS}}
    assert ratios(seconds) == dict.fromkeys(OBSERVERS, 1.5)


def test_within_the_bars_nothing_is_missed() -> None:
    assert missed("net", peaks(150_000_000), dict.fromkeys(OBSERVERS, 1.5)) == ()


def test_each_missed_bar_is_a_sentence() -> None:
    found = missed("net", peaks(151_000_000), dict.fromkeys(OBSERVERS, 1.51))
    assert len(found) == 2 * len(JUDGED)
    assert found[:2] == (
        "percentile of net takes 151 MB more for 10,000 images",
        "percentile of net takes 1.51 times the plain pass",
    )
