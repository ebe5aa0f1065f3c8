"""The training loop with keepers, and float models trained on: what trains, what stays, what is called when."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from small_models import MODELS, examples

from slimedge.compress.fitting.fine_tuning import fine_tuned
from slimedge.compress.fitting.keepers import Keeping
from slimedge.compress.fitting.settings import FitSettings
from slimedge.data import Data
from slimedge.errors import CheckError, InputError
from slimedge.keras_file import input_specs, output_specs


def bound(network: keras.Model, count: int = 64, labels: object = None) -> Data:
    return Data.load(examples(network, count), labels=labels).bind(
        input_specs(network), outputs=output_specs(network), checks="types"
    )


def shaken(network: keras.Model) -> keras.Model:
    """Give a copy whose kernels are a little off."""
    copy = keras.models.clone_model(network)
    generator = np.random.default_rng(5)
    copy.set_weights(
        [w + (generator.normal(0, 0.1, w.shape) if w.ndim > 1 else 0) for w in network.get_weights()]
    )
    return copy


def distance(one: keras.Model, other: keras.Model) -> float:
    inputs = list(examples(one, 64, seed=9).values())
    inputs = inputs if len(inputs) > 1 else inputs[0]
    made = [
        np.concatenate([np.ravel(array) for array in keras.tree.flatten(network(inputs, training=False))])
        for network in (one, other)
    ]
    return float(np.mean(np.square(made[0] - made[1])))


@pytest.mark.parametrize(
    "name", ["conv_batchnorm_relu", "two_inputs_two_outputs", "nested_by_name", "recurrent"]
)
def test_a_model_that_is_a_little_off_comes_back_to_its_teacher(name):
    teacher = MODELS[name]()
    student = shaken(teacher)
    before = [weight.copy() for weight in student.get_weights()]
    found = fine_tuned(
        student, teacher, bound(student, 256), FitSettings(epochs=8, batch_size=16, learning_rate=3e-3)
    )
    assert distance(found.model, teacher) < 0.5 * distance(student, teacher)
    assert found.epoch_losses[-1] < found.epoch_losses[0]
    assert input_specs(found.model) == input_specs(student)
    assert output_specs(found.model) == output_specs(student)
    for one, other in zip(before, student.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_labels_train_without_a_teacher_and_dropout_comes_back():
    generator = np.random.default_rng(3)
    x = generator.normal(0, 1, (256, 6)).astype(np.float32)
    truth = (x @ generator.normal(0, 1, (6, 3))).argmax(axis=1)
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6,), name="x")
    hidden = layers.Dropout(0.5, name="drop")(layers.Dense(12, activation="relu")(inputs))
    network = keras.Model(inputs, layers.Dense(3, activation="softmax", name="y")(hidden))
    data = Data.load((x, truth)).bind(input_specs(network), outputs=output_specs(network))
    settings = FitSettings(loss="labels", epochs=10, batch_size=32, learning_rate=2e-2)
    found = fine_tuned(network, None, data, settings).model
    assert [layer.name for layer in found.layers] == [layer.name for layer in network.layers]
    assert np.mean(np.asarray(found(x)).argmax(axis=1) == truth) > 0.85
    with pytest.raises(InputError, match="there are no outputs to train towards"):
        fine_tuned(network, None, data, FitSettings())


def test_layers_that_are_not_trainable_keep_their_weights():
    network = MODELS["dense_chain"]()
    frozen = network.layers[1]
    frozen.trainable = False
    found = fine_tuned(network, shaken(network), bound(network), FitSettings(batch_size=8)).model
    moved = []
    for layer in network.layers:
        pairs = zip(layer.get_weights(), found.get_layer(layer.name).get_weights(), strict=True)
        if not all(np.array_equal(*pair) for pair in pairs):
            moved.append(layer.name)
    assert moved
    assert frozen.name not in moved


class Diary(Keeping):
    """Writes down what it was asked, sets one gradient to 0, and puts one weight back to 2."""

    def __init__(self, network: keras.Model) -> None:
        self.network, self.told = network, []
        self.still, self.back = network.trainable_variables[:2]

    def start(self, model):
        assert model is self.network
        self.told.append("start")

    def before(self, step, steps):
        self.told.append((step, steps))
        self.training = step < 2

    def gradient(self, variable, gradient):
        return 0 * gradient if variable is self.still else gradient

    def project(self):
        self.back.assign(0 * self.back + 2)

    def check(self):
        self.told.append("check")


def test_a_keeper_is_asked_in_order_and_has_its_way():
    network = MODELS["dense_chain"]()
    diaries: list[Diary] = []

    def keepers_of(model):
        diaries.append(Diary(model))
        return diaries

    found = fine_tuned(
        network, shaken(network), bound(network), FitSettings(batch_size=16), keepers_of=keepers_of
    )
    (diary,) = diaries
    assert diary.told == ["start", (0, 4), (1, 4), (2, 4), (3, 4), "check"]
    weights = next(layer for layer in found.model.layers if layer.weights).get_weights()
    before = next(layer for layer in network.layers if layer.weights).get_weights()
    np.testing.assert_array_equal(weights[0], before[0])
    np.testing.assert_array_equal(weights[1], np.full_like(before[1], 2))


def test_what_a_keeper_finds_lost_is_an_error():
    class Strict(Keeping):
        def check(self):
            raise CheckError("it is lost.")

    network, strict = MODELS["dense_chain"](), [Strict()]
    with pytest.raises(CheckError, match="it is lost"):
        fine_tuned(network, network, bound(network), FitSettings(), keepers_of=lambda _: strict)


def test_settings_are_checked_and_named():
    def own(labels, outputs):
        return labels - outputs

    assert FitSettings(loss=own).loss_name == "own"
    assert FitSettings(epochs=2).told() == {
        "epochs": 2,
        "learning_rate": 1e-3,
        "batch_size": 128,
        "seed": 0,
        "loss": "distillation",
    }
    with pytest.raises(InputError, match="epochs=0 is not allowed; give a whole number, 1 or more"):
        FitSettings(epochs=0)
