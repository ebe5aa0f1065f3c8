"""Data from a tf.data.Dataset: batched or not, read once, named, and ended."""

from __future__ import annotations

import numpy as np
import pytest
from reading import IMAGES, LABELS, refusal

from slimedge.data import Data


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


@pytest.fixture
def pairs(tf):
    return tf.data.Dataset.from_tensor_slices((IMAGES[..., np.newaxis], LABELS))


def test_whether_a_dataset_is_batched_is_found_out(pairs):
    for dataset in (pairs, pairs.batch(5), pairs.batch(4, drop_remainder=True)):
        inputs, labels = Data.load(dataset).arrays()
        assert np.array_equal(inputs["x"][..., 0], IMAGES)
        assert labels.tolist() == LABELS.tolist()
    alone = pairs.map(lambda image, _: image)
    for dataset in (alone, alone.batch(5), alone.batch(4, drop_remainder=True)):
        assert Data.load(dataset).arrays()[0]["x"].shape == (12, 28, 28, 1)
    table = pairs.map(lambda image, label: (image[0, :3, 0], label)).batch(4, drop_remainder=True)
    assert len(Data.load(table)) == 12


def test_an_example_of_unknown_height_is_no_batch(tf):
    spec = (tf.TensorSpec((None, 28, 1), tf.uint8), tf.TensorSpec((3,), tf.float32))
    examples = zip(IMAGES[..., np.newaxis], np.eye(3, dtype=np.float32)[LABELS], strict=True)
    dataset = tf.data.Dataset.from_generator(lambda: examples, output_signature=spec)

    inputs, labels = Data.load(dataset).arrays()

    assert np.array_equal(inputs["x"][..., 0], IMAGES)
    assert labels.tolist() == LABELS.tolist()


def test_a_dataset_that_shuffles_anew_is_read_once(pairs):
    data = Data.load(pairs.shuffle(12, reshuffle_each_iteration=True).batch(4))

    first, _ = data.arrays()
    second, labels = data.arrays()

    assert np.array_equal(first["x"], second["x"])
    order = [int(np.flatnonzero((image[..., 0] == IMAGES).all(axis=(1, 2)))[0]) for image in first["x"]]
    assert sorted(order) == list(range(12))
    assert labels.tolist() == LABELS[order].tolist()


def test_a_dataset_of_named_inputs_and_outputs_keeps_the_names(pairs):
    named = pairs.map(lambda image, label: ({"image": image, "row": image[0, :, 0]}, {"kind": label})).batch(
        5
    )

    data = Data.load(named)

    assert data.input_names == ("image", "row")
    assert data.targets["kind"].tolist() == LABELS.tolist()


def test_an_endless_dataset_needs_a_limit(pairs):
    assert "repeats for ever; take .repeat() out, or say how many" in refusal(pairs.repeat())
    data = Data.load(pairs.repeat(), limit=20)
    assert len(data) == 20
    assert data.notices == (
        "the tf.data.Dataset goes on; its first 20 examples are used (limit= takes another number).",
    )


def test_a_dataset_of_unknown_length_is_capped_and_says_so(pairs, monkeypatch):
    unknown = pairs.filter(lambda _, label: label < 2)
    assert len(Data.load(unknown.batch(3))) == 8
    assert Data.load(unknown.batch(3)).notices == ()

    monkeypatch.setattr("slimedge.readers.tf_dataset.DEFAULT_LIMIT", 5)
    capped = Data.load(unknown.batch(3))
    assert len(capped) == 5
    assert "its first 5 examples are used" in capped.notices[0]


def test_a_dataset_s_mistakes_become_one_sentence(tf, pairs):
    def broken():
        yield np.zeros(3, np.float32)
        raise ValueError("the disk is on fire")

    def ragged():
        yield np.zeros((2, 3), np.float32)
        yield np.zeros((4, 3), np.float32)

    some = tf.data.Dataset
    shape = tf.TensorSpec((None, 3), tf.float32)
    assert (
        "failed while it was read, with InvalidArgumentError: ValueError: the disk is on fire; make"
        in refusal(some.from_generator(broken, output_signature=tf.TensorSpec(3, tf.float32)))
    )
    assert "with InvalidArgumentError: Cannot batch tensors with different shapes" in refusal(
        some.from_generator(ragged, output_signature=shape), batched=False
    )
    assert "does not tell its shapes" in refusal(
        some.from_generator(ragged, output_signature=tf.TensorSpec(None, tf.float32))
    )
    assert "is of type string; map it to numbers" in refusal(some.from_tensor_slices(["a"]))
    assert "is a RaggedTensorSpec, and dense tensors" in refusal(
        some.from_tensor_slices(tf.ragged.constant([[1], [2, 3]]))
    )
    assert "gives tuples of 3" in refusal(pairs.map(lambda image, label: (image, label, label)))
    assert "the data holds no examples" in refusal(pairs.take(0))
