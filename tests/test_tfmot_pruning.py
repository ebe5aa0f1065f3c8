"""Pruning with TFMOT: what comes back from its process, what stays dense, what is refused."""

from __future__ import annotations

import sys

import keras
import numpy as np
import pytest
from keras import layers

from slimedge.compress.pruning import prune
from slimedge.compress.sparsity.plan import Plan
from slimedge.compress.sparsity.tfmot.engine import _schedule
from slimedge.data import Data
from slimedge.errors import InputError
from slimedge.lineage import lineage_of

GENERATOR = np.random.default_rng(7)
X = GENERATOR.normal(size=(256, 8, 8, 4)).astype(np.float32)


def convolutional() -> keras.Model:
    keras.utils.set_random_seed(7)
    x = inputs = keras.Input((8, 8, 4), name="picture")
    x = layers.Conv2D(8, 3, use_bias=False, name="conv")(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.5)(x))
    x = layers.DepthwiseConv2D(3, name="depthwise")(layers.Dropout(0.1)(x))
    x = layers.GlobalAveragePooling2D()(x)
    network = keras.Model(
        inputs, layers.Dense(4, activation="softmax", name="classes")(x), name="convolutional"
    )
    for _ in range(20):  # BatchNorm's statistics, as a trained net has them
        network(X, training=True)
    return network


@pytest.fixture(scope="module")
def pruned():
    network = convolutional()
    how = {"sparsity": 0.75, "epochs": 4, "batch_size": 32, "learning_rate": 3e-3}
    return network, prune(network, Data.load(X), engine="tfmot", **how), prune(network, Data.load(X), **how)


def test_what_comes_back_is_as_sparse_and_has_its_names(pruned):
    network, found, _ = pruned
    assert np.count_nonzero(found.get_layer("conv").kernel.numpy()) == 72
    assert np.count_nonzero(found.get_layer("classes").kernel.numpy()) == 8
    assert [layer.name for layer in found.layers] == [layer.name for layer in network.layers]
    assert "tf_keras" not in sys.modules
    told = lineage_of(found)[-1].settings
    assert (told["engine"], told["loss"], len(told["epoch_losses"])) == ("tfmot", "distillation", 4)
    assert told["layer_sparsity"] == {"conv": 0.75, "depthwise": 0.0, "classes": 0.75}
    assert told["left_dense"] == {"depthwise/kernel": "TFMOT prunes no such weight"}


def test_tfmot_makes_up_for_it_as_well_as_ours(pruned):
    network, theirs, ours = pruned
    exact = np.asarray(network(X))
    errors = {
        name: float(np.mean(np.square(np.asarray(found(X)) - exact)))
        for name, found in {
            "theirs": theirs,
            "ours": ours,
            "at once": prune(network, None, sparsity=0.75, epochs=0),
        }.items()
    }
    assert errors["theirs"] < 0.7 * errors["at once"]
    assert errors["ours"] < 0.7 * errors["at once"]


def test_two_of_four_on_labels():
    network = convolutional()
    labels = np.asarray(network(X)).argmax(axis=1)
    found = prune(
        network,
        Data.load((X, labels)),
        engine="tfmot",
        pattern="2:4",
        loss="labels",
        epochs=1,
        exclude=["depthwise"],
    )
    kernel = found.get_layer("conv").kernel.numpy() != 0
    assert np.all(kernel.sum(axis=2) == 2)
    assert lineage_of(found)[-1].settings["left_dense"] == {}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"ranking": "global"},
            "ranking='global' cannot be had with engine='tfmot', which prunes each layer",
        ),
        ({"pattern": "4x1"}, "pattern='4x1' with ranking='layer' cannot be had with engine='tfmot'"),
        (
            {"loss": keras.losses.MeanSquaredError()},
            "loss is a function, which cannot be sent to the process of TFMOT",
        ),
    ],
)
def test_what_tfmot_cannot_have_is_one_sentence(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        prune(convolutional(), Data.load(X), engine="tfmot", **arguments)


def test_a_layer_that_tfmot_does_not_know_is_one_sentence():
    layer = layers.EinsumDense("abc,cd->abd", (5, 4), name="einsum")
    network = keras.Sequential([keras.Input((5, 6), name="x"), layer])
    rows = GENERATOR.normal(size=(32, 5, 6)).astype(np.float32)
    with pytest.raises(
        InputError, match=r"layer 'einsum' \(EinsumDense\) is not supported.*with engine='keras'"
    ):
        prune(network, Data.load(rows), engine="tfmot", epochs=1)


@pytest.mark.parametrize("steps", [1, 3, 50, 777, 12_345])
def test_the_last_step_that_tfmot_looks_at_is_where_the_sparsity_is_whole(steps):
    told = _schedule(Plan(0.8), steps)
    assert told["end_step"] % told["frequency"] == 0
    assert 1 <= told["end_step"] <= max(steps, 1)
    assert _schedule(Plan(0.8, schedule="constant:0.5"), steps)["begin_step"] == steps // 2
