"""Pictures that every reader is given, and the sentence with which one refuses a source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import classes, pictures, write_idx
from refusals import refusal_of

from slimedge.artifact import TensorSpec
from slimedge.data import Data

IMAGES, LABELS = pictures(12), classes(12)
MODEL = [TensorSpec("image", (None, 28, 28, 1), "float32")]


def as_npz(folder: Path):
    np.savez_compressed(folder / "a.npz", image=IMAGES, y=LABELS)
    return folder / "a.npz", {"scale": "1/255"}


def as_idx(folder: Path):
    return write_idx(folder / "idx", "train", IMAGES, LABELS), {}


def as_plain_idx(folder: Path):
    return write_idx(folder / "idx", "t10k", IMAGES, LABELS, packed=False), {}


def as_csv(folder: Path):
    lines = [",".join(map(str, [*row.ravel(), label])) for row, label in zip(IMAGES, LABELS, strict=True)]
    header = ",".join([*(f"p{i}" for i in range(784)), "label"])
    (folder / "a.csv").write_text("\n".join([header, *lines]))
    return folder / "a.csv", {"scale": 1 / 255}


def as_function(folder: Path):
    (folder / "my_pictures.py").write_text(
        "from pictures import classes, pictures, write_idx\ndef give():\n    return pictures(12), classes(12)\n"
    )
    return "my_pictures:give", {"scale": 1 / 255}


def as_pair(_: Path):
    return (IMAGES, LABELS), {"scale": 1 / 255}


def as_dict(_: Path):
    return {"image": IMAGES.astype(np.float32) / 255, "y": LABELS}, {}


def as_dataset(_: Path):
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(5), {"scale": 1 / 255}


WAYS = [as_npz, as_idx, as_plain_idx, as_csv, as_function, as_pair, as_dict, as_dataset]


def bound(source, options) -> Data:
    data = Data.load(source, **options)
    shape = data.source.columns[data.input_names[0]].shape
    return data.bind([TensorSpec("in", (None, *shape), "float32")])


def refusal(source, **options) -> str:
    """Give the message with which a source is refused; it is one sentence."""
    return refusal_of(bound, source, options)
