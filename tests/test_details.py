"""What lies behind a comparison is counted from raw samples and answers."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from slimedge.benchmarks.accuracy import Task
from slimedge.benchmarks.details.answers import Answers, class_names, read_answers
from slimedge.benchmarks.details.classes import ClassChange, Confusion, class_changes
from slimedge.benchmarks.details.distribution import distributions
from slimedge.benchmarks.details.flips import Turn, flips, with_pictures
from slimedge.benchmarks.details.pictures import COLOURS, LONGEST, as_bytes, data_uri, is_picture

GENERATOR = np.random.default_rng(11)
NAMES = ("cat", "dog", "owl")


def given(classes, sureness=None):
    classes = np.array(classes)
    return Answers(classes, np.full(len(classes), 0.9) if sureness is None else np.array(sureness, float))


def decoded(uri):
    head, _, content = uri.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_every_sample_is_counted_once_in_bins_at_equal_ratios():
    samples = {
        "a": GENERATOR.lognormal(-9, 0.2, 5000).tolist(),
        "b": GENERATOR.lognormal(-8, 0.1, 400).tolist(),
    }

    found = distributions(samples, bins=20)

    assert found["a"].edges_s == found["b"].edges_s
    edges = np.array(found["a"].edges_s)
    np.testing.assert_allclose(edges[1:] / edges[:-1], edges[1] / edges[0])
    for name, values in samples.items():
        told, array = found[name], np.array(values)
        assert told.n == len(values) == sum(told.counts) + told.above
        assert told.above == np.sum(array > edges[-1])
        assert told.counts[7] == np.sum((array >= edges[7]) & (array < edges[8]))
        assert told.p50_s == pytest.approx(np.median(array))
        assert told.p90_s == pytest.approx(np.quantile(array, 0.9))


def test_a_few_interrupted_runs_are_told_and_do_not_shrink_the_others():
    found = distributions({"a": [1e-3] * 300 + [2e-3] * 699 + [5.0]})["a"]

    assert found.above == 1
    assert found.edges_s[-1] < 2.1e-3


def test_equal_samples_and_samples_of_a_clock_that_stood_still_have_a_place():
    found = distributions({"a": [1e-3] * 5, "none": []})

    assert sum(found["a"].counts) == 5
    assert set(found) == {"a"}
    assert sum(distributions({"a": [0.0, 0.0]})["a"].counts) == 2


def test_class_scores_that_are_no_probabilities_go_through_softmax():
    scores = np.array([[2.0, 0.0, -1.0], [0.0, 0.0, 5.0]])

    found = read_answers(scores, Task.CLASSES)

    powers = np.exp(scores)
    np.testing.assert_allclose(found.sureness, (powers / powers.sum(1, keepdims=True)).max(1))
    assert found.classes.tolist() == [0, 2]


def test_probabilities_stay_as_they_are_though_rounding_took_some():
    found = read_answers(np.array([[0.7421875, 0.25, 0.0]]), Task.CLASSES)

    assert found.sureness.tolist() == [0.7421875]


@pytest.mark.parametrize(
    ("task", "outputs", "classes", "sureness"),
    [
        (Task.PROBABILITY, [[0.8], [0.3]], [1, 0], [0.8, 0.7]),
        (Task.LOGIT, [[0.0], [np.log(3.0)], [-1000.0]], [1, 1, 0], [0.5, 0.75, 1.0]),
        (Task.CLASSES, [[0.1, 0.9], [np.nan, 0.5]], [1, -1], [0.9, 0.0]),
    ],
)
def test_an_answer_is_as_sure_as_its_probability(task, outputs, classes, sureness):
    found = read_answers(np.array(outputs), task)

    assert found.classes.tolist() == classes
    np.testing.assert_allclose(found.sureness, sureness)


def test_numbers_are_no_answers():
    assert read_answers(np.ones((3, 2)), Task.VALUES) is None


def test_classes_without_a_name_each_are_numbered():
    assert class_names(NAMES, 3) == NAMES
    assert class_names(NAMES, 2) == class_names((), 2) == ("class 0", "class 1")


def test_the_class_that_lost_most_comes_first_and_one_without_examples_is_left_out():
    truth = np.array([0, 0, 0, 0, 1, 1])
    before = np.array([0, 0, 0, 1, 0, 1])
    after = np.array([0, 1, 2, 1, 1, 1])

    found = class_changes(truth, before, after, NAMES)

    assert found.classes == (ClassChange("cat", 4, 3, 1), ClassChange("dog", 2, 1, 2))
    assert [each.change for each in found.classes] == [-2, 1]
    assert found.confusions == (
        Confusion("cat", "dog", 1, 2),
        Confusion("cat", "owl", 0, 1),
        Confusion("dog", "cat", 1, 0),
    )


def test_counts_of_classes_and_confusions_are_those_of_a_confusion_matrix():
    truth, before, after = GENERATOR.integers(0, 7, (3, 2000))
    names = [str(i) for i in range(7)]

    found = class_changes(truth, before, after, names, most=1000)

    tables = []
    for answers in (before, after):
        table = np.zeros((7, 7), int)
        np.add.at(table, (truth, answers), 1)
        tables.append(table)
    for each in found.classes:
        label = int(each.name)
        assert (each.before, each.after) == (tables[0][label, label], tables[1][label, label])
        assert each.n == tables[0][label].sum()
    for each in found.confusions:
        pair = int(each.truth), int(each.taken_for)
        assert pair[0] != pair[1]
        assert (each.before, each.after) == (tables[0][pair], tables[1][pair])
    moved = [each.after - each.before for each in found.confusions]
    assert moved == sorted(moved, reverse=True)
    differs = (tables[0] != tables[1]) & ~np.eye(7, dtype=bool)
    assert len(moved) == differs.sum()


def test_the_largest_moves_are_kept_in_either_direction():
    truth = np.zeros(10, int)
    before = np.array([1] * 6 + [0] * 4)
    after = np.array([0] * 6 + [2, 0, 0, 0])

    (only,) = class_changes(truth, before, after, NAMES, most=1).confusions

    assert only == Confusion("cat", "dog", 6, 0)


def test_no_answer_is_wrong_and_no_confusion():
    found = class_changes(np.array([0, 0]), np.array([0, 0]), np.array([-1, 0]), NAMES)

    assert found.classes == (ClassChange("cat", 2, 2, 1),)
    assert found.confusions == ()


def test_lost_answers_come_first_then_gained_then_wrong_ones_the_surest_first():
    truth = np.array([0, 0, 0, 0, 0, 0])
    before = given([0, 0, 1, 1, 1, 0])
    after = given([1, 2, 0, 2, 1, 0], [0.6, 0.8, 0.99, 0.95, 0.9, 0.9])

    found = flips(before, after, truth, NAMES)

    assert [(flip.turn, flip.position) for flip in found.shown] == [
        (Turn.LOST, 1),
        (Turn.LOST, 0),
        (Turn.GAINED, 2),
        (Turn.WRONG, 3),
    ]
    assert found.counts == {Turn.LOST: 2, Turn.GAINED: 1, Turn.WRONG: 1}
    assert found.of == 6
    first = found.shown[0]
    assert (first.truth, first.before, first.after) == ("cat", "cat", "owl")
    assert (first.before_sure, first.after_sure) == (0.9, 0.8)


def test_without_labels_an_answer_has_only_changed():
    found = flips(given([0, 1]), given([2, 1]), None, NAMES)

    assert found.counts == {Turn.CHANGED: 1}
    assert found.shown[0].truth is None


def test_so_many_are_shown_and_all_are_counted():
    found = flips(given([0] * 40), given([1] * 39 + [-1]), np.zeros(40, int), NAMES)

    assert len(found.shown) == 24
    assert found.counts == {Turn.LOST: 40}
    assert flips(given([0]), given([-1]), None, NAMES).shown[0].after == "no answer"


def test_pictures_go_to_their_positions():
    found = flips(given([0, 0]), given([1, 1], [0.5, 0.6]), np.zeros(2, int), NAMES)

    assert [flip.picture for flip in with_pictures(found, {0: "data:,"}).shown] == [None, "data:,"]


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
@pytest.mark.parametrize("most", [1.0, 255.0])
def test_pixels_come_back_from_the_png(channels, most):
    pixels = GENERATOR.integers(0, 2, (2, 6, 5, *channels)) * 255

    found = as_bytes(pixels / 255 * most)

    assert is_picture(pixels.shape[1:])
    np.testing.assert_array_equal(found, pixels)
    again = np.asarray(decoded(data_uri(found[0])).convert("RGB"))
    np.testing.assert_array_equal(again, np.broadcast_to(pixels[0].reshape(6, 5, -1), (6, 5, 3)))


def test_pixels_around_zero_are_shifted_and_other_numbers_are_no_picture():
    assert as_bytes(np.array([[[-1.0, 0.0, 1.0]]])).tolist() == [[[0, 128, 255]]]
    assert as_bytes(np.full((1, 4, 4), 300.0)) is None
    assert as_bytes(np.full((1, 4, 4), np.nan)) is None
    assert as_bytes(np.full((1, 4, 4), -3.0)) is None
    assert as_bytes(np.zeros((0, 4, 4))) is None


def test_a_large_picture_becomes_a_small_one_with_few_colours():
    content = data_uri(GENERATOR.integers(0, 256, (200, 100, 3)).astype(np.uint8))

    picture = decoded(content)
    assert picture.size == (LONGEST // 2, LONGEST)
    assert len(picture.convert("RGB").getcolors()) <= COLOURS
    assert len(content) < 4000


@pytest.mark.parametrize("shape", [(28,), (28, 28, 4), (3, 28, 28), (2, 28, 1), (4, 4, 4, 3)])
def test_what_is_no_picture_is_told(shape):
    assert not is_picture(shape)
