"""Which stage may follow which: structure, zeros, shared values, integers."""

from __future__ import annotations

import pytest

from slimedge.recipes.order import ANY, CONFLICTS, order_problems
from slimedge.recipes.stages import STAGES

FOLLOWERS = {
    "prune-channels": {"prune-channels", "factorize", "distill", "prune", "cluster", "quantize", "train"},
    "factorize": {"prune-channels", "distill", "prune", "cluster", "quantize", "train"},
    "distill": {"prune-channels", "factorize", "distill", "prune", "cluster", "quantize", "train"},
    "prune": {"distill", "cluster", "quantize", "train"},
    "cluster": {"distill", "quantize", "train"},
    "quantize": set(),
    "train": set(),
}


@pytest.mark.parametrize("first", STAGES)
def test_each_stage_has_its_followers_at_once_or_later(first):
    for between in ([], [("distill", {})]):
        if between and first in {"quantize", "train"}:
            continue
        allowed = {then for then in STAGES if not list(order_problems([(first, {}), *between, (then, {})]))}
        assert allowed == FOLLOWERS[first]


def test_the_usual_order_of_everything_is_fine():
    names = ["prune-channels", "factorize", "distill", "prune", "cluster", "distill"]
    for last in ("quantize", "train"):
        assert not list(order_problems([(name, {}) for name in [*names, last]]))


def test_a_conflict_is_told_once_for_a_stage_and_names_both():
    problems = list(order_problems([(name, {}) for name in ("prune", "cluster", "factorize", "train")]))
    assert [problem.place for problem in problems] == [("stages", 2, "factorize")]
    assert problems[0].sentence == (
        "factorize cannot come after prune: it makes new kernels without the zeros of prune; put it before prune."
    )


def test_the_table_names_stages_and_what_to_do():
    for conflict in CONFLICTS:
        assert {conflict.earlier, conflict.later} <= {*STAGES, ANY}
        assert any(word in conflict.reason for word in ("put ", "leave ", "give ", "instead"))
