"""Blocks that can go: where they start and end, which of them go, and what is left without them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from channel_nets import NETS
from graph_checks import shaken
from keras import layers, ops
from refusals import refusal_of
from small_models import examples

from slimedge.compress.shallower.blocks import blocks_of
from slimedge.compress.shallower.shortening import counts_of, spread, to_remove, without_blocks
from slimedge.compress.students import student
from slimedge.errors import OutOfReachError
from slimedge.export.worker import keras_outputs
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.keras_file import output_specs


def conv(x, filters, name, strides=1, activation="relu"):
    x = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False, name=name)(x)
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return x if activation is None else layers.Activation(activation, name=f"{name}_{activation}")(x)


def residual(x, name):
    """A ResNet's unit, which keeps the shape."""
    y = conv(conv(x, x.shape[-1], f"{name}_a"), x.shape[-1], f"{name}_b", activation=None)
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([x, y]))


def widening(x, filters, name):
    """A ResNet's unit that changes the shape, whose inner convolutions keep it."""
    y = conv(
        conv(conv(x, filters, f"{name}_a", 2), filters, f"{name}_b"), filters, f"{name}_c", activation=None
    )
    x = conv(x, filters, f"{name}_shortcut", 2, activation=None)
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([x, y]))


def classified(x, name="classes"):
    return layers.Dense(3, name=name)(layers.GlobalAveragePooling2D(name=f"{name}_pool")(x))


def resnet(sizes=(3, 2)):
    x = inputs = keras.Input((8, 8, 3))
    x = conv(x, 4, "stem")
    for stage, size in enumerate(sizes):
        x = widening(x, 8 * (stage + 1), f"s{stage}b0")
        for block in range(1, size + 1):
            x = residual(x, f"s{stage}b{block}")
    return keras.Model(inputs, classified(x), name="resnet")


def preactivated():
    def unit(x, name):
        y = x
        for part in "ab":
            y = layers.BatchNormalization(name=f"{name}_{part}_bn")(y)
            y = layers.ReLU(name=f"{name}_{part}_relu")(y)
            y = layers.Conv2D(4, 3, padding="same", name=f"{name}_{part}")(y)
        return layers.Add(name=f"{name}_add")([x, y])

    x = inputs = keras.Input((8, 8, 3))
    x = unit(unit(layers.Conv2D(4, 3, name="stem")(x), "one"), "other")
    x = layers.ReLU(name="last_relu")(layers.BatchNormalization(name="last_bn")(x))
    return keras.Model(inputs, classified(x))


def mobilenet_v1():
    x = inputs = keras.Input((8, 8, 3))
    x = conv(x, 8, "stem")
    for name, filters in (("one", 8), ("wider", 16), ("two", 16), ("three", 16)):
        x = layers.DepthwiseConv2D(3, padding="same", name=f"{name}_depthwise")(x)
        x = layers.ReLU(6.0, name=f"{name}_relu6")(layers.BatchNormalization(name=f"{name}_depthwise_bn")(x))
        x = conv(x, filters, f"{name}_pointwise")
    return keras.Model(inputs, classified(x))


def mobilenet_v2():
    x = inputs = keras.Input((8, 8, 3))
    x = conv(x, 8, "stem")
    for name, filters in (("wider", 16), ("one", 16), ("two", 16)):
        y = conv(x, 32, f"{name}_expand")
        y = layers.DepthwiseConv2D(3, padding="same", name=f"{name}_depthwise")(y)
        y = conv(layers.ReLU(name=f"{name}_relu")(y), filters, f"{name}_project", activation=None)
        x = layers.Add(name=f"{name}_add")([x, y]) if x.shape == y.shape else y
    return keras.Model(inputs, classified(conv(x, 16, "last")))


def plain():
    """Two of each width, with a pooling, and a dropout behind each."""
    x = inputs = keras.Input((8, 8, 3))
    for stage, filters in enumerate((4, 8)):
        for part in "ab":
            x = layers.Dropout(0.1, name=f"s{stage}{part}_dropout")(conv(x, filters, f"s{stage}{part}"))
        x = layers.MaxPooling2D(name=f"s{stage}_pool")(x)
    return keras.Model(inputs, classified(x))


def bottleneck():
    x = inputs = keras.Input((16,))
    for name, units in (("a", 8), ("b", 2), ("c", 8), ("d", 8)):
        x = layers.Dense(units, activation="relu", name=name)(x)
    return keras.Model(inputs, layers.Dense(16)(x))


def unit_net():
    """Sums at the end of a net whose units are gated, as a squeeze-and-excite is."""
    x = inputs = keras.Input((8, 8, 3))
    x = conv(x, 4, "stem")
    for name in ("one", "two"):
        y = conv(x, 4, f"{name}_conv")
        gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(y)
        gate = layers.Conv2D(4, 1, activation="sigmoid", name=f"{name}_gate")(gate)
        x = x + y * gate
    return keras.Model(inputs, classified(x))


def attended(x, source, name, mask=None):
    mask = {} if mask is None else {"attention_mask": mask}
    return layers.MultiHeadAttention(2, 4, name=name)(x, source, **mask)


def transformer(count, *, before, mask=None, memory=None):
    """Layers of attention and feed-forward, normalized before or behind each."""

    def run(x, prefix=""):
        def part(x, name, compute):
            norm = layers.LayerNormalization(name=f"{prefix}{name}_norm")
            if before:
                return layers.Add(name=f"{prefix}{name}_add")([x, compute(norm(x))])
            return norm(layers.Add(name=f"{prefix}{name}_add")([x, compute(x)]))

        def fed_forward(x, name):
            x = layers.Dense(16, activation="gelu", name=f"{prefix}{name}_wide")(x)
            return layers.Dense(8, name=f"{prefix}{name}_narrow")(x)

        for number in range(count):
            x = part(x, f"self{number}", lambda y, n=number: attended(y, y, f"{prefix}self{n}", mask))
            if memory is not None:
                x = part(x, f"cross{number}", lambda y, n=number: attended(y, memory, f"{prefix}cross{n}"))
            x = part(x, f"feed{number}", lambda y, n=number: fed_forward(y, f"feed{n}"))
        return x

    return run


def encoder(count, *, before, masked=False):
    ids = keras.Input((6,), dtype="int32", name="ids")
    mask = keras.Input((6,), dtype="int32", name="mask") if masked else None
    x = layers.Add(name="positions")(
        [layers.Embedding(20, 8, name="table")(ids), layers.Embedding(6, 8)(ops.zeros_like(ids))]
    )
    x = layers.LayerNormalization(name="start")(x)
    square = None if mask is None else ops.not_equal(ops.expand_dims(mask, 1), 0)
    x = transformer(count, before=before, mask=square)(x)
    outputs = layers.Dense(2, name="classes")(x[:, 0])
    return keras.Model(ids if mask is None else [ids, mask], outputs, name="encoder")


def translator(count):
    given, said = (
        keras.Input((6,), dtype="int32", name="given"),
        keras.Input((5,), dtype="int32", name="said"),
    )
    memory = transformer(count, before=True)(layers.Embedding(20, 8)(given), "encoder_")
    x = transformer(count, before=True, memory=memory)(layers.Embedding(20, 8)(said), "decoder_")
    return keras.Model([given, said], layers.Dense(20)(layers.LayerNormalization()(x)), name="translator")


def two_outputs():
    x = inputs = keras.Input((8, 8, 3))
    x = residual(conv(x, 4, "stem"), "trunk")
    one, other = residual(x, "one"), conv(conv(x, 4, "other_a"), 4, "other_b")
    return keras.Model(inputs, [classified(one, "first"), classified(other, "second")])


def seen_on_the_way():
    """The end of one unit is an output, and so is the end of the net."""
    x = inputs = keras.Input((8, 8, 3))
    shown = residual(residual(conv(x, 4, "stem"), "one"), "shown")
    return keras.Model(inputs, [shown, residual(residual(shown, "two"), "last")])


def siamese():
    image = keras.Input((8, 8, 3))
    tower = keras.Model(image, classified(residual(conv(image, 4, "stem"), "unit")), name="tower")
    one, other = keras.Input((8, 8, 3), name="one"), keras.Input((8, 8, 3), name="other")
    return keras.Model([one, other], layers.Subtract()([tower(one), tower(other)]))


def long_skip():
    """Residual units within one that goes around all of them, as in nets for super-resolution."""
    x = inputs = keras.Input((8, 8, 3))
    x = head = conv(x, 4, "head", activation=None)
    for name in ("one", "two", "three"):
        y = conv(conv(x, 4, f"{name}_a"), 4, f"{name}_b", activation=None)
        x = layers.Add(name=f"{name}_add")([x, y])
    x = layers.Add(name="around")([head, conv(x, 4, "body", activation=None)])
    return keras.Model(inputs, conv(x, 3, "tail", activation=None))


def denoiser():
    """A chain, and the picture itself past it."""
    x = inputs = keras.Input((8, 8, 3))
    for name in ("a", "b", "c"):
        x = conv(x, 4, name)
    return keras.Model(inputs, layers.Subtract()([inputs, conv(x, 3, "noise", activation=None)]))


def unet():
    x = inputs = keras.Input((8, 8, 3))
    skip = conv(conv(x, 4, "down_a"), 4, "down_b")
    x = conv(conv(layers.MaxPooling2D()(skip), 8, "low_a"), 8, "low_b")
    x = layers.Concatenate()([layers.Conv2DTranspose(4, 2, strides=2, name="up")(x), skip])
    return keras.Model(inputs, conv(conv(conv(x, 4, "up_a"), 4, "up_b"), 1, "last", activation="sigmoid"))


def ends(model):
    """The first and last layer of each block."""
    return [(block.names[0], block.names[-1]) for block in blocks_of(from_model(model))]


BLOCKS = {
    # A unit leaves whole, with its activation; the inside of one that changes the shape stays.
    resnet: [
        *[(f"s0b{n}_a", f"s0b{n}_out") for n in (1, 2, 3)],
        *[(f"s1b{n}_a", f"s1b{n}_out") for n in (1, 2)],
    ],
    preactivated: [("one_a_bn", "one_add"), ("other_a_bn", "other_add")],
    # A depthwise convolution goes with the pointwise one behind it.
    mobilenet_v1: [(f"{name}_depthwise", f"{name}_pointwise_relu") for name in ("one", "two", "three")],
    mobilenet_v2: [(f"{name}_expand", f"{name}_add") for name in ("one", "two")],
    plain: [("s0b", "s0b_dropout"), ("s1b", "s1b_dropout")],
    bottleneck: [("d", "d")],
    unit_net: [("one_conv", "add"), ("two_conv", "add_1")],
    two_outputs: [
        ("trunk_a", "trunk_out"),
        ("one_a", "one_out"),
        ("other_a", "other_a_relu"),
        ("other_b", "other_b_relu"),
    ],
    # What makes an output stays.
    seen_on_the_way: [
        ("one_a", "one_out"),
        ("shown_a", "shown_add"),
        ("two_a", "two_out"),
        ("last_a", "last_add"),
    ],
    # What one tower loses the other would have to lose, too.
    siamese: [],
    long_skip: [(f"{name}_a", f"{name}_add") for name in ("one", "two", "three")],
    denoiser: [("b", "b_relu"), ("c", "c_relu")],
    # The lower level has a way around it, which is computed by weights.
    unet: [("down_b", "down_b_relu"), ("up_b", "up_b_relu")],
}


@pytest.mark.parametrize("build", BLOCKS, ids=lambda build: build.__name__)
def test_blocks_are_whole_units_between_values_of_one_shape(build):
    keras.backend.clear_session()  # the names of operations count from 0
    assert ends(build()) == BLOCKS[build]


def test_attention_and_feed_forward_that_repeat_are_one_block():
    assert ends(encoder(3, before=True)) == [(f"self{n}_norm", f"feed{n}_add") for n in range(3)]
    assert ends(encoder(3, before=False)) == [(f"self{n}", f"feed{n}_norm") for n in range(3)]
    assert ends(encoder(1, before=True)) == [("self0_norm", "self0_add"), ("feed0_norm", "feed0_add")]


def test_the_layers_of_a_decoder_are_blocks_beside_those_of_its_encoder():
    assert ends(translator(2)) == [
        (f"{part}_self{n}_norm", f"{part}_feed{n}_add") for part in ("decoder", "encoder") for n in (0, 1)
    ]


@pytest.mark.parametrize("build", [lambda: encoder(4, before=True, masked=True), lambda: translator(4)])
def test_one_block_stays_to_take_a_mask_or_what_an_encoder_gives(build):
    teacher = build()
    share = 1 / len(ends(teacher))
    small = student(teacher, depth=share)
    names = {layer.name for layer in small.layers}
    assert {name for name in names if "self" in name and not name.endswith(("norm", "add"))} == (
        {"self0"} if teacher.name == "encoder" else {"decoder_self0"}
    )
    graph = from_model(small)
    assert all(value in graph.consumers() for value in graph.inputs)
    message = refusal_of(student, teacher, depth=share / 2)
    assert f"blocks of model '{teacher.name}' can go" in message
    assert message.endswith(f"give a depth of {share:.3g} or more.")
    with pytest.raises(OutOfReachError):
        student(teacher, depth=share / 2)


@pytest.mark.parametrize(
    ("depth", "gone"),
    [
        (0.9, ["s0b3"]),
        (0.8, ["s0b3"]),
        (0.6, ["s0b3", "s1b2"]),
        (0.4, ["s0b1", "s0b3", "s1b2"]),
        (0.01, ["s0b1", "s0b2", "s0b3", "s1b1", "s1b2"]),
    ],
)
def test_blocks_go_evenly_from_all_stages_and_the_last_of_each_first(depth, gone):
    found = to_remove(from_model(resnet()), depth)
    assert [block.names[0].removesuffix("_a") for block in found] == gone


def test_every_other_layer_of_a_transformer_goes_at_half_of_the_depth():
    found = to_remove(from_model(encoder(6, before=False)), 0.5)
    assert [block.names[0] for block in found] == ["self1", "self3", "self5"]


def test_no_stage_loses_all_while_another_has_more_left():
    assert counts_of([1, 4, 2], 4) == [0, 3, 1]
    assert counts_of([3, 3], 3) == [1, 2]
    assert [len(spread(7, count)) for count in range(8)] == list(range(8))


def by_hand(model, image, gone):
    """What a resnet computes without some units, layer by layer."""

    def run(x, names):
        for name in names:
            x = model.get_layer(name)(x, training=False)
        return x

    def convolved(x, name, *, activated):
        return run(x, [name, f"{name}_bn", *([f"{name}_relu"] if activated else [])])

    x = convolved(image, "stem", activated=True)
    for stage, size in enumerate((3, 2)):
        name = f"s{stage}b0"
        y = convolved(convolved(x, f"{name}_a", activated=True), f"{name}_b", activated=True)
        y = convolved(y, f"{name}_c", activated=False)
        x = np.maximum(np.asarray(convolved(x, f"{name}_shortcut", activated=False) + y), 0)
        for block in range(1, size + 1):
            name = f"s{stage}b{block}"
            if name not in gone:
                y = convolved(convolved(x, f"{name}_a", activated=True), f"{name}_b", activated=False)
                x = np.maximum(np.asarray(x + y), 0)
    return run(x, ["classes_pool", "classes"])


def test_what_is_left_computes_what_the_teacher_does_without_the_blocks():
    teacher = shaken(resnet())
    small = student(teacher, depth=0.4, weights="inherit")
    image = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    expected = np.asarray(by_hand(teacher, image, {"s0b1", "s0b3", "s1b2"}))
    np.testing.assert_allclose(small(image), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    "build",
    [*(build for build in BLOCKS if BLOCKS[build]), lambda: encoder(2, before=True), lambda: translator(2)],
    ids=lambda build: build.__name__,
)
def test_a_net_without_half_of_its_blocks_and_channels_runs(build):
    teacher = shaken(build())
    small = student(teacher, depth=0.5, width=0.5)
    inputs = examples(teacher, count=2)
    expected = keras_outputs(teacher, inputs)
    found = keras_outputs(small, inputs)
    assert list(found) == list(expected)
    for name, array in found.items():
        assert array.shape == expected[name].shape
        assert np.isfinite(array).all()
    graph = from_model(small)
    assert all(value in graph.consumers() for value in graph.inputs)


def test_a_layer_that_is_called_twice_in_a_row_is_called_once():
    teacher = shaken(NETS["called_on_both_sides"]())
    small = student(teacher, depth=0.5, weights="inherit")
    calls = [node.source for node in from_model(small).nodes]
    assert calls == ["before", "again", teacher.layers[-1].name]
    row = examples(teacher, count=2)
    x = teacher.get_layer("again")(teacher.get_layer("before")(*row.values()))
    np.testing.assert_allclose(*keras_outputs(small, row).values(), teacher.layers[-1](x), rtol=1e-5)


@pytest.mark.parametrize("build", [*BLOCKS, *NETS.values()], ids=lambda build: build.__name__)
def test_all_blocks_can_be_taken_out_at_once(build):
    teacher = build()
    graph = from_model(teacher)
    blocks = blocks_of(graph)
    small = to_model(without_blocks(graph, blocks))
    assert output_specs(small) == output_specs(teacher)
    gone = {name for block in blocks for name in block.names}
    assert not gone & {node.source for node in from_model(small).nodes}
