"""The language of a word: a labelled data set read from Debian's word lists of six languages.

Words are lower-cased and have 3 to 20 letters. Left out are entries with an apostrophe, a hyphen or a dot
(possessives, elisions, abbreviations), entries with a capital after the first letter (initials), and words that
stand in the lists of several languages, whose language no model could tell. Each language has the same number of
words. Inflected forms of one stem may stand in both the training and the test part; one word never does.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.data import Data
from slimedge.errors import InputError, UnavailableError

# Where Debian's packages put their lists.
FOLDER = Path("/usr/share/dict")
# Name of the list and the package that has it, by language; the order is that of the classes.
LISTS = {
    "english": ("american-english", "wamerican"),
    "german": ("ngerman", "wngerman"),
    "french": ("french", "wfrench"),
    "spanish": ("spanish", "wspanish"),
    "italian": ("italian", "witalian"),
    "dutch": ("dutch", "wdutch"),
}
LANGUAGES = tuple(LISTS)
SHORTEST, LONGEST = 3, 20
PADDING = 0
ALPHABET = "abcdefghijklmnopqrstuvwxyzàáâäåçèéêëìíîïñòóôöùúûüß"
OTHER = len(ALPHABET) + 1
SYMBOLS = OTHER + 1
TRAIN_EACH, TEST_EACH = 50_000, 2_500

Labelled = tuple[NDArray[np.int32], NDArray[np.int64]]


def load(
    folder: Path = FOLDER, *, train_each: int = TRAIN_EACH, test_each: int = TEST_EACH, seed: int = 0
) -> Data:
    """Give the words as data with a train and a test part; arguments and errors as for `read`."""
    source: Any = read(folder, train_each=train_each, test_each=test_each, seed=seed)
    return Data.load(source, name="letters")


def read(
    folder: Path = FOLDER, *, train_each: int = TRAIN_EACH, test_each: int = TEST_EACH, seed: int = 0
) -> tuple[Labelled, Labelled]:
    """Draw the training and the test words, both in random order.

    Args:
        folder: with the six lists.
        train_each: training words a language.
        test_each: test words a language.
        seed: the same seed draws the same words from the same lists.

    Returns:
        For training and for test, letters (n, 20) as `encode` gives them, and classes (n,), indices into
        `LANGUAGES`.

    Raises:
        UnavailableError: a list is not there.
        InputError: a list has too few words of its own.
    """
    lists = [_words(folder, language) for language in LANGUAGES]
    languages = Counter(word for words in lists for word in words)
    generator = np.random.default_rng(seed)
    drawn: tuple[list[tuple[str, int]], list[tuple[str, int]]] = ([], [])
    for label, words in enumerate(lists):
        own = sorted(word for word in words if languages[word] == 1)
        if len(own) < train_each + test_each:
            raise InputError(
                f"the list {folder / LISTS[LANGUAGES[label]][0]} has {len(own):,} words that stand in no other "
                f"list, but {train_each:,} + {test_each:,} are asked for; ask for fewer."
            )
        order = generator.permutation(len(own))
        for part, rows in zip(drawn, (order[:train_each], order[train_each:][:test_each]), strict=True):
            part += [(own[row], label) for row in rows]
    train, test = (_arrays(part, generator) for part in drawn)
    return train, test


def encode(words: Iterable[str]) -> NDArray[np.int32]:
    """Give words of at most 20 letters as ids (n, 20), padded on the left, so that an LSTM reads the word last.

    Example:
        >>> encode(["été"])[0, -4:].tolist()
        [0, 34, 20, 34]
    """
    ids = {letter: number for number, letter in enumerate(ALPHABET, start=1)}
    rows = [[ids.get(letter, OTHER) for letter in word] for word in words]
    return np.array([[PADDING] * (LONGEST - len(row)) + row for row in rows], np.int32).reshape(-1, LONGEST)


def _words(folder: Path, language: str) -> set[str]:
    path = folder / LISTS[language][0]
    if not path.is_file():
        packages = " ".join(package for _, package in LISTS.values())
        raise UnavailableError(
            f"the {language} word list is not in {path}; on Debian and Ubuntu, apt-get install {packages}."
        )
    entries = unicodedata.normalize("NFC", path.read_text(encoding="utf-8")).splitlines()
    words = {entry.lower() for entry in entries if entry.isalpha() and entry[1:] == entry[1:].lower()}
    return {word for word in words if SHORTEST <= len(word) <= LONGEST}


def _arrays(drawn: list[tuple[str, int]], generator: np.random.Generator) -> Labelled:
    rows = generator.permutation(len(drawn))
    words = encode(drawn[row][0] for row in rows)
    return words, np.array([drawn[row][1] for row in rows], np.int64)
