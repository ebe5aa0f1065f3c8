"""Which stage may follow which: structure, zeros, shared values, integers."""

from __future__ import annotations

import pytest

from slimedge.recipes.order import ANY, CONFLICTS, order_problems
from slimedge.recipes.stages import STAGES

LAST = {"quantize", "train", "quantize-for"}
ALL = {"prune-channels", "factorize", "distill", "prune", "cluster", *LAST}
FOLLOWERS = {
    "student": ALL,
    "prune-channels": ALL,
    "factorize": ALL - {"factorize"},
    "distill": ALL,
    "prune": {"distill", "cluster", *LAST},
    "cluster": {"distill", *LAST},
    "quantize": set(),
    "train": set(),
    "quantize-for": set(),
}


@pytest.mark.parametrize("first", STAGES)
def test_each_stage_has_its_followers_at_once_or_later(first):
    for between in ([], [("distill", {})]):
        if between and first in LAST:
            continue
        allowed = {then for then in STAGES if not list(order_problems([(first, {}), *between, (then, {})]))}
        assert allowed == FOLLOWERS[first]


def test_the_usual_order_of_everything_is_fine():
    names = ["student", "prune-channels", "factorize", "distill", "prune", "cluster", "distill"]
    for last in sorted(LAST):
        assert not list(order_problems([(name, {}) for name in [*names, last]]))


@pytest.mark.parametrize(("first", "setting"), [("prune", "keep_zeros"), ("cluster", "keep_clusters")])
@pytest.mark.parametrize("then", ["distill", "train"])
def test_what_a_stage_made_is_given_up_by_no_later_one(first, setting, then):
    assert not list(order_problems([(first, {}), (then, {setting: True})]))
    (problem,) = order_problems([(first, {}), (then, {setting: False})])
    assert f"it would give up what {first} made; leave {setting.replace('_', '-')} out" in problem.sentence


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
