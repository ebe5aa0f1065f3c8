"""Distillation: students come close to their teachers, alone, as they were, and the same each time."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from distilling import CLASSES, bound, numbers, off, picture_net, rows_net, said, same, sampled
from graph_checks import shaken
from keras import layers

from slimedge.artifact import Step
from slimedge.compress.distillation import Distill, distill
from slimedge.compress.quantization import quantize
from slimedge.keras_file import input_specs, load_model, output_specs, save_model
from slimedge.lineage import lineage_of, with_lineage

QUICK = {"epochs": 3, "batch_size": 8, "learning_rate": 2e-2, "validation": 0.0}


def tokens_net(units):
    inputs = keras.Input((7,), dtype="int32", name="tokens")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(10, units)(inputs))
    return shaken(keras.Model(inputs, layers.Dense(2, activation="softmax", name="said")(x)))


NETS = {
    "classes": rows_net,
    "logits": lambda units: rows_net(units, activation=None),
    "numbers": lambda units: rows_net(units, activation=None, outputs=1),
    "flags": lambda units: rows_net(units, activation="sigmoid"),
    "tokens": tokens_net,
    "pictures": picture_net,
}


@pytest.mark.parametrize("name", NETS)
def test_a_student_comes_close_to_its_teacher_without_labels(name):
    teacher, student = NETS[name](8), NETS[name](4)
    before = [numbers(model) for model in (teacher, student)]

    found = distill(student, bound(student), teachers=teacher, **QUICK)

    assert off(found, teacher) < 0.5 * off(student, teacher)
    assert input_specs(found) == input_specs(student)
    assert output_specs(found) == output_specs(student)
    assert [layer.name for layer in found.layers] == [layer.name for layer in student.layers]
    for weights, model in zip(before, (teacher, student), strict=True):
        assert all(map(np.array_equal, weights, numbers(model)))


def test_only_the_student_comes_back_and_is_written(tmp_path):
    teacher, student = picture_net(8), picture_net(4, strides=2)
    data = bound(student, np.arange(96) % CLASSES)
    pairs = {
        "hints": {"late": "late", "pooled": "pooled"},
        "attention": {"late": "late"},
        "relations": {"pooled": "pooled", "late": "late"},
    }

    found = distill(student, data, teachers=teacher, **pairs, **QUICK)

    assert found.name == student.name
    assert [layer.name for layer in found.layers] == [layer.name for layer in student.layers]
    assert found.count_params() == student.count_params()
    assert {weight.shape for weight in numbers(found)} == {weight.shape for weight in numbers(student)}
    sizes = []
    for model in (student, found):
        model.save(tmp_path / "plain.keras")
        sizes.append((tmp_path / "plain.keras").stat().st_size)
    assert sizes[1] == pytest.approx(sizes[0], rel=0.02)
    save_model(found, tmp_path / "found.keras")
    assert b"adaptor" not in (tmp_path / "found.keras").read_bytes()
    again = load_model(tmp_path / "found.keras")
    assert same(again, found)
    assert lineage_of(again)[-1].settings["hints"] == ["late: late", "pooled: pooled"]


def test_features_of_a_teacher_are_learned_beyond_its_outputs():
    teacher, student = rows_net(4), rows_net(4)
    generator = np.random.default_rng(4)
    for weight in student.weights:
        weight.assign(generator.normal(0, 0.5, weight.shape))

    def apart(model):
        inner = [keras.Model(one.inputs, one.get_layer("hidden").output) for one in (model, teacher)]
        made, taught = (np.asarray(one([sampled(model, seed=3)["row"]])) for one in inner)
        made, taught = (np.linalg.norm(each[:, None] - each[None], axis=-1) for each in (made, taught))
        return np.mean((made / made.mean() - taught / taught.mean()) ** 2)

    given = {"teachers": teacher, **QUICK, "epochs": 12}
    alone = distill(student, bound(student), **given)
    related = distill(student, bound(student), relations={"hidden": "hidden"}, relation_weight=20, **given)

    assert apart(related) < 0.6 * min(apart(student), apart(alone))


def test_a_quantized_teacher_teaches():
    teacher, student = rows_net(8), rows_net(4)
    quantized = quantize(teacher, bound(teacher), scheme="static_wi8_ai8")

    found = distill(student, bound(student), teachers=quantized, **QUICK)

    assert off(found, quantized) < 0.5 * off(student, quantized)


def test_a_teacher_may_have_its_inputs_and_outputs_in_another_order_or_under_other_names():
    def net(units, order, names):
        left, right = (keras.Input((size,), name=name) for size, name in zip((3, 4), names[:2], strict=True))
        x = layers.Dense(units, activation="relu")(layers.Concatenate()([left, right]))
        value = layers.Dense(1, name=names[2])(x)
        kind = layers.Dense(2, activation="softmax", name=names[3])(x)
        ends = [[left, right], [value, kind]]
        return shaken(keras.Model(*[each[::order] for each in ends]))

    def kernels(model):
        return sorted((layer for layer in model.layers if layer.weights), key=lambda layer: layer.units)

    names = ["left", "right", "value", "kind"]
    teacher = net(8, 1, names)
    student = net(4, 1, names)
    turned, renamed = net(8, -1, names), net(8, 1, ["a", "b", "c", "d"])
    for other in (turned, renamed):
        for one, same_one in zip(kernels(teacher), kernels(other), strict=True):
            same_one.set_weights(one.get_weights())

    given = QUICK | {"epochs": 8}
    found = [distill(student, bound(student), teachers=one, **given) for one in (teacher, turned, renamed)]

    assert off(found[0], teacher) < 0.7 * off(student, teacher)
    for other in found[1:]:
        for one, weight in zip(numbers(found[0]), numbers(other), strict=True):
            np.testing.assert_allclose(weight, one, atol=1e-3)


def test_without_teachers_a_student_learns_from_itself_and_from_labels():
    student = rows_net(4)
    classes = sampled(student)["row"][:, :CLASSES].argmax(axis=1)

    found = distill(student, bound(student, classes), **QUICK)

    right = [np.mean(said(model, sampled(model))[0].argmax(axis=1) == classes) for model in (student, found)]
    assert right[1] > right[0] + 0.2
    assert lineage_of(found)[-1].settings["teachers"] == [student.name]
    still = distill(student, bound(student), **QUICK)
    assert off(still, student) < 0.01 * off(found, student)


def test_labels_alone_need_no_teacher():
    student = rows_net(4)
    classes = sampled(student)["row"][:, :CLASSES].argmax(axis=1)

    found = distill(student, bound(student, classes), teachers=[], label_weight=1, **QUICK | {"epochs": 8})

    assert np.mean(said(found, sampled(found))[0].argmax(axis=1) == classes) > 0.7
    assert lineage_of(found)[-1].settings["teachers"] == []


def test_the_same_seed_gives_the_same_weights_and_another_one_others():
    teacher, student = picture_net(8), picture_net(4)
    given = {"teachers": teacher, "hints": {"late": "late"}, **QUICK, "epochs": 1}

    one, again, other = (distill(student, bound(student), **given, seed=seed) for seed in (3, 3, 4))

    assert same(one, again)
    assert not same(one, other)


def test_the_lineage_says_what_was_done():
    teacher, student = rows_net(8), with_lineage(rows_net(4), [Step("student", {"width": 0.5})])
    data = bound(student, np.arange(96) % CLASSES)

    found = distill(
        student,
        data,
        teachers=teacher,
        temperature=3,
        label_weight=0.25,
        relations={"hidden": "hidden"},
        epochs=2,
    )

    first, step = lineage_of(found)
    assert first == Step("student", {"width": 0.5})
    assert step.name == "distill"
    told = dict(step.settings)
    assert len(told.pop("epoch_losses")) == len(told.pop("held_out_losses")) == 2
    assert told.pop("best_epoch") in {1, 2}
    assert told == {
        "teachers": ["net8"],
        "temperature": 3,
        "label_weight": 0.25,
        "relations": ["hidden: hidden"],
        "relation_weight": 1.0,
        "epochs": 2,
        "learning_rate": 2e-3,
        "batch_size": 128,
        "seed": 0,
        "loss": "labels",
        "validation": 0.05,
        "kept": [],
        "training_examples": 96,
        "training_data": data.fingerprint,
    }


def test_the_best_epoch_on_held_out_examples_is_kept():
    teacher, student = rows_net(8), rows_net(4)
    given = {
        "teachers": teacher,
        "batch_size": 8,
        "validation": 0.25,
        # Steps that are soon far too long, and the same however many epochs follow.
        "optimizer": keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.02, 9, 8.0)),
    }

    found = distill(student, bound(student), epochs=4, **given)
    told = lineage_of(found)[-1].settings

    best = int(np.argmin(told["held_out_losses"])) + 1
    assert told["best_epoch"] == best < 4
    shorter = distill(student, bound(student), epochs=best, **given)
    assert same(shorter, found)


def test_the_stage_does_what_the_function_does(tmp_path):
    teacher, student = rows_net(8), rows_net(4)
    save_model(teacher, tmp_path / "teacher.keras")
    given = {**QUICK, "epochs": 1}

    expected = distill(student, bound(student), teachers=[teacher, student], **given)

    stage = Distill(teachers=("parent", "self"), **given)
    assert same(stage(student, bound(student), parent=teacher), expected)
    stage = Distill(teachers=(str(tmp_path / "teacher.keras"), "self"), **given)
    assert same(stage(student, bound(student)), expected)


def test_progress_tells_epoch_loss_accuracy_and_share():
    told = []
    student = rows_net(4)
    data = bound(student, np.arange(96) % CLASSES)

    distill(
        student,
        data,
        teachers=rows_net(8),
        epochs=2,
        batch_size=45,
        progress=lambda *given: told.append(given),
    )

    assert [share for *_, share in told] == [0.25, 0.5, 0.75, 1.0]
    assert all("loss" in text and "accuracy" in text for text, _ in told)
    assert "epoch 2 of 2" in told[-1][0]
    assert "held-out loss" in told[-1][0]
