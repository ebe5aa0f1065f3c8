"""Folders of IDX files: two parts, gzip or plain, and files that are damaged or lie."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from pictures import idx, write_idx
from reading import IMAGES, LABELS, refusal

from slimedge.data import Data


def test_train_and_t10k_are_two_parts(tmp_path):
    write_idx(tmp_path, "train", IMAGES, LABELS)
    write_idx(tmp_path, "t10k", IMAGES[:5], LABELS[:5])

    splits = Data.load(tmp_path).split(calibration=4)

    assert (len(splits.calibration), len(splits.training), len(splits.evaluation)) == (4, 8, 5)
    assert np.array_equal(splits.evaluation.arrays()[0]["x"], IMAGES[:5])
    assert len(Data.load(tmp_path, part="train")) == 12


HEAD = struct.pack(">4B3I", 0, 0, 8, 3, 12, 28, 28)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is no IDX file: it does not begin with the magic number"),
        (b"hello, world", "is no IDX file: it does not begin with the magic number"),
        (HEAD[:9], "is cut short within its header"),
        (HEAD + IMAGES.tobytes()[:-1], "it promises 9,408 bytes of data and holds 9,407"),
        (HEAD + IMAGES.tobytes() + b"!", "holds more than the 9,408 bytes that its header promises"),
        (struct.pack(">4B3I", 0, 0, 8, 3, 2**31, 2**15, 28), "bytes of data, and"),
        (
            struct.pack(">4B3I", 0, 0, 0x0D, 3, 1, 1, 1),
            "holds numbers of IDX type 0x0d, and only unsigned bytes",
        ),
        (idx(LABELS.astype(np.uint8)), "has 1 axes, and images have 3"),
    ],
)
def test_a_damaged_idx_file_is_refused(tmp_path, body, message):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(body))

    assert message in refusal(tmp_path)


def test_a_gzip_bomb_is_read_no_further_than_its_header_promises(tmp_path, monkeypatch):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(HEAD + bytes(20_000_000)))
    taken = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, n: taken.append(n) or read(self, n))

    assert "holds more than the 9,408 bytes" in refusal(tmp_path)
    assert sum(taken) < 10_000


@pytest.mark.parametrize("share", [0.25, 0.9])
def test_a_truncated_gzip_is_refused(tmp_path, share):
    packed = gzip.compress(HEAD + IMAGES.tobytes())
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(packed[: int(share * len(packed))])

    assert "is damaged or cut short" in refusal(tmp_path)


def test_a_plain_idx_file_whose_length_is_not_what_it_says_is_refused(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(HEAD + IMAGES.tobytes()[:-5])

    assert "its header promises 9,408 bytes and there are 9,403" in refusal(tmp_path)


def test_idx_labels_that_do_not_count_the_images_are_refused(tmp_path):
    write_idx(tmp_path, "train", IMAGES, LABELS[:-1])

    assert "has 12 examples and 11 labels" in refusal(tmp_path)


def test_two_data_sets_in_one_folder_are_refused(tmp_path):
    write_idx(tmp_path, "emnist-letters-train", IMAGES, LABELS)
    write_idx(tmp_path, "emnist-digits-train", IMAGES, LABELS)

    assert "holds 2 data sets (emnist-digits-, emnist-letters-)" in refusal(tmp_path)
