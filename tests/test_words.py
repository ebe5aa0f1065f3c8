"""Words become a balanced data set without overlap, and the bundled LSTM tells their languages as it was measured."""

from __future__ import annotations

import json
from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from slimedge.benchmarks import demo, words
from slimedge.errors import InputError, UnavailableError
from slimedge.keras_file import load_model

RESULT = Path(__file__).resolve().parent.parent / "benchmarks/results/train_words.json"


def lists(folder, **entries):
    """Write six lists of 40 words each, none in two of them, and the entries that a test adds."""
    for language, (name, _) in words.LISTS.items():
        own = [f"{language}{a}{b}" for a in "abcdefgh" for b in "vwxyz"]
        (folder / name).write_text("\n".join(own + list(entries.get(language, ()))) + "\n", encoding="utf-8")
    return folder


def spelled(ids):
    letters = " " + words.ALPHABET + "?"
    return ["".join(letters[number] for number in row).strip() for row in ids]


def test_words_are_padded_on_the_left_and_unknown_letters_have_one_id():
    ids = words.encode(["abc", "zßł", "a" * 20])
    assert ids.dtype == np.int32
    assert ids[0].tolist() == [0] * 17 + [1, 2, 3]
    assert ids[1, 17:].tolist() == [26, words.ALPHABET.index("ß") + 1, words.OTHER]
    assert (ids[2] == 1).all()
    assert words.encode([]).shape == (0, 20)


def test_every_language_has_the_same_number_of_words_in_both_parts(tmp_path):
    parts = words.read(lists(tmp_path), train_each=30, test_each=10)
    for (ids, labels), each in zip(parts, (30, 10), strict=True):
        assert ids.shape == (6 * each, 20)
        assert np.bincount(labels).tolist() == [each] * 6
        assert all(
            word.startswith(words.LANGUAGES[label]) for word, label in zip(spelled(ids), labels, strict=True)
        )
        assert len(set(labels[:12].tolist())) > 1  # in random order


def test_no_word_is_in_both_parts_or_twice(tmp_path):
    (train, _), (test, _) = words.read(lists(tmp_path, english=["Englishav"]), train_each=30, test_each=10)
    both = spelled(train) + spelled(test)
    assert len(set(both)) == len(both) == 240


def test_the_seed_decides_which_words_are_drawn(tmp_path):
    lists(tmp_path)
    one, again, other = (
        words.read(tmp_path, train_each=20, test_each=5, seed=seed)[0][0] for seed in (1, 1, 2)
    )
    assert (one == again).all()
    assert set(spelled(one)) != set(spelled(other))


def test_a_word_of_two_languages_is_left_out_of_both(tmp_path):
    lists(tmp_path, english=["Hand"], german=["hand"])
    (train, _), _ = words.read(tmp_path, train_each=40, test_each=0)
    assert "hand" not in spelled(train)
    with pytest.raises(
        InputError, match=r"has 40 words that stand in no other list, but 39 \+ 2 are asked for"
    ):
        words.read(tmp_path, train_each=39, test_each=2)


def test_possessives_abbreviations_and_words_of_other_lengths_are_left_out(tmp_path):
    out = [
        "door's",
        "l'onda",
        "e.g.",
        "well-known",
        "NATO",
        "McCoy",
        "of",
        "x" * 21,
        "2nd",
        "",
        "ete\u0301s-",
    ]
    kept = ["Zoo", "y" * 20, "e\u0301te\u0301"]  # the last with combining accents
    found = words._words(lists(tmp_path, english=out + kept), "english")
    assert {word for word in found if not word.startswith("english")} == {"zoo", "y" * 20, "été"}
    assert len(found) == 43


def test_a_missing_list_names_its_place_and_all_packages(tmp_path):
    (lists(tmp_path) / "spanish").unlink()
    with pytest.raises(UnavailableError) as error:
        words.read(tmp_path)
    assert str(error.value) == (
        f"the spanish word list is not in {tmp_path / 'spanish'}; on Debian and Ubuntu, apt-get install "
        "wamerican wngerman wfrench wspanish witalian wdutch."
    )


def test_the_data_keeps_the_parts_apart(tmp_path):
    data = words.load(lists(tmp_path), train_each=30, test_each=10)
    assert repr(data) == "Data(240 examples; letters (20,) int32; 6 classes)"
    splits = data.split(calibration=20)
    assert len(splits.evaluation) == 60
    assert len(splits.training) == 160


def test_the_bundled_model_tells_the_languages_of_real_words_as_it_was_measured():
    try:
        data = words.load()
    except UnavailableError as error:
        pytest.skip(str(error))
    test = data.split(evaluation=1_000).evaluation
    (letters,), labels = test.arrays()[0].values(), test.labels
    answers = load_model(demo.FOLDER / demo.WORDS_MODEL).predict(letters, verbose=0)
    accuracy = float(np.mean(answers.argmax(axis=1) == labels))
    measured = json.loads(RESULT.read_text())["accuracy"]["test"]
    assert abs(accuracy - measured) < 4 * sqrt(measured * (1 - measured) / 1_000)
