"""The published JSON Schema is that of the code, and takes the recipes that we show."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from json_schema import accepts

from slimedge.recipes.document import document_of, read_document
from slimedge.recipes.presets import preset_path, presets
from slimedge.recipes.recipe import read_recipe
from slimedge.recipes.schema import EXAMPLE, as_text, schema
from slimedge.recipes.stages import STAGES

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = ROOT / "docs/recipe.schema.json"


def shown_recipes():
    """Give the recipes that stand in the documents."""
    return [
        pytest.param(text, id=f"{path.name} {index}")
        for path in sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
        for index, text in enumerate(
            re.findall(r"^```yaml\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)
        )
        if "stages:" in text
    ]


def test_the_published_schema_is_that_of_the_code():
    assert PUBLISHED.read_text() == as_text(), "python -m slimedge.recipes.schema > docs/recipe.schema.json"


def test_the_module_prints_the_schema():
    done = subprocess.run(
        [sys.executable, "-m", "slimedge.recipes.schema"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == schema()


def test_every_stage_and_setting_has_a_description():
    assert schema()["$schema"].endswith("2020-12/schema")
    for name, described in schema()["$defs"].items():
        assert described["description"], name
        for key, value in described["properties"].items():
            assert name == "Stage" or value.get("description"), (name, key)
    assert list(schema()["$defs"]["Stage"]["properties"]) == list(STAGES)


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_valid(name):
    assert accepts(schema(), read_document(preset_path(name)).value)


def test_the_example_in_the_schema_is_valid():
    assert accepts(schema(), EXAMPLE)


@pytest.mark.parametrize("text", shown_recipes())
def test_every_recipe_in_the_documents_is_valid_and_can_be_read(text, tmp_path):
    value = document_of(text, "shown.yaml").value
    assert accepts(schema(), value)
    data = value["data"] if isinstance(value["data"], str) else value["data"]["source"]
    for name in (value["model"], data):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "recipe.yaml").write_text(text)
    assert len(read_recipe(tmp_path / "recipe.yaml").stages) == len(value["stages"])


def test_there_are_recipes_in_the_documents():
    assert len(shown_recipes()) >= 2
