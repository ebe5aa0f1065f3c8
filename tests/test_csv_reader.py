"""Numeric CSV files: the label column, and mistakes with their place."""

from __future__ import annotations

import numpy as np
import pytest
from reading import refusal

from slimedge.data import Data


def test_a_csv_takes_the_label_column_asked_for(tmp_path):
    (tmp_path / "a.csv").write_text("\ufeffkind;a;b\n2;0.5;1e1\n0;-1;4\n\n", encoding="utf-8")

    inputs, labels = Data.load(tmp_path / "a.csv", labels="kind").arrays()

    assert inputs["x"].tolist() == [[0.5, 10], [-1, 4]]
    assert inputs["x"].dtype == np.float32
    assert labels.tolist() == [2, 0]


def test_fractions_in_a_csv_s_label_column_are_targets(tmp_path):
    (tmp_path / "a.csv").write_text("a,y\n1,0.5\n2,1\n")

    assert Data.load(tmp_path / "a.csv").labels.dtype == np.float32


def test_a_csv_without_a_label_column_is_all_inputs_and_says_so(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3,4\n")

    data = Data.load(tmp_path / "a.csv")

    assert data.labels is None
    assert data.notices == (
        (
            "a.csv has no column 'label' or 'y', so all its columns are inputs and there are no labels; "
            "--label-column names one (labels= in Python)."
        ),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; give a header row"),
        ("1,2,3\n4,5,6\n", "holds numbers; put a header row with the columns' names above it"),
        ("a,b,y\n1,2,0\n3,cat,1\n", "row 3, column 'b' of"),
        ("a,b,y\n1,2,0\n3,cat,1\n", "is 'cat', which is no number"),
        ("a,b,y\n1,2,0\n3,,1\n", "is empty; give numbers only"),
        ("a,b,y\n1,2,0\n3,1\n", "row 3 of"),
        ("a,b,y\n1,2,0\n3,1\n", "has 2 cells and the header has 3"),
        ("a,a,y\n1,2,0\n", "has two columns 'a'"),
        ("y\n1\n", "has only the label column 'y'"),
        ("a,y\n", "the data holds no examples"),
        (b"a,y\n\xff\xfe,1\n", "is not UTF-8 text"),
        ("a" * 2**21, "has a first line of over a million characters"),
        (
            "a,y\nnan,1\n2,0\n",
            "input 'in' holds NaN or infinity in 1 of 2 examples looked at, first in example 0",
        ),
    ],
)
def test_a_csv_with_a_mistake_says_where(tmp_path, text, message):
    (tmp_path / "a.csv").write_bytes(text if isinstance(text, bytes) else text.encode())

    assert message in refusal(tmp_path / "a.csv")


def test_a_label_column_that_is_not_there_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")

    assert "has no column 'kind'; its columns are a, b: name one of these with --label-column" in refusal(
        tmp_path / "a.csv", labels="kind"
    )
