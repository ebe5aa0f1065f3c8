"""Examples that are held out: the weights of the best epoch come back, and patience ends."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from fitting_nets import CLASSES, Counting, listed, net, same_weights, table

from slimedge.compress.distillation import distill
from slimedge.compress.fitting.held_out import HeldOut
from slimedge.compress.fitting.keepers import Keeping
from slimedge.compress.fitting.loop import fit
from slimedge.compress.fitting.settings import FitSettings
from slimedge.compress.training import train
from slimedge.data import Data
from slimedge.errors import InputError
from slimedge.keras_file import input_specs
from slimedge.lineage import lineage_of

# A rate so high that the loss goes up and down.
WILD = {"batch_size": 8, "learning_rate": 0.3, "schedule": "constant"}


class SquareAim:
    """The mean square of the distance of the first output from 1, and nothing that a teacher says."""

    taught = False

    def labels(self, data):
        del data
        return {}

    def teach(self, feeds):
        raise AssertionError(feeds)

    def loss(self, made, taught, labels):
        import tensorflow as tf

        assert not taught
        assert not labels
        return tf.reduce_mean(tf.square(made[0] - 1.0))

    def accuracy(self, made, labels):
        del made, labels


class Diary(Keeping):
    """Keeps the weights in front of each step."""

    def __init__(self, model):
        self.model, self.weights = model, []

    def before(self, step, steps):
        del step, steps
        self.weights.append(self.model.get_weights())


def answer(model, x):
    return np.asarray(keras.tree.flatten(model([x], training=False))[0], np.float64)


def test_the_weights_are_those_of_the_epoch_with_the_least_loss():
    model = listed(net())
    data = table(64).bind(input_specs(model))
    diary = Diary(model)
    settings = FitSettings(epochs=6, validation=0.25, loss="labels", **WILD)
    found = fit(model, SquareAim(), data, settings, keepers=[diary])
    # Each epoch has 6 steps, and the weights after it are those in front of the next one.
    after = [diary.weights[6 * epoch] for epoch in range(1, 6)]
    held_out = data.split(seed=0, calibration=0, evaluation=0.25).evaluation
    (x,) = held_out.arrays()[0].values()
    kept = model.get_weights()
    losses = []
    for weights in after:
        model.set_weights(weights)
        losses.append(float(np.mean(np.square(answer(model, x) - 1))))
    np.testing.assert_allclose(found.held_out_losses[:5], losses, rtol=1e-5)
    best = int(np.argmin(found.held_out_losses))
    assert best < 5
    assert found.best_epoch == best + 1
    for one, other in zip(kept, after[best], strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_held_out_examples_the_last_epoch_stays():
    model = listed(net())
    diary = Diary(model)
    found = fit(
        model, SquareAim(), table(64).bind(input_specs(model)), FitSettings(epochs=2, **WILD), keepers=[diary]
    )
    assert found.held_out_losses == ()
    assert found.best_epoch == 2
    assert len(found.step_losses) == 16
    assert not any(
        np.array_equal(one, other) for one, other in zip(model.get_weights(), diary.weights[8], strict=True)
    )


class Told:
    """A model whose loss on what is held out is told."""

    def __init__(self, losses):
        self.losses = iter(losses)
        self.variables = [np.zeros(1)]


@pytest.mark.parametrize(
    ("losses", "patience", "epochs"),
    [
        ([5, 4, 3, 2, 1], 1, 5),
        ([5, 4, 4, 3], 1, 3),
        ([5, 4, 4, 3, 3, 3], 2, 6),
        ([1, 2, 3, 4], 3, 4),
        ([1, 2, 3, 4, 5], None, 5),
    ],
)
def test_patience_is_epochs_without_a_smaller_loss(losses, patience, epochs):
    held_out = HeldOut(Told(losses), None, None, patience)
    assert held_out.patient
    gone = 0
    for loss in losses:
        held_out.losses.append(float(loss))
        gone += 1
        if not held_out.patient:
            break
    assert gone == epochs
    assert held_out.best == losses.index(min(losses[:gone]))


def test_patience_ends_a_training_and_the_lineage_says_what_was_kept():
    counted = Counting()
    found = distill(
        net(), table(), teachers=net(2), epochs=20, validation=0.25, patience=2, progress=counted, **WILD
    )
    told = lineage_of(found)[-1].settings
    losses = told["held_out_losses"]
    assert len(losses) < 20
    assert counted.steps == 6 * len(losses)
    assert len(told["epoch_losses"]) == len(losses)
    assert told["best_epoch"] == int(np.argmin(losses)) + 1
    assert told["best_epoch"] == len(losses) - 2
    assert told["patience"] == 2
    assert told["validation"] == 0.25


def test_training_with_rounding_says_which_epoch_it_kept():
    found = train(net(), table(), epochs=3, validation=0.25, loss="labels", **WILD)
    told = lineage_of(found)[-1].settings
    assert told["best_epoch"] == int(np.argmin(told["held_out_losses"])) + 1
    assert len(told["held_out_losses"]) == 3


def test_the_loss_is_the_mean_over_all_examples_also_where_the_last_batch_is_smaller():
    model = listed(net())
    x = np.random.default_rng(0).normal(0, 1, (13, 6)).astype(np.float32)
    data = Data.load(x).bind(input_specs(model))
    settings = FitSettings(epochs=1, validation=0.5, batch_size=4)
    found = fit(model, SquareAim(), data, settings)
    held_out = data.split(seed=0, calibration=0, evaluation=0.5).evaluation
    (rows,) = held_out.arrays()[0].values()
    assert len(rows) % 4
    made = answer(model, rows)
    assert made.shape == (len(rows), CLASSES)
    np.testing.assert_allclose(found.held_out_losses, [np.mean(np.square(made - 1))], rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patience": 2}, "patience=2 with validation=0.0 is not allowed"),
        ({"validation": 1.0}, "validation=1.0 is not allowed"),
        ({"validation": 0.1, "patience": 0}, "patience=0 with validation=0.1 is not allowed"),
    ],
)
def test_settings_that_hold_out_nothing_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        FitSettings(**settings)


def test_too_few_examples_to_hold_some_out_are_refused():
    model = listed(net())
    with pytest.raises(
        InputError, match=r"of 1 examples validation=0\.1 holds out 1, and 0 are left to train on"
    ):
        fit(model, SquareAim(), table(1).bind(input_specs(model)), FitSettings(validation=0.1))


def test_the_same_seed_gives_the_same_weights_and_another_one_others():
    def trained(seed):
        return distill(net(), table(), teachers=net(2), epochs=1, batch_size=8, seed=seed)

    one, same, other = trained(0), trained(0), trained(1)
    assert same_weights(one, same)
    assert lineage_of(one) == lineage_of(same)
    assert not same_weights(one, other)
