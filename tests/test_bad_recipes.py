"""What cannot be used is found when a recipe is read, and told with file, line, field and what is allowed."""

from __future__ import annotations

import re

import pytest
from bad_recipes import BAD_RECIPES, HEAD
from json_schema import accepts
from refusals import refusal_of

from slimedge.recipes.document import read_document
from slimedge.recipes.recipe import read_recipe
from slimedge.recipes.schema import schema

SCHEMA = schema()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with files under the names that the recipes have; reading looks only whether they are there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.keras").touch()
    (tmp_path / "data.npz").touch()
    return tmp_path


def written(folder, content):
    path = folder / "recipe.yaml"
    path.write_bytes(content if isinstance(content, bytes) else (HEAD + content).encode())
    return path


@pytest.mark.parametrize("name", BAD_RECIPES)
def test_a_bad_recipe_is_refused_with_its_line_and_field(folder, name):
    bad = BAD_RECIPES[name]
    path = written(folder, bad.content)

    message = refusal_of(read_recipe, path)

    place = "" if bad.line is None else f", line {bad.line}"
    field = "" if bad.field is None else f", {bad.field}"
    assert re.match(rf"{re.escape(str(path) + place + field)}(:| is )", message), message
    assert [part for part in bad.said if part not in message] == [], message


@pytest.mark.parametrize("name", [name for name, bad in BAD_RECIPES.items() if bad.field])
def test_the_schema_refuses_what_has_a_wrong_shape_and_nothing_else(folder, name):
    document = read_document(written(folder, BAD_RECIPES[name].content))
    assert accepts(SCHEMA, document.value) is not BAD_RECIPES[name].shape


def test_everything_that_is_wrong_is_told_at_once_in_the_order_of_the_file(folder):
    path = written(
        folder,
        "stages:\n  - quantize: {bits: {conv_*: 9}, observer: percentile:0}\n  - prune: {sparsity: 2, epochs: -3}\n"
        "targets: [foo, reference]\ngoals: {max-arena-bytes: 9}\nexports: onnx\n",
    )
    with pytest.raises(Exception, match="sparsity") as caught:
        read_recipe(path)

    lines = str(caught.value).splitlines()
    found = [re.match(r".*recipe\.yaml, line (\d+), ([\w.\[\]-]+): .*\.$", line) for line in lines]
    assert [(int(each[1]), each[2]) for each in found] == [
        (4, "stages[0].quantize.observer"),
        (4, "stages[0].quantize.bits"),
        (5, "stages[1].prune.sparsity"),
        (5, "stages[1].prune.epochs"),
        (5, "stages[1].prune"),
        (6, "targets[0]"),
        (6, "targets[1]"),
        (7, "goals.max-arena-bytes"),
    ]


def test_many_mistakes_are_counted_beyond_twenty(folder):
    path = written(folder, "stages: [" + ", ".join(f"x{number}" for number in range(25)) + "]")
    with pytest.raises(Exception, match="5 more; mend these first") as caught:
        read_recipe(path)
    assert len(str(caught.value).splitlines()) == 21


def test_a_missing_recipe_a_folder_and_one_that_may_not_be_read_are_refused(folder, monkeypatch):
    assert "did you mean 'tiny'" in refusal_of(read_recipe, "tinny")
    assert "accuracy, balanced, mcu, tiny" in refusal_of(read_recipe, folder / "nothing.yaml")
    assert "it is a folder" in refusal_of(read_recipe, folder)

    path = written(folder, "stages: [train]")

    def locked(*_given):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", locked)
    assert "permission denied" in refusal_of(read_recipe, path)
