"""Optimizers by name and of the user's, their learning rates, and scaled losses."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from fitting_nets import net, table

from slimedge.compress.distillation import distill
from slimedge.compress.fitting.optimizers import OPTIMIZERS, optimizer_of
from slimedge.compress.fitting.schedule import SCHEDULES
from slimedge.compress.fitting.settings import DeviceSettings, FitSettings
from slimedge.errors import InputError
from slimedge.lineage import lineage_of

RATE, STEPS = 0.02, 200


def warm_up_and_cosine(step):
    warm = 10  # a twentieth of the steps
    if step < warm:
        return RATE * step / warm
    return RATE * 0.5 * (1 + math.cos(math.pi * (step - warm) / (STEPS - warm)))


CLOSED_FORMS = {
    "cosine": warm_up_and_cosine,
    "linear": lambda step: RATE * (1 - step / STEPS),
    "constant": lambda _: RATE,
}


def test_there_is_a_closed_form_for_each_schedule():
    assert set(CLOSED_FORMS) == set(SCHEDULES)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_the_rate_at_each_step_is_that_of_the_formula(name):
    optimizer = optimizer_of(FitSettings(learning_rate=RATE, schedule=name), STEPS)
    variable = keras.Variable(np.zeros(1, np.float32))
    optimizer.build([variable])
    found = []
    for step in range(STEPS):
        optimizer.iterations.assign(step)
        found.append(float(optimizer.learning_rate))
    np.testing.assert_allclose(
        found, [CLOSED_FORMS[name](step) for step in range(STEPS)], rtol=2e-5, atol=1e-8
    )


def test_a_cosine_of_few_steps_has_no_warm_up():
    schedule = SCHEDULES["cosine"](keras.optimizers.schedules, RATE, 8)
    expected = [RATE * 0.5 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]
    np.testing.assert_allclose([float(schedule(step)) for step in range(8)], expected, rtol=1e-5)


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_each_optimizer_makes_a_loss_smaller(name):
    found = distill(
        net(),
        table(),
        teachers=net(2),
        optimizer=name,
        learning_rate=1e-2,
        epochs=3,
        batch_size=8,
        validation=0,
    )
    told = lineage_of(found)[-1].settings
    assert told["epoch_losses"][-1] < told["epoch_losses"][0]
    assert told.get("optimizer", "adam") == name


def test_momentum_is_nesterovs():
    optimizer = optimizer_of(FitSettings(optimizer="sgd", learning_rate=0.1, schedule="constant"), 3)
    variable = keras.Variable(np.float32([1.0]))
    position, velocity = 1.0, 0.0
    for _ in range(3):
        gradient = 2 * position
        velocity = 0.9 * velocity - 0.1 * gradient
        position = position + 0.9 * velocity - 0.1 * gradient
        optimizer.apply([2 * variable.value], [variable])
    np.testing.assert_allclose(np.asarray(variable), [position], rtol=1e-6)


def test_an_optimizer_of_the_users_keeps_its_own_rate_and_stays_as_it_is():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.1)
    given = keras.optimizers.Adagrad(schedule, initial_accumulator_value=0.25)
    made = optimizer_of(FitSettings(optimizer=given, learning_rate=RATE), STEPS)
    assert made is not given
    assert isinstance(made, keras.optimizers.Adagrad)
    assert made.initial_accumulator_value == 0.25
    made.build([keras.Variable(np.zeros(1, np.float32))])
    made.iterations.assign(5)
    np.testing.assert_allclose(float(made.learning_rate), 0.5 * 0.1**0.5, rtol=1e-6)
    assert not given.built
    found = distill(net(), table(), teachers=net(2), optimizer=given, epochs=1, batch_size=8, validation=0)
    assert lineage_of(found)[-1].settings["optimizer"] == "Adagrad"
    assert not given.built


def test_the_optimizer_and_loss_of_a_compiled_student_are_taken():
    student = net()
    student.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    found = distill(student, table(), teachers=net(2), compiled=True, epochs=1, batch_size=8, validation=0)
    told = lineage_of(found)[-1].settings
    assert told["optimizer"] == "SGD"
    assert told["loss"] == "sparse_categorical_crossentropy"
    # A rate of 0 moves nothing but BatchNorm's statistics.
    for name in ("first", "second", "y"):
        for one, other in zip(
            found.get_layer(name).get_weights(), student.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("precision", "scaled"), [("float32", False), ("mixed_bfloat16", False), ("mixed_float16", True)]
)
def test_losses_are_scaled_in_float16_only(precision, scaled):
    made = optimizer_of(DeviceSettings(precision=precision), STEPS)
    assert isinstance(made, keras.optimizers.LossScaleOptimizer) == scaled
    given = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=8.0)
    made = optimizer_of(DeviceSettings(precision=precision, optimizer=given), STEPS)
    assert isinstance(made.inner_optimizer, keras.optimizers.SGD)
    assert made.initial_scale == 8.0


@pytest.mark.parametrize("setting", ["optimizer", "schedule"])
def test_a_name_that_is_not_known_is_refused(setting):
    with pytest.raises(InputError, match=f"{setting}.*'adamm'"):
        FitSettings(**{setting: "adamm"})
