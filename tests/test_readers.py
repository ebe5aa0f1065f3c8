"""Every reader gives the same examples for the same pictures, and refuses what is no data in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
from pictures import write_idx
from reading import IMAGES, LABELS, MODEL, WAYS, as_csv, refusal

from slimedge.artifact import TensorSpec
from slimedge.data import Data
from slimedge.readers import READERS


@pytest.mark.parametrize("way", WAYS)
def test_every_reader_gives_the_same_pictures(way, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = [TensorSpec("image", (None, 784), "float32")] if way is as_csv else MODEL
    source, options = way(tmp_path)

    inputs, labels = Data.load(source, **options).bind(model).arrays()

    assert np.array_equal(inputs["image"].reshape(12, 28, 28), IMAGES.astype(np.float32) / 255)
    assert labels.tolist() == LABELS.tolist()
    assert labels.dtype == np.int64


def test_every_registered_reader_is_there():
    for name, reader in READERS.items():
        assert not reader().knows(object()), name


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.npz", "there is no nowhere.npz; give an .npz file, an IDX folder"),
        (3, "data cannot be read from an object of type int; give an .npz file"),
        ([[1, 2], [3]], "'x' is a list that does not make one array"),
        ((1, 2, 3), "the data is a tuple of 3, and a tuple is read as (inputs, labels)"),
        ({"y": np.zeros(3)}, "the data holds no inputs, only labels"),
        ({"a": np.zeros((3, 1)), "b": np.zeros((4, 1))}, "the inputs of the data differ in their number"),
        ((np.zeros((3, 1)), np.zeros(4)), "the data has 3 examples and 4 labels"),
        (np.float32(1), "'x' of the data is a single number"),
    ],
)
def test_what_is_no_data_is_refused(source, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refusal(source).startswith(message)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("hello")

    assert "cannot be read from" in refusal(tmp_path / "a.txt")


def test_an_option_that_says_nothing_is_refused_rather_than_ignored(tmp_path):
    write_idx(tmp_path, "train", IMAGES, LABELS)

    assert refusal(tmp_path, labels="y").startswith("labels='y' does not go with")
    assert refusal(IMAGES, part="train").startswith("part='train' does not go with the data")
    assert refusal(IMAGES, image_size="big").startswith(
        "image_size='big' is not allowed; give height and width"
    )
    assert refusal(IMAGES, limit=0).startswith("limit=0 is not allowed")
