"""Stages in recipes: what they can be told is read off themselves, so every stage in the registry keeps a contract."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal

import pytest
from refusals import refusal_of

from slimedge.recipes.docstrings import arguments_of
from slimedge.recipes.models import stage_section
from slimedge.recipes.settings import settings_of
from slimedge.recipes.stages import CHOICES, STAGES, choices_of, culprits, made

if TYPE_CHECKING:
    import keras

# What a stage cannot do without.
NEEDED = {"student": {"width": 0.5}, "prune-channels": {"macs": 0.5}, "factorize": {"macs": 0.5}}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_a_frozen_dataclass_that_checks_itself(name):
    stage = STAGES[name]
    assert is_dataclass(stage)
    assert stage.__dataclass_params__.frozen
    found = made(name, NEEDED.get(name, {}))
    assert callable(found.stage)
    assert set(found.settings) == {each.name for each in fields(stage)}
    assert json.loads(json.dumps(found.settings)) == found.settings


@pytest.mark.parametrize("name", STAGES)
def test_every_setting_of_a_stage_is_described_and_its_default_is_taken(name):
    stage = STAGES[name](**NEEDED.get(name, {}))
    settings = settings_of(type(stage))
    assert [each.name for each in settings if not each.description] == []
    read = stage_section(name).model_validate({})
    for each in settings:
        assert each.default is not MISSING
        if each.name not in NEEDED.get(name, {}):
            assert made(name, NEEDED.get(name, {})).settings[each.name] == (
                None if each.default == "distillation" else each.default
            )
        assert getattr(read, each.name) == each.default


@pytest.mark.parametrize("name", STAGES)
def test_what_a_recipe_cannot_set_of_a_stage_is_what_no_yaml_holds(name):
    left_out = {each.name for each in fields(STAGES[name])} - {
        each.name for each in settings_of(STAGES[name])
    }
    assert left_out <= {"constraints", "teacher"}


@pytest.mark.parametrize(
    ("name", "setting"), [(name, setting) for name in CHOICES for setting in CHOICES[name]]
)
def test_the_names_that_a_setting_can_have_are_those_that_its_stage_takes(name, setting):
    listed = isinstance(STAGES[name](**NEEDED.get(name, {})).__getattribute__(setting), tuple)
    for choice in choices_of(name)[setting]:
        given = {**NEEDED.get(name, {}), setting: (choice,) if listed else choice}
        assert culprits(name, given) == {}
    wrong = {**NEEDED.get(name, {}), setting: ("none",) if listed else "none"}
    assert list(culprits(name, wrong)) == [setting]


@pytest.mark.parametrize(
    ("name", "settings", "blamed"),
    [
        ("prune", {"epochs": 1, "sparsity": 1.0, "learning_rate": 0.0}, ["sparsity", "learning_rate"]),
        ("prune", {"pattern": "2:4", "sparsity": 0.7}, ["sparsity"]),
        (
            "prune",
            {"schedule": "steep", "pattern": "4-1", "seed": -1, "engine": "torch"},
            ["pattern", "schedule", "seed", "engine"],
        ),
        ("prune", {"epochs": 0}, []),
        ("prune-channels", {}, [""]),
        ("prune-channels", {"macs": 1.5}, ["macs"]),
        ("prune-channels", {"ratio": 0.5, "multiple": 0, "steps": 0, "epochs": 0}, ["multiple", "steps"]),
        ("prune-channels", {"ratio": 0.5, "batch_size": 0}, ["batch_size"]),
        ("factorize", {"energy": 2.0}, ["energy"]),
        (
            "factorize",
            {"energy": 0.5, "ways": (), "multiple": 0, "epochs": -1},
            ["ways", "multiple", "epochs"],
        ),
        ("cluster", {"clusters": 1, "epochs": 0, "learning_rate": -1.0}, ["clusters", "learning_rate"]),
        ("quantize", {"observer": "mse:3", "bits": {"a": 9}}, ["observer", "bits"]),
        ("quantize", {"scheme": "weight_only_wi4_afp32", "block_size": 8}, ["block_size"]),
        (
            "train",
            {"epochs": 0, "weight_bits": 9, "freeze_after": 1.5},
            ["epochs", "freeze_after", "weight_bits"],
        ),
        ("train", {"observer": "percentile:101", "engine": "torch"}, ["engine", "observer"]),
        ("distill", {"epochs": 0}, ["epochs"]),
    ],
)
def test_the_settings_that_cannot_be_used_are_found_each(name, settings, blamed):
    found = culprits(name, settings)
    assert list(found) == blamed
    assert all(sentence.endswith(".") for sentence in found.values())
    if found:
        assert refusal_of(made, name, settings) in found.values()


@dataclass(frozen=True)
class Example:
    """A stage.

    Args:
        teachers: models, or
            their names.
        loss: None trains alone; or a function of (labels, outputs).
    """

    share: float
    teachers: tuple[str | keras.Model, ...] = ("parent",)
    teacher: keras.Model | None = None
    loss: str | Callable[[Any, Any], Any] | None = None
    norm: Callable[[keras.Model], float] | None = None
    kind: Literal["a", "b"] = "a"
    widths: Mapping[str, int | None] = field(default_factory=dict)
    objects: Mapping[int, str] = field(default_factory=dict)
    hidden: int = field(default=3, init=False)


def example(teachers, kind):
    """Do nothing.

    Args:
        teachers: of the function, which says it better.
        kind: a letter.

    Returns:
        What `kind: b` says.
    """
    return teachers, kind


def test_types_are_narrowed_to_what_yaml_holds():
    found = {each.name: each for each in settings_of(Example)}
    assert {name: each.kind for name, each in found.items()} == {
        "share": float,
        "teachers": list[str],
        "loss": Literal["distillation", "labels"],
        "kind": Literal["a", "b"],
        "widths": dict[str, int | None],
    }
    assert (found["loss"].default, found["teachers"].default) == ("distillation", ["parent"])
    assert found["share"].default is MISSING
    assert found["teachers"].description == "of the function, which says it better."
    assert found["loss"].description == "`distillation` trains alone."


def test_arguments_are_read_with_their_continued_lines():
    assert arguments_of(Example)["teachers"] == "models, or their names."
    assert arguments_of(example) == {
        "teachers": "of the function, which says it better.",
        "kind": "a letter.",
    }
    assert arguments_of(test_arguments_are_read_with_their_continued_lines) == {}
