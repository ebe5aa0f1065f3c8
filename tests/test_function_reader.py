"""Data from `module:function`: where it is looked for, and its mistakes in one sentence."""

from __future__ import annotations

import pytest
from reading import as_function, refusal

from slimedge.data import Data


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def give(): return 1 / 0", "failed with ZeroDivisionError: division by zero; it is called without"),
        (
            "def give(n): return n",
            "failed with TypeError: give() missing 1 required positional argument: 'n'",
        ),
        ("def give(): raise SystemExit('bye')", "failed with SystemExit: bye"),
        ("def give(): pass", "gave None; return arrays"),
        ("def give(): return 'a.npz'", "gave 'a.npz'; return arrays"),
        ("give = 3", "is of type int; name a function"),
        ("def given(): pass", "has no function 'give'; did you mean 'given'"),
        ("def give(:", "failed with SyntaxError"),
        (
            "import no_such_thing_at_all",
            "failed with ModuleNotFoundError: No module named 'no_such_thing_at_all'",
        ),
        ("def give(): raise ValueError('one\\ntwo')", "failed with ValueError: one; it is called"),
    ],
)
def test_a_function_s_mistakes_become_one_sentence(tmp_path, monkeypatch, body, message):
    name = f"given_{abs(hash(body))}"
    (tmp_path / f"{name}.py").write_text(body)
    monkeypatch.chdir(tmp_path)

    assert message in refusal(f"{name}:give")


def test_a_module_that_is_not_there_says_where_to_run():
    assert refusal("no_such_module:give").startswith(
        "there is no module 'no_such_module' for no_such_module:give; run in the folder that holds"
    )


def test_the_current_folder_does_not_stay_on_the_path(tmp_path, monkeypatch):
    import sys

    before = list(sys.path)
    monkeypatch.chdir(tmp_path)
    Data.load(as_function(tmp_path)[0])

    assert sys.path == before
