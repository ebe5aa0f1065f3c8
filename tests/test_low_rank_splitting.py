"""Layers split by low rank: the same function at full rank, with the products and parameters that were foretold."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from low_rank_nets import (
    SINGLE,
    almost_full,
    assert_equal,
    full,
    one_layer,
    split_with,
)
from small_models import MODELS

from slimedge.canonical import canonical
from slimedge.compress.factorization import factorize
from slimedge.compress.low_rank.matrices import plain_product
from slimedge.compress.low_rank.options import Option
from slimedge.compress.low_rank.subjects import options_of, subjects_of
from slimedge.compress.low_rank.ways import WAYS
from slimedge.graph_reading import from_model
from slimedge.lineage import lineage_of
from slimedge.macs import count

CASES = [
    (kind, way)
    for kind in SINGLE
    for way in WAYS
    if (way == "svd") == (kind.startswith(("dense", "einsum")) or ", one" in kind)
    and (way != "spatial_svd" or (kind.startswith("conv2d") and "row" not in kind))
]


@pytest.mark.parametrize(("kind", "way"), CASES)
def test_a_layer_of_full_rank_computes_the_same(kind, way):
    network = SINGLE[kind]()
    made, chosen = split_with(network, way, full)

    assert list(chosen) == ["split"]
    assert made.layers[-1].name == "split"
    assert len(made.layers) == (2 if way == "tucker2" else 3)
    assert count(made).total == chosen["split"].macs
    assert_equal(network, made)


@pytest.mark.parametrize("kind", [kind for kind, way in CASES if way == "tucker2"])
def test_a_convolution_of_low_rank_is_the_same_between_two_matrices(kind):
    network = SINGLE[kind]()
    layer = network.get_layer("split")
    kernel = layer.kernel.numpy()
    generator = np.random.default_rng(3)
    first, last = (generator.normal(size=(size, size - 1)) for size in kernel.shape[-2:])
    core = kernel[..., :-1, :-1]
    layer.kernel.assign(np.einsum("ia,...ab,ob->...io", first, core, last) / 4)

    made, _ = split_with(network, "tucker2", almost_full)

    assert [each.name for each in made.layers[1:]] == ["split_reduce", "split_core", "split"]
    assert_equal(network, made)


@pytest.mark.parametrize(("kind", "way"), CASES)
def test_macs_and_parameters_are_those_that_were_foretold(kind, way):
    network = SINGLE[kind]()
    made, chosen = split_with(network, way, almost_full)
    assert count(made).total == chosen["split"].macs
    kernels = [layer.kernel for layer in made.layers[1:]]
    assert sum(int(np.prod(kernel.shape)) for kernel in kernels) == chosen["split"].parameters


@pytest.mark.parametrize("name", ["shared_tower", "nested_twice", "sequence", "unet", "fused_activations"])
def test_a_model_of_full_ranks_computes_the_same(name):
    network = MODELS[name]()
    for way in WAYS:
        made, chosen = split_with(network, way, full)
        if way != "spatial_svd" or name != "sequence":
            assert chosen
        assert_equal(network, made)


def test_a_shared_layer_is_split_once():
    dense = layers.Dense(8, activation="relu", name="both")
    one, other = keras.Input((8,), name="one"), keras.Input((5, 8), name="other")
    network = keras.Model([one, other], [dense(one), dense(dense(other))])
    made = factorize(network, energy=0.5)

    assert [layer.name for layer in made.layers if isinstance(layer, layers.Dense)] == ["both_reduce", "both"]
    step = lineage_of(made)[-1].settings
    assert step["macs_before"] == count(network).total == 11 * 64
    rank = step["layers"]["both"]["ranks"][0]
    assert step["macs_after"] == count(made).total == 11 * 16 * rank


def test_channels_first_stays_so_and_computes_the_same_with_channels_last():
    network = one_layer(
        layers.Conv2D(7, 3, strides=2, padding="same", data_format="channels_first", name="split"), (5, 11, 9)
    )
    for way in ("tucker2", "spatial_svd"):
        made, _ = split_with(network, way, almost_full if way == "tucker2" else full)
        assert {layer.data_format for layer in made.layers[1:]} == {"channels_first"}
        if way == "spatial_svd":
            assert_equal(canonical(network), canonical(made))
    chosen = split_with(network, "spatial_svd", lambda _: 3)
    assert count(chosen[0]).total == next(iter(chosen[1].values())).macs


def test_policy_and_whether_it_trains_are_kept():
    layer = layers.Dense(
        16, dtype="mixed_float16", kernel_regularizer="l2", kernel_constraint="max_norm", name="a"
    )
    layer.trainable = False
    inputs = keras.Input((16,))
    network = keras.Model(inputs, layers.Dense(3, name="end")(layer(inputs)))
    made = factorize(network, energy=0.6, layers=["a"])

    assert [each.name for each in made.layers] == [network.layers[0].name, "a_reduce", "a", "end"]
    for each in made.layers[1:3]:
        assert each.dtype_policy.name == "mixed_float16"
        assert not each.trainable
        assert each.kernel_regularizer is not None
        assert each.kernel_constraint is None
    assert made.layers[3].trainable


@pytest.mark.parametrize(
    ("equation", "plain"),
    [
        ("ab,bc->ac", True),
        ("...ab,cb->...ac", True),
        ("abc,cde->adbe", True),
        ("abc,abd->acd", False),
        ("ab,b->ab", False),
        ("ab,cb->ca", False),
        ("ab...,bc->ac...", False),
        ("abc,cd->ad", False),
    ],
)
def test_which_equations_are_plain_products(equation, plain):
    assert (plain_product(equation) is not None) == plain


def test_options_are_those_that_nothing_beats():
    network = one_layer(layers.Conv2D(8, 3, padding="same", name="split"), (6, 6, 8))
    options = options_of(subjects_of(from_model(network))["split"], WAYS)
    assert [one.macs for one in options] == sorted({one.macs for one in options})
    assert [one.kept for one in options] == sorted({one.kept for one in options})
    assert options[-1] == Option("", (), count(network).total, 576, 1.0)
