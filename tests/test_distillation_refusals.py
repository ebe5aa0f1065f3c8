"""What cannot be distilled is refused in one sentence, before anything trains."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from distilling import CLASSES, bound, picture_net, rows_net
from graph_checks import shaken
from keras import layers
from refusals import refusal_of

from slimedge.compress.distillation import Distill, distill
from slimedge.compress.quantization import quantize
from slimedge.errors import InputError


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temperature": 0}, "temperature=0 is not allowed; give a number above 0, as 4"),
        ({"temperature": float("nan")}, "temperature=nan is not allowed"),
        ({"temperature": float("inf")}, "temperature=inf is not allowed"),
        ({"label_weight": 1.5}, "label_weight=1.5 is not allowed; give a share in 0...1"),
        ({"label_weight": -0.1}, "label_weight=-0.1 is not allowed"),
        ({"hint_weight": -1}, "hint_weight=-1 is not allowed; give a number, 0 or more"),
        ({"attention_weight": float("nan")}, "attention_weight=nan is not allowed"),
        ({"relation_weight": float("inf")}, "relation_weight=inf is not allowed"),
        (
            {"teacher_weights": (1, 2)},
            "teacher_weights has 2 numbers for 1 teachers; give one for each, or none",
        ),
        ({"teacher_weights": (0,)}, "teacher_weights=[0] is not allowed; give a number, 0 or more"),
        ({"teacher_weights": (-1,)}, "teacher_weights=[-1] is not allowed"),
        ({"epochs": 0}, "epochs=0 is not allowed; give a whole number, 1 or more"),
        ({"learning_rate": 0}, "learning_rate=0 is not allowed"),
        ({"batch_size": 0}, "batch_size=0 is not allowed"),
        (
            {"validation": 1.0},
            "validation=1.0 is not allowed; give the share of the examples that is held out",
        ),
        ({"patience": 2, "validation": 0.0}, "patience=2 with validation=0.0 is not allowed"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"optimizer": "adamm"}, "did you mean 'adam'"),
        ({"precision": "float16"}, "precision='float16' is not allowed; give float32, mixed_bfloat16"),
        ({"strategy": "mirorred"}, "did you mean 'mirrored'"),
    ],
)
def test_settings_outside_of_what_is_allowed_are_refused_by_function_and_stage(settings, said):
    net = rows_net()

    assert said in refusal_of(distill, net, bound(net), teachers=rows_net(8), **settings)
    with pytest.raises(InputError) as caught:
        Distill(**settings).check()
    assert said in str(caught.value)


def test_no_teacher_needs_labels_alone():
    net = rows_net()

    said = refusal_of(distill, net, bound(net), teachers=[])

    assert (
        "there is no teacher and label_weight=0.5 leaves it a share; give a teacher, or label_weight=1"
        in said
    )
    assert said in str(refusal_of(Distill(teachers=()).check))


def test_labels_alone_need_labels():
    net = rows_net()

    for teachers in (rows_net(8), []):
        said = refusal_of(distill, net, bound(net), teachers=teachers, label_weight=1)
        assert "the data has n" in said
        assert "labels" in said


def test_a_quantized_student_is_refused():
    net = rows_net()
    quantized = quantize(net, bound(net), scheme="static_wi8_ai8")

    said = refusal_of(distill, quantized, bound(net), teachers=net)

    assert "model 'net4' is quantized already; distill the float model and quantize what that gives" in said


def other(inputs=6, outputs=CLASSES, *, scaled=False, activation="softmax", twice=False):
    given = keras.Input((inputs,), name="row")
    x = layers.Rescaling(1 / 255)(given) if scaled else given
    made = layers.Dense(outputs, activation=activation, name="said")(x)
    return shaken(
        keras.Model(given, [made, layers.Dense(1, name="more")(x)] if twice else made, name="other")
    )


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        (
            other(inputs=5),
            (
                "the teacher 'other' takes 'row' (None, 5), and the student 'row' (None, 6); distillation needs models "
                "that take and give the same"
            ),
        ),
        (other(outputs=4), "the teacher 'other' gives 'said' (None, 4), and the student 'said' (None, 3)"),
        (other(twice=True), "the teacher 'other' gives 'said' (None, 3), 'more' (None, 1), and the student"),
        (
            other(activation="sigmoid"),
            (
                "output 'said' of the student is made by softmax and that of the teacher 'other' by sigmoid; give both "
                "the same last activation"
            ),
        ),
        (other(activation=None), "softmax and that of the teacher 'other' by no softmax or sigmoid"),
        (other(scaled=True), "the teacher scales its pixels itself and the student does not, so one of them"),
    ],
    ids=["inputs", "outputs", "number of outputs", "sigmoid", "logits", "scaled"],
)
def test_a_teacher_that_does_not_fit_is_refused(teacher, said):
    net = rows_net()

    assert said in refusal_of(distill, net, bound(net), teachers=[rows_net(8), teacher])


def test_a_student_that_scales_pixels_needs_a_teacher_that_does():
    net = other(scaled=True)

    said = refusal_of(distill, net, bound(net), teachers=rows_net(8))

    assert "the student scales its pixels itself and the teacher does not" in said


@pytest.mark.parametrize("kind", ["hints", "attention", "relations"])
def test_layers_that_are_not_there_are_refused_with_those_that_are(kind):
    net, teacher = rows_net(), rows_net(8)

    ours = refusal_of(distill, net, bound(net), teachers=teacher, **{kind: {"none": "hidden"}})
    theirs = refusal_of(distill, net, bound(net), teachers=teacher, **{kind: {"hidden": "none"}})
    alone = refusal_of(
        distill,
        net,
        bound(net, np.zeros(96, int)),
        teachers=[],
        label_weight=1,
        **{kind: {"hidden": "hidden"}},
    )

    assert ours.startswith("the student has no layer 'none'; its layers are hidden, said")
    assert theirs.startswith("the teacher 'net8' has no layer 'none'; its layers are hidden, said")
    assert "layers of a teacher were named, and there is no teacher" in alone


@pytest.mark.parametrize(
    ("kind", "pair", "said"),
    [
        (
            "hints",
            {"late": "pooled"},
            "layer 'late' of the student gives (None, 8, 8, 4) and layer 'pooled' of the",
        ),
        ("attention", {"late": "pooled"}, "and attention needs places, as height and width"),
        ("attention", {"pooled": "pooled"}, "teacher (None, 8), and attention needs places"),
    ],
)
def test_features_that_cannot_be_compared_are_refused(kind, pair, said):
    net = picture_net(4)

    assert said in refusal_of(distill, net, bound(net), teachers=picture_net(8), **{kind: pair})


def test_hints_need_as_many_steps_and_a_known_number_of_channels():
    def steps(kernel, units=None):
        inputs = keras.Input((units, 3), name="steps")
        x = layers.Conv1D(4, kernel, name="seen")(inputs)
        x = layers.Permute((2, 1), name="turned")(x)
        return shaken(
            keras.Model(inputs, layers.GlobalAveragePooling1D(name="said")(layers.Permute((2, 1))(x)))
        )

    said = refusal_of(distill, steps(2, 9), bound(steps(2, 9)), teachers=steps(3, 9), hints={"seen": "seen"})
    assert (
        "gives (None, 8, 4) and layer 'seen' of the teacher (None, 7, 4), which hints cannot compare" in said
    )
    said = refusal_of(distill, steps(2), bound(steps(2)), teachers=steps(2), hints={"turned": "turned"})
    assert "(None, 4, None), which hints cannot compare; name layers with as many axes and places" in said
