"""Data is one type whatever it came from: split without overlap, drawn by seed, bound to a model's inputs."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter

import numpy as np
import pytest
from pictures import FASHION_MNIST, HOW_TO_GET_IT, classes, pictures

from slimedge.artifact import TensorSpec
from slimedge.data import Data
from slimedge.errors import InputError
from slimedge.splitting import drawing_order, shuffled

IMAGE = TensorSpec("image", (None, 28, 28, 1), "float32")


def numbered(n: int, count: int = 3) -> Data:
    """Give data whose examples are their own row numbers."""
    return Data.load((np.arange(n, dtype=np.float32)[:, None], classes(n, count)))


def rows(data: Data) -> list[int]:
    return data.arrays()[0]["x"][:, 0].astype(int).tolist()


# ---- splitting ----


def test_a_split_shares_no_example_and_loses_none():
    splits = numbered(100).split(seed=3, calibration=20, evaluation=0.3)

    parts = [rows(splits.calibration), rows(splits.training), rows(splits.evaluation)]
    assert [len(part) for part in parts] == [20, 50, 30]
    assert sorted(itertools.chain(*parts)) == list(range(100))


def test_the_same_seed_gives_the_same_split_on_every_machine():
    # Written down once: a change here would change every user's calibration set.
    assert shuffled(10, seed=0).tolist() == [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]
    assert rows(numbered(100).take(5, seed=1)) == rows(numbered(100).take(5, seed=1))
    assert rows(numbered(100).take(5, seed=1)) != rows(numbered(100).take(5, seed=2))


def test_every_part_has_its_share_of_each_class():
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    splits = Data.load((np.zeros((1000, 1), np.float32), labels)).split(calibration=100, evaluation=0.2)

    assert Counter(splits.calibration.labels.tolist()) == {0: 60, 1: 30, 2: 10}
    assert Counter(splits.evaluation.labels.tolist()) == {0: 120, 1: 60, 2: 20}
    assert Counter(splits.training.labels.tolist()) == {0: 420, 1: 210, 2: 70}


def test_every_beginning_of_the_drawing_order_has_nearly_the_right_shares():
    labels = np.repeat(np.arange(7), [11, 23, 5, 40, 2, 17, 9])
    order = drawing_order(107, labels, (5,))

    assert sorted(order) == list(range(107))
    for n in range(1, 108):
        drawn = np.bincount(labels[order[:n]], minlength=7)
        assert (np.abs(drawn - n * np.bincount(labels) / 107) < 1.5).all()


def test_two_runs_of_one_seed_do_not_calibrate_on_what_the_other_measures():
    data = numbered(300)
    small = data.split(seed=4, calibration=100, evaluation=40)
    large = data.split(seed=4, calibration=20, evaluation=0.5)

    assert set(rows(small.evaluation)) < set(rows(large.evaluation))
    assert set(rows(large.calibration)) < set(rows(small.calibration))
    assert not set(rows(large.evaluation)) & set(rows(small.calibration))


def test_without_classes_examples_are_drawn_at_random():
    data = Data.load((np.arange(50, dtype=np.float32)[:, None], np.linspace(0, 1, 50, dtype=np.float32)))

    drawn = rows(data.take(20))
    assert len(set(drawn)) == 20
    assert drawn != sorted(drawn)


def test_given_parts_are_honoured():
    train = (np.arange(40, dtype=np.float32)[:, None], classes(40))
    test = (np.arange(100, 120, dtype=np.float32)[:, None], classes(20))

    splits = Data.load((train, test)).split(calibration=10)

    assert sorted(rows(splits.calibration) + rows(splits.training)) == list(range(40))
    assert rows(splits.evaluation) == list(range(100, 120))


def test_a_part_of_a_part_of_the_data_still_knows_where_it_comes_from():
    pair = (np.arange(40, dtype=np.float32)[:, None], classes(40))
    half = Data.load((pair, pair)).take(0.5)

    splits = half.split(calibration=5, evaluation=5)

    assert len(splits.calibration) == len(splits.evaluation) == 5
    assert (splits.calibration.indices < 40).all()
    assert (splits.evaluation.indices >= 40).all()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"calibration": 101}, "calibration=101 asks for more examples than there are, 100; ask for at most"),
        (
            {"calibration": 90, "evaluation": 20},
            "calibration asks for 90 examples and evaluation leaves 80; ask",
        ),
        (
            {"calibration": 50, "evaluation": 0.3, "training": 30},
            "training asks for 30 examples and calibration and",
        ),
        (
            {"evaluation": 1.5},
            "evaluation=1.5 is not allowed: give a count (an integer from 0) or a fraction",
        ),
        ({"evaluation": -1}, "evaluation=-1 is not allowed"),
        ({"evaluation": True}, "evaluation=True is not allowed"),
        ({"seed": -1}, "seed=-1 is not allowed; give an integer from 0"),
        ({"seed": "a"}, "seed='a' is not allowed"),
    ],
)
def test_a_split_that_cannot_be_says_so(asked, message):
    with pytest.raises(InputError) as caught:
        numbered(100).split(**asked)

    assert str(caught.value).startswith(message)


def test_a_fraction_of_something_is_at_least_one_example():
    splits = numbered(10).split(calibration=0.01, evaluation=0.04)

    assert (len(splits.calibration), len(splits.evaluation), len(splits.training)) == (1, 1, 8)


def test_more_examples_than_there_are_cannot_be_taken():
    with pytest.raises(
        InputError, match=r"n=11 asks for more examples than there are, 10; ask for at most that"
    ):
        numbered(10).take(11)


# ---- reading ----


def test_batches_give_the_examples_in_order_and_the_last_may_be_smaller():
    batches = list(numbered(7).batches(3))

    assert [inputs["x"][:, 0].tolist() for inputs, _ in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [labels.tolist() for _, labels in batches] == [[0, 1, 2], [0, 1, 2], [0]]


def test_batches_of_nothing_are_refused():
    with pytest.raises(InputError, match="batch_size=0 is not allowed; give 1 or more"):
        numbered(7).batches(0)


def test_what_is_read_can_be_changed_without_changing_the_data():
    data = numbered(4)
    inputs, labels = data.arrays()
    inputs["x"][:], labels[:] = -1, -1

    assert rows(data) == [0, 1, 2, 3]
    assert data.labels.tolist() == [0, 1, 2, 0]
    with pytest.raises(AttributeError):
        data.indices = np.arange(2)
    with pytest.raises(ValueError, match="read-only"):
        data.indices[0] = 3


def test_data_goes_without_labels():
    data = Data.load(np.zeros((3, 2), np.float32))

    assert data.labels is None
    assert data.labels_for([TensorSpec("out", (None, 2), "float32")]) == {}
    assert repr(data) == "Data(3 examples; x (2,) float32; no labels)"


def test_labels_may_come_beside_the_inputs_or_by_output_name():
    outputs = [TensorSpec("kind", (None, 3), "float32"), TensorSpec("age", (None, 1), "float32")]
    x = np.zeros((6, 2), np.float32)

    assert Data.load(x, labels=classes(6)).labels.tolist() == [0, 1, 2, 0, 1, 2]
    data = Data.load(x, labels={"kind": classes(6), "age": np.arange(6) / 2}).take(4, seed=1)
    found = data.labels_for(outputs)
    assert data.labels is None
    assert found["kind"].tolist() == classes(6)[data.indices].tolist()
    assert found["age"].tolist() == (data.indices / 2)[:, None].tolist()
    with pytest.raises(InputError, match="labels were given twice"):
        Data.load((x, classes(6)), labels=classes(6))
    with pytest.raises(InputError, match="the data has 6 examples and 5 labels"):
        Data.load(x, labels=classes(5))


def test_data_is_loaded_from_data():
    data = numbered(3)

    assert Data.load(data) is data


# ---- fingerprint ----


def test_the_fingerprint_is_of_the_content_and_not_of_the_way_it_came(tmp_path):
    images, labels = pictures(20), classes(20)
    np.savez_compressed(tmp_path / "a.npz", image=images, y=labels)

    from_file = Data.load(tmp_path / "a.npz", scale="1/255").bind([IMAGE])
    from_arrays = Data.load((images[..., np.newaxis] / np.float32(255), labels)).bind([IMAGE])

    assert from_file.fingerprint == from_arrays.fingerprint
    assert len(from_file.fingerprint) == len(hashlib.sha256().hexdigest())


def test_the_fingerprint_changes_with_a_value_a_label_the_order_and_the_count():
    x, y = np.arange(12, dtype=np.float32).reshape(6, 2), classes(6)
    other_x, other_y = x.copy(), y.copy()
    other_x[5, 1] += 1e-6 * 11
    other_y[0] = 1

    variants = [(x, y), (other_x, y), (x, other_y), (x[::-1], y), (x[:5], y[:5]), (x.reshape(6, 2, 1), y), x]

    assert len({Data.load(variant).fingerprint for variant in variants}) == len(variants)


# ---- binding ----


def test_bound_data_has_the_model_s_names_shape_type_and_scale():
    images = pictures(10)
    data = Data.load(images, scale=1 / 255).bind([IMAGE])

    inputs, _ = data.arrays()
    assert data.input_names == ("image",)
    assert inputs["image"].shape == (10, 28, 28, 1)
    assert inputs["image"].dtype == np.float32
    # Exactly what x / 255 gives, not one unit in the last place beside it.
    assert np.array_equal(inputs["image"][..., 0], images.astype(np.float32) / 255)


def test_inputs_are_matched_by_name_whatever_their_order():
    a, b = np.arange(8, dtype=np.float32).reshape(4, 2), np.arange(4, dtype=np.int64)[:, None]
    specs = [TensorSpec("a", (None, 2), "float32"), TensorSpec("b", (None, 1), "int32")]

    inputs, _ = Data.load({"b": b, "a": a}).bind(specs).arrays()

    assert list(inputs) == ["a", "b"]
    assert np.array_equal(inputs["a"], a)
    assert inputs["b"].dtype == np.int32


def test_a_scale_by_input_leaves_the_others_alone():
    specs = [TensorSpec("a", (None, 2), "float32"), TensorSpec("b", (None, 2), "float32")]
    x = np.arange(8, dtype=np.float32).reshape(4, 2)

    inputs, _ = Data.load({"a": x, "b": x}, scale="a=1/4").bind(specs).arrays()

    assert np.array_equal(inputs["a"], x / 4)
    assert np.array_equal(inputs["b"], x)
    with pytest.raises(
        InputError, match=r"one scale was given for 2 inputs; say for which, as --scale a=0\.5"
    ):
        Data.load({"a": x, "b": x}, scale=0.5).bind(specs)
    with pytest.raises(InputError, match="there is a scale for 'c', which is no input; the inputs are a, b"):
        Data.load({"a": x, "b": x}, scale={"c": 0.5}).bind(specs)


@pytest.mark.parametrize("scale", ["1/0", "x", "-1", 0, float("nan"), "1/2/3", [1]])
def test_a_scale_that_is_none_says_so(scale):
    with pytest.raises(InputError, match=r"is not allowed; give a number above 0 as 0\.0039 or 1/255"):
        Data.load(np.zeros((1, 1), np.float32), scale=scale)


def test_data_knows_whether_it_is_bound():
    x = np.arange(12, dtype=np.float32).reshape(3, 4)

    assert not Data.load(x).is_bound
    assert Data.load(x).bind([TensorSpec("in", (None, 4), "float32")]).is_bound
    assert Data.load(x).bind([TensorSpec("in", (None, None), "float32")]).take(2).is_bound


def test_binding_again_starts_from_the_source():
    images = pictures(10)
    flat = TensorSpec("flat", (None, 784), "float32")

    inputs, _ = Data.load(images, scale=1 / 255).bind([IMAGE]).bind([flat]).arrays()

    assert np.array_equal(inputs["flat"], images.reshape(10, 784).astype(np.float32) / 255)


def test_binding_checks_the_labels_when_it_is_given_the_outputs():
    data = Data.load((np.arange(8, dtype=np.float32).reshape(4, 2), np.array([0, 1, 2, 3])))

    with pytest.raises(InputError, match="the labels go from 0 to 3, and output 'out' has 3 classes"):
        data.bind([TensorSpec("in", (None, 2), "float32")], outputs=[TensorSpec("out", (None, 3), "float32")])


def test_an_unknown_kind_of_checks_is_refused():
    with pytest.raises(InputError, match="checks='loose' is not allowed; give 'strict' or 'types'"):
        numbered(3).bind([TensorSpec("in", (None, 1), "float32")], checks="loose")


# ---- the full set ----


@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason=HOW_TO_GET_IT)
def test_fashion_mnist_is_read_split_and_bound():
    splits = Data.load(FASHION_MNIST).split(seed=0, calibration=1000)
    data = splits.calibration.bind([IMAGE])
    inputs, labels = data.arrays()

    assert (len(splits.training), len(splits.evaluation)) == (59_000, 10_000)
    assert np.bincount(labels).tolist() == [100] * 10
    assert (inputs["image"].min(), inputs["image"].max()) == (0.0, 1.0)
    assert splits.evaluation.labels[:8].tolist() == [9, 2, 1, 1, 6, 1, 4, 6]
    assert "scaled by 1/255" in data.notices[0]
