"""Where fake-quants go, which tensors share a range, and why a layer stays float."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from slimedge.compress.placement import Placement, place
from slimedge.compress.static import simplify
from slimedge.graph import Graph, Node
from slimedge.graph_reading import from_model


def placed(outputs: Any, inputs: Any, *, exclude: tuple[str, ...] = ()) -> tuple[Graph, Placement]:
    graph = simplify(from_model(keras.Model(inputs, outputs)))[0]
    return graph, place(graph, exclude=dict.fromkeys(exclude, "it was excluded"))


def node(graph: Graph, name: str) -> Node:
    return next(node for node in graph.nodes if node.name == name)


def group(graph: Graph, placement: Placement, name: str) -> int | None:
    """The range of what a layer gives."""
    return placement.groups.get(node(graph, name).output)


def picture(channels: int = 3) -> Any:
    return keras.Input((8, 8, channels), name="picture")


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.MaxPooling2D(name="same"),
        lambda: layers.AveragePooling2D(2, name="same"),
        lambda: layers.Flatten(name="same"),
        lambda: layers.Reshape((-1, 2), name="same"),
        lambda: layers.Permute((2, 1, 3), name="same"),
        lambda: layers.ZeroPadding2D(name="same"),
        lambda: layers.Cropping2D(1, name="same"),
        lambda: layers.UpSampling2D(name="same"),
        lambda: layers.GlobalMaxPooling2D(name="same"),
    ],
)
def test_what_moves_numbers_shares_the_range_of_its_input(make: Callable[[], keras.Layer]) -> None:
    inputs = picture()
    graph, placement = placed(make()(layers.Conv2D(4, 3, name="conv")(inputs)), inputs)
    assert group(graph, placement, "same") == group(graph, placement, "conv")
    assert group(graph, placement, "conv") != placement.groups[graph.inputs[0]]


@pytest.mark.parametrize("kind", [layers.Add, layers.Multiply, layers.Subtract])
def test_both_sides_of_a_sum_and_the_sum_have_ranges_of_their_own(kind: type[keras.Layer]) -> None:
    inputs = picture()
    sides = [layers.Conv2D(4, 3, name="one")(inputs), layers.Conv2D(4, 3, name="other")(inputs)]
    graph, placement = placed(kind(name="sum")(sides), inputs)
    assert len({group(graph, placement, name) for name in ("one", "other", "sum")}) == 3


@pytest.mark.parametrize("kind", [layers.Concatenate, layers.Maximum, layers.Minimum])
def test_what_joins_tensors_gives_all_of_them_one_range(kind: type[keras.Layer]) -> None:
    inputs = picture()
    sides = [layers.Conv2D(4, 3, name="one")(inputs), layers.Conv2D(4, 3, name="other")(inputs)]
    graph, placement = placed(kind(name="joined")(sides), inputs)
    assert len({group(graph, placement, name) for name in ("one", "other", "joined")}) == 1
    assert placement.requantized == ()


@pytest.mark.parametrize(
    ("activation", "range_"),
    [("sigmoid", (0, 255 / 256)), ("softmax", (0, 255 / 256)), ("tanh", (-1, 127 / 128))],
)
def test_a_formula_gives_its_range(activation: str, range_: tuple[float, float]) -> None:
    inputs = picture()
    x = layers.Conv2D(4, 3, activation=activation, name="conv")(inputs)
    graph, placement = placed(layers.MaxPooling2D(name="pool")(x), inputs)
    assert placement.fixed[group(graph, placement, f"conv_{activation}") or -1] == range_
    assert placement.fixed[group(graph, placement, "pool") or -1] == range_
    assert group(graph, placement, "conv") not in placement.fixed


def test_a_fixed_range_is_left_at_the_concatenation() -> None:
    inputs = picture()
    x = layers.Conv2D(4, 3, activation="sigmoid", name="one")(inputs)
    graph, placement = placed(layers.Concatenate(name="both")([x, layers.Conv2D(4, 3)(inputs)]), inputs)
    assert placement.requantized == ((node(graph, "both"), node(graph, "one_sigmoid").output),)
    assert group(graph, placement, "both") not in placement.fixed


def test_equal_fixed_ranges_stay_through_a_concatenation() -> None:
    inputs = picture()
    sides = [layers.Conv2D(4, 3, activation="sigmoid")(inputs) for _ in range(2)]
    graph, placement = placed(layers.Concatenate(name="both")(sides), inputs)
    assert placement.requantized == ()
    assert placement.fixed[group(graph, placement, "both") or -1] == (0, 255 / 256)


@pytest.mark.parametrize("most", [None, 6.0, 4.0])
def test_a_relu_behind_a_convolution_has_the_only_range(most: float | None) -> None:
    inputs = picture()
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    graph, placement = placed(layers.ReLU(max_value=most, name="relu")(x), inputs)
    assert group(graph, placement, "conv") is None
    assert group(graph, placement, "relu") is not None


def test_a_convolution_that_others_see_before_its_relu_has_a_range() -> None:
    inputs = picture()
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    graph, placement = placed([layers.ReLU(name="relu")(x), x], inputs)
    assert group(graph, placement, "conv") not in (None, group(graph, placement, "relu"))


def test_a_relu_with_an_end_of_its_own_is_computed_where_it_joins_a_wider_range() -> None:
    inputs = picture()
    x = layers.ReLU(max_value=0.5, name="relu")(layers.Conv2D(4, 3, name="conv")(inputs))
    x = layers.MaxPooling2D(1)(x)
    graph, placement = placed(layers.Concatenate()([x, layers.Conv2D(4, 3)(inputs)]), inputs)
    assert group(graph, placement, "conv") not in (None, group(graph, placement, "relu"))


def test_kernels_are_placed_once_for_a_shared_layer() -> None:
    inputs = picture()
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    graph, placement = placed(shared(shared(inputs)), inputs)
    assert list(placement.kernels) == [node(graph, "shared").layer]
    assert placement.kernels[node(graph, "shared").layer] == {"kernel": (3,)}


def test_a_multi_output_layer_stays_float_and_what_takes_its_second_output_is_quantized() -> None:
    inputs = keras.Input((6, 5))
    _, state = layers.GRU(4, return_state=True, name="gru")(inputs)
    graph, placement = placed(layers.Dense(3, name="dense")(state), inputs)
    assert placement.left_float == {"gru": "it has several outputs"}
    assert node(graph, "gru").outputs[1] in placement.groups
    assert node(graph, "gru").outputs[0] not in placement.groups


def test_layers_that_touch_no_integer_layer_stay_float() -> None:
    inputs = keras.Input((6, 5), name="x")
    x = layers.MaxPooling1D(name="pool")(layers.LayerNormalization(name="normed")(inputs))
    y = layers.Softmax(name="soft")(layers.LayerNormalization(name="again")(layers.Dense(3)(inputs)))
    _, placement = placed([x, y], inputs)
    assert placement.left_float["pool"] == "none of its neighbours runs on integers"
    assert placement.left_float["soft"] == "none of its neighbours runs on integers"


class Own(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs * 2


def test_a_layer_of_the_users_own_stays_float_and_is_named() -> None:
    inputs = keras.Input((5,))
    _, placement = placed(layers.Dense(3)(Own(name="mine")(layers.Dense(4)(inputs))), inputs)
    assert placement.left_float == {"mine": f"{__name__}.Own has no int8 form in both formats"}


def reasons() -> dict[str, tuple[Any, Any, str]]:
    x = keras.Input((8, 8, 4))
    conv = layers.Conv2D(4, 1)(x)
    half = layers.Conv2D(4, 3, dtype="float16", name="it")(x)
    return {
        "a sum with a constant picture": (
            x,
            conv + np.ones((8, 8, 4), np.float32),
            "one of its operands is a constant",
        ),
        "a constant maximum": (x, ops.maximum(conv, np.ones(4, np.float32)), "operands is a constant"),
        "a softmax along rows": (x, layers.Softmax(axis=1)(conv), "Softmax has no int8 form"),
        "a ReLU that leaks": (x, layers.ReLU(negative_slope=0.1)(conv), "ReLU has no int8 form"),
        "a ReLU that starts late": (x, layers.ReLU(threshold=0.1)(conv), "ReLU has no int8 form"),
        "half precision": (x, half, "it computes in float16, only float32 is quantized"),
        "a strange activation": (x, layers.Activation("mish")(conv), "activation 'mish' has no int8 form"),
    }


@pytest.mark.parametrize("kind", list(reasons()))
def test_the_reason_says_what_is_in_the_way(kind: str) -> None:
    inputs, outputs, reason = reasons()[kind]
    _, placement = placed(layers.Flatten()(outputs), inputs)
    assert any(reason in found for found in placement.left_float.values())


def test_channels_first_stays_float() -> None:
    inputs = keras.Input((4, 8, 8))
    outputs = layers.Conv2D(4, 3, data_format="channels_first", name="first")(inputs)
    _, placement = placed(outputs, inputs)
    assert "channels_first convolutions are not quantized" in placement.left_float["first"]
    assert not placement.kernels


def test_an_excluded_layer_is_left_out_with_its_activation() -> None:
    inputs = picture()
    x = layers.Conv2D(4, 3, activation="relu", name="kept_float")(inputs)
    graph, placement = placed(layers.Conv2D(4, 3, name="next")(x), inputs, exclude=("kept_float",))
    assert placement.left_float == {"kept_float": "it was excluded"}
    assert [layer.name for layer in placement.kernels] == ["next"]
    assert placement.groups.keys() == {node(graph, "next").inputs[0], node(graph, "next").output}
