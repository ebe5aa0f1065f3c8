"""Values of options that are more than a word or a number."""

from __future__ import annotations

import re

import pytest

from slimedge.cli import options
from slimedge.errors import InputError


def test_an_observer_may_be_for_all_tensors_or_for_those_of_a_name():
    assert options.observers([]) == ("minmax", {})
    assert options.observers(["a=b*=mse", "entropy", "c=percentile:99"]) == (
        "entropy",
        {"a=b*": "mse", "c": "percentile:99"},
    )
    with pytest.raises(InputError, match=r"--observer mse and --observer entropy are both for all tensors"):
        options.observers(["mse", "entropy"])


@pytest.mark.parametrize(("text", "numbers"), [("1,2,4", (1, 2, 4)), (" 8 ", (8,)), ("1, 16", (1, 16))])
def test_numbers_are_read_with_commas_between(text, numbers):
    assert options.numbers(text, "--batches") == numbers


@pytest.mark.parametrize("text", ["", "0", "1,", "-1", "1.5", "two", "1;2", "²"])
def test_what_is_no_list_of_numbers_is_refused(text):
    with pytest.raises(InputError, match=re.escape(f"--batches {text} is not allowed; give whole numbers")):
        options.numbers(text, "--batches")


@pytest.mark.parametrize(
    ("text", "seconds"), [("5ms", 5e-3), ("0.1 s", 0.1), ("250us", 250e-6), ("3 µs", 3e-6), (".5S", 0.5)]
)
def test_a_time_is_read_with_its_unit(text, seconds):
    assert options.seconds(text, "--latency-bound") == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize("text", ["5", "ms", "-5ms", "0ms", "5 min", "1e3ms", "5ms 3"])
def test_a_time_without_a_unit_is_refused(text):
    with pytest.raises(
        InputError, match=f"--latency-bound {text} is not allowed; give a time over 0 with its unit"
    ):
        options.seconds(text, "--latency-bound")
