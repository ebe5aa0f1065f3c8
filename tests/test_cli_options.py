"""Values of options that are more than a word or a number."""

from __future__ import annotations

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
