"""YAML as values and lines: the numbers of YAML 1.2, places of every value, and hostile files."""

from __future__ import annotations

import math

import pytest
from refusals import refusal_of

from slimedge.recipes.document import MOST_VALUES, document_of, read_document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2:4", "2:4"),  # 124 in YAML 1.1
        ("1e-3", 0.001),  # text in PyYAML
        ("1E3", 1000.0),
        (".5", 0.5),
        ("-3", -3),
        ("+3", 3),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("1_000", "1_000"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("1/255", "1/255"),
        ("224x224", "224x224"),
        ("2024-01-01", "2024-01-01"),
        ("'2'", "2"),
        ("-.inf", -math.inf),
        ("=", "="),
        ("<<", "<<"),
    ],
)
def test_a_scalar_is_what_yaml_1_2_says(text, value):
    found = document_of(f"a: {text}\n", "a.yaml").value["a"]
    assert (type(found), found) == (type(value), value)


def test_not_a_number_is_read_as_one():
    assert math.isnan(document_of("a: .nan", "a.yaml").value["a"])


def test_keys_are_text_and_each_value_has_the_line_of_its_key():
    document = document_of(
        "# a\n1: x\nb:\n  - c\n  - d:\n      true: |\n        long\n        text\n", "a.yaml"
    )
    assert document.value == {"1": "x", "b": ["c", {"d": {"true": "long\ntext\n"}}]}
    assert document.lines == {
        (): 2,
        ("1",): 2,
        ("b",): 3,
        ("b", 0): 4,
        ("b", 1): 5,
        ("b", 1, "d"): 5,
        ("b", 1, "d", "true"): 6,
    }
    assert document.line(("b", 1, "d", "none")) == 5
    assert document.line(("none", 3)) == 2


def test_a_mark_of_the_byte_order_is_left_out(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes("a: ä\n".encode("utf-8-sig"))
    assert read_document(path).value == {"a": "ä"}


def test_what_aliases_stand_for_counts():
    text = "a: &a [1, 2]\nb: [" + ", ".join(["*a"] * 1000) + "]\n"
    assert len(document_of(text, "a.yaml").value["b"]) == 1000
    wide = "a: &a [" + ", ".join(["x"] * 1000) + "]\nb: [" + ", ".join(["*a"] * (MOST_VALUES // 1000)) + "]\n"
    assert "more than 20,000 values" in refusal_of(document_of, wide, "a.yaml")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: !!int x\n", 1, "no number that can be read"),
        ("a: !!float x\n", 1, "no number that can be read"),
        ("\na: !own {}\n", 2, "the tag '!own'"),
        ("a: !!set {x}\n", 1, "the tag '!!set'"),
        (f"a: {'1' * 5000}\n", 1, "no number that can be read"),
        ("a: *none\n", 1, "no YAML, found undefined alias"),
        ("%YAML 3.0\n---\na: 1\n", 1, "no YAML"),
        ("a: b: c\n", 1, "mapping values are not allowed here"),
        ("a: 'x\n", 2, "no YAML"),
        ("a: \x07\n", 1, "U+0007"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_line(text, line, said):
    message = refusal_of(document_of, text, "a.yaml")
    assert message.startswith(f"a.yaml, line {line}: ")
    assert said in message
