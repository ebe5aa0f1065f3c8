"""What a student is trained for: the loss of one step over all examples, put together by numpy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from distilling import CLASSES, bound, picture_net, rows_net, said, sampled
from graph_checks import shaken
from keras import layers
from scipy.special import expit, log_softmax, softmax

from slimedge.compress.distillation import distill
from slimedge.lineage import lineage_of

COUNT = 96
GENERATOR = np.random.default_rng(2)
CLASS = GENERATOR.integers(0, CLASSES, COUNT)


def first_loss(student, teachers, labels=None, **settings):
    """The loss in front of the first step, which has all examples."""
    found = distill(
        student,
        bound(student, labels, COUNT),
        teachers=teachers,
        epochs=1,
        batch_size=COUNT,
        validation=0.0,
        **settings,
    )
    (loss,) = lineage_of(found)[-1].settings["epoch_losses"]
    return loss


def outputs(model):
    return said(model, sampled(model, COUNT))


def logits(model):
    """Numbers whose softmax the model's only output is."""
    return np.log(outputs(model)[0].astype(np.float64))


def divergence(ours, theirs, temperature):
    p, q = (softmax(each / temperature, axis=-1) for each in (theirs, ours))
    return temperature**2 * np.mean(np.sum(p * np.log(p / q), axis=-1))


def of_yes_or_no(ours, theirs, temperature):
    p, q = expit(theirs / temperature), expit(ours / temperature)
    return temperature**2 * np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))


def entropy(ours, classes):
    return -np.mean(np.take_along_axis(log_softmax(ours, axis=-1), classes[..., None], axis=-1))


def of_numbers(ours, theirs):
    return np.mean((ours - theirs) ** 2) / np.mean(theirs**2)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_labels_and_a_teacher_have_their_shares(share):
    student, teacher = rows_net(4), rows_net(8)

    found = first_loss(student, teacher, CLASS, label_weight=share, temperature=2.0)

    ours, theirs = logits(student), logits(teacher)
    assert found == pytest.approx(
        share * entropy(ours, CLASS) + (1 - share) * divergence(ours, theirs, 2.0), rel=1e-4
    )


def test_without_labels_the_teacher_has_all():
    student, teacher = rows_net(4), rows_net(8)

    assert first_loss(student, teacher) == pytest.approx(
        divergence(logits(student), logits(teacher), 4.0), rel=1e-4
    )


@pytest.mark.parametrize(("weights", "shares"), [((), (0.5, 0.5)), ((1, 3), (0.25, 0.75)), ((0, 2), (0, 1))])
def test_several_teachers_have_their_weights(weights, shares):
    student, teachers = rows_net(4), [rows_net(8), rows_net(7)]

    found = first_loss(student, teachers, label_weight=0, teacher_weights=weights)

    apart = [divergence(logits(student), logits(teacher), 4.0) for teacher in teachers]
    assert found == pytest.approx(np.dot(shares, apart), rel=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_numbers_without_an_activation_are_logits_where_labels_are_classes(share):
    student, teacher = rows_net(4, activation=None), rows_net(8, activation=None)

    found = first_loss(student, teacher, CLASS, label_weight=share)

    (ours,), (theirs,) = outputs(student), outputs(teacher)
    assert found == pytest.approx(
        share * entropy(ours, CLASS) + (1 - share) * divergence(ours, theirs, 4.0), rel=1e-4
    )


def test_they_are_logits_with_a_loss_of_your_own_too():
    student, teacher = rows_net(4, activation=None), rows_net(8, activation=None)
    own = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    found = first_loss(student, teacher, CLASS, loss=own)

    (ours,), (theirs,) = outputs(student), outputs(teacher)
    assert found == pytest.approx(0.5 * entropy(ours, CLASS) + 0.5 * divergence(ours, theirs, 4.0), rel=1e-4)


def test_one_number_is_the_logit_of_yes_where_labels_are_yes_or_no():
    student, teacher = (rows_net(units, activation=None, outputs=1) for units in (4, 8))
    yes = GENERATOR.integers(0, 2, COUNT)

    found = first_loss(student, teacher, yes)

    (ours,), (theirs,) = outputs(student), outputs(teacher)
    crossed = -np.mean(np.where(yes[:, None], np.log(expit(ours)), np.log(expit(-ours))))
    assert found == pytest.approx(0.5 * crossed + 0.5 * of_yes_or_no(ours, theirs, 4.0), rel=1e-4)


def test_numbers_are_learned_as_numbers():
    student, teacher = (rows_net(units, activation=None, outputs=2) for units in (4, 8))
    targets = GENERATOR.normal(0, 1, (COUNT, 2)).astype(np.float32)

    found = first_loss(student, teacher, targets)

    (ours,), (theirs,) = outputs(student), outputs(teacher)
    assert found == pytest.approx(
        0.5 * np.mean((ours - targets) ** 2) + 0.5 * of_numbers(ours, theirs), rel=1e-4
    )


def test_several_yes_or_no_are_learned_each_for_itself():
    student, teacher = (rows_net(units, activation="sigmoid") for units in (4, 8))
    yes = GENERATOR.integers(0, 2, (COUNT, CLASSES))
    yes[0] = 1  # else these might be one-hot rows

    found = first_loss(student, teacher, yes, temperature=3.0)

    (p,), (q,) = outputs(student), outputs(teacher)
    ours, theirs = (np.log(each / (1 - each)) for each in (p, q))
    crossed = -np.mean(np.where(yes, np.log(p), np.log(1 - p)))
    assert found == pytest.approx(0.5 * crossed + 0.5 * of_yes_or_no(ours, theirs, 3.0), rel=1e-3)


def masks_net(channels):
    inputs = keras.Input((4, 4, 2), name="picture")
    x = layers.Conv2D(channels, 3, padding="same", activation="relu")(inputs)
    return shaken(keras.Model(inputs, layers.Conv2D(CLASSES, 1, activation="softmax", name="mask")(x)))


def test_each_place_of_a_mask_is_learned():
    student, teacher = masks_net(2), masks_net(4)
    classes = GENERATOR.integers(0, CLASSES, (COUNT, 4, 4))

    found = first_loss(student, teacher, classes)

    ours, theirs = logits(student), logits(teacher)
    assert found == pytest.approx(
        0.5 * entropy(ours, classes) + 0.5 * divergence(ours, theirs, 4.0), rel=1e-4
    )


def two_ended(units):
    left, right = keras.Input((3,), name="left"), keras.Input((4,), name="right")
    x = layers.Dense(units, activation="relu")(layers.Concatenate()([left, right]))
    value = layers.Dense(1, name="value")(x)
    return shaken(
        keras.Model([right, left], [value, layers.Dense(CLASSES, activation="softmax", name="class")(x)])
    )


def test_all_outputs_are_learned_and_those_with_labels_from_both():
    student, teacher = two_ended(3), two_ended(6)

    found = first_loss(student, teacher, {"class": CLASS})

    (value, ours), (taught, theirs) = outputs(student), outputs(teacher)
    ours, theirs = np.log(ours), np.log(theirs)
    soft = of_numbers(value, taught) + divergence(ours, theirs, 4.0)
    assert found == pytest.approx(0.5 * entropy(ours, CLASS) + 0.5 * soft, rel=1e-4)


def within(model, layer):
    inner = keras.Model(model.inputs, model.get_layer(layer).output)
    return np.asarray(inner([sampled(model, COUNT)["row"]]))


def test_a_hint_goes_through_a_linear_map_that_starts_at_random():
    student, teacher = rows_net(4), rows_net(8)

    found = first_loss(
        student, teacher, CLASS, label_weight=1, hints={"hidden": "hidden"}, hint_weight=0.7, seed=5
    )

    mapped = within(student, "hidden") @ np.asarray(keras.initializers.GlorotUniform(5)((4, 8)))
    expected = entropy(logits(student), CLASS) + 0.7 * of_numbers(mapped, within(teacher, "hidden"))
    assert found == pytest.approx(expected, rel=1e-4)


def test_relations_count_with_their_weight_beside_all_the_rest():
    student, teacher = rows_net(4), rows_net(8)
    given = {"label_weight": 1, "relations": {"hidden": "hidden"}}

    none, one, three = (
        first_loss(student, teacher, CLASS, **given, relation_weight=weight) for weight in (0, 1, 3)
    )

    assert none == pytest.approx(entropy(logits(student), CLASS), rel=1e-4)
    assert one > none + 1e-3
    assert three - none == pytest.approx(3 * (one - none), rel=1e-3)


def test_attention_counts_with_its_weight_and_looks_at_maps_of_any_size():
    student, teacher = picture_net(3, strides=2), picture_net(4)
    given = {"label_weight": 1, "attention": {"late": "late"}}

    none, one, three = (
        first_loss(student, teacher, CLASS, **given, attention_weight=weight) for weight in (0, 1, 3)
    )

    assert one > none + 1e-3
    assert three - none == pytest.approx(3 * (one - none), rel=1e-3)


def test_each_pair_takes_the_first_teacher_that_has_the_layer():
    student, one = rows_net(4), rows_net(8)
    inputs = keras.Input((6,), name="row")
    inner = layers.Dense(5, activation="relu", name="other")(inputs)
    two = shaken(keras.Model(inputs, layers.Dense(CLASSES, activation="softmax", name="said")(inner)))

    found = first_loss(
        student, [one, two], CLASS, label_weight=1, hints={"hidden": "other", "said": "hidden"}
    )

    first, second = (
        np.asarray(keras.initializers.GlorotUniform(seed)(shape))
        for seed, shape in ((0, (4, 5)), (1, (3, 8)))
    )
    hints = of_numbers(within(student, "hidden") @ first, within(two, "other"))
    hints += of_numbers(outputs(student)[0] @ second, within(one, "hidden"))
    assert found == pytest.approx(entropy(logits(student), CLASS) + hints, rel=1e-4)
