"""Classes come back from a report as they went in, and nothing else is taken for classes."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest

from slimedge.benchmarks.reporting.packing import pack, unpack


@pytest.mark.parametrize(
    "classes",
    [
        (),
        (0,),
        (-1, -1, -1),
        (3, 0, -1, 9),
        (65_534, -1, 0),
        (65_535, -1, 0),
        (250_001, 65_535, -1),
        tuple(np.random.default_rng(0).integers(-1, 1000, 10_000).tolist()),
    ],
    ids=lambda classes: f"{len(classes)} up to {max(classes, default=None)}",
)
def test_classes_come_back(classes):
    assert unpack(pack(classes), len(classes)) == classes


def test_a_class_is_two_little_endian_bytes_where_all_fit():
    content = zlib.decompress(base64.b64decode(pack([1, 258, -1])))

    assert content == b"\x01\x00\x02\x01\xff\xff"


def test_ten_thousand_answers_of_ten_classes_take_less_than_eight_kilobytes():
    answers = np.random.default_rng(0).integers(0, 10, 10_000).tolist()

    assert len(pack(answers)) < 8000


@pytest.mark.parametrize(
    ("text", "n", "words"),
    [
        ("not base64!", 3, "is no packed list of classes"),
        ("é", 3, "is no packed list of classes"),
        (base64.b64encode(b"not zlib").decode(), 3, "is no packed list of classes"),
        (pack([1, 2, 3]), 4, "does not hold 4 classes"),
        (pack([1, 2, 3]), 2, "does not hold 2 classes"),
        (pack([1, 2, 3]), -1, "is no packed list of classes"),
        (base64.b64encode(zlib.compress(b"odd")).decode(), 1, "does not hold 1 classes"),
        (base64.b64encode(zlib.compress(b"\0" * 6)[:-3]).decode(), 3, "does not hold 3 classes"),
        ("", 0, "does not hold 0 classes"),
    ],
)
def test_other_text_is_refused(text, n, words):
    with pytest.raises(ValueError, match=words):
        unpack(text, n)


def test_a_text_that_would_unpack_to_more_than_was_said_is_not_unpacked():
    huge = base64.b64encode(zlib.compress(b"\0" * 100_000_000)).decode()

    with pytest.raises(ValueError, match="does not hold 10 classes"):
        unpack(huge, 10)
