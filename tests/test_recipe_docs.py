"""The reference has every key and setting of a recipe with its default, as the code has them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from slimedge.recipes.models import (
    DataSection,
    ExportsSection,
    GoalsSection,
    hyphened,
    recipe_model,
    stage_section,
)
from slimedge.recipes.presets import presets
from slimedge.recipes.stages import STAGES

REFERENCE = (Path(__file__).resolve().parent.parent / "docs/reference.md").read_text()
SECTIONS = {
    "Keys of a recipe": recipe_model(),
    "Data of a recipe": DataSection,
    "Exports of a recipe": ExportsSection,
    "Goals of a recipe": GoalsSection,
    **{f"Settings of `{name}`": stage_section(name) for name in STAGES},
}
# What the table says in words.
IN_WORDS = {"stages", "model", "data", "exports", "targets", "source"}


def rows(title):
    """Give the first two cells of each row of the table under a heading."""
    (text,) = re.findall(rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", REFERENCE, re.MULTILINE | re.DOTALL)
    return dict(re.findall(r"^\| `([\w-]+)` \| (.*?) ?\|", text, re.MULTILINE))


def as_cell(default):
    """Give a default as the table has it."""
    if default in (None, [], {}):
        return ""
    if isinstance(default, list):
        return ", ".join(f"`{each}`" for each in default)
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


@pytest.mark.parametrize("title", SECTIONS)
def test_the_reference_has_every_key_with_its_default(title):
    wanted = {
        hyphened(name): each.get_default(call_default_factory=True)
        for name, each in SECTIONS[title].model_fields.items()
    }
    found = rows(title)
    assert list(found) == list(wanted)
    for name, default in wanted.items():
        if name not in IN_WORDS:
            assert found[name] == as_cell(default), name
        elif default is PydanticUndefined:
            assert found[name] == "required", name


def test_the_reference_has_every_stage_and_preset():
    assert list(rows("Stages of a recipe")) == list(STAGES)
    assert sorted(rows("Presets")) == list(presets())
