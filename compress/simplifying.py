"""Rewrites that leave the function as it is at inference and make what is computed explicit."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np

from slimedge.graph import Graph, Layer, Node, Value

# Layers that pass their input on at inference.
TRAINING_ONLY = frozenset(
    {
        "ActivityRegularization",
        "AlphaDropout",
        "Dropout",
        "GaussianDropout",
        "GaussianNoise",
        "Identity",
        "SpatialDropout1D",
        "SpatialDropout2D",
        "SpatialDropout3D",
        # augmentation
        "AugMix",
        "AutoContrast",
        "CutMix",
        "Equalization",
        "MixUp",
        "RandAugment",
        "RandomBrightness",
        "RandomColorDegeneration",
        "RandomColorJitter",
        "RandomContrast",
        "RandomElasticTransform",
        "RandomErasing",
        "RandomFlip",
        "RandomGaussianBlur",
        "RandomGrayscale",
        "RandomHue",
        "RandomInvert",
        "RandomPerspective",
        "RandomPosterization",
        "RandomRotation",
        "RandomSaturation",
        "RandomSharpness",
        "RandomShear",
        "RandomTranslation",
        "RandomZoom",
        "Solarization",
    }
)

# Layers whose `activation` argument is applied last, so that it can stand as a layer of its own.
ACTIVATED = frozenset(
    {
        "Conv1D",
        "Conv2D",
        "Conv3D",
        "Conv1DTranspose",
        "Conv2DTranspose",
        "Conv3DTranspose",
        "Dense",
        "DepthwiseConv1D",
        "DepthwiseConv2D",
        "EinsumDense",
        "SeparableConv1D",
        "SeparableConv2D",
    }
)

# Layers without weights that are also given as an activation: `Conv2D(activation=LeakyReLU(0.1))`.
WEIGHTLESS = frozenset({"ELU", "LeakyReLU", "ReLU", "Softmax"})

# x · f(x) by its name, and f.
GATES = {"silu": "sigmoid", "swish": "sigmoid", "hard_silu": "hard_sigmoid", "hard_swish": "hard_sigmoid"}


def strip_training_only(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """Remove dropout, noise and augmentation; give the graph and the names of the removed layers.

    A removed layer that made a model output leaves its input as the output; one whose input cannot take
    the output's name (a model input, another output, a shared layer's) stays.
    """
    replaced: dict[Value, Value] = {}
    removed: list[str] = []
    kept: list[Node] = []
    producers, calls, named = graph.producers(), graph.calls(), set(graph.outputs)
    for node in graph.nodes:
        if node.layer.kind not in TRAINING_ONLY or len(node.inputs) != 1 or len(node.outputs) != 1:
            kept.append(node)
            continue
        source = replaced.get(node.inputs[0], node.inputs[0])
        if node.output in graph.outputs:
            maker = producers.get(source)
            if maker is None or source in named or calls[maker.layer] > 1 or len(maker.outputs) > 1:
                kept.append(node)
                continue
            named.add(source)
        replaced[node.output] = source
        removed.append(node.source)
    return graph.with_nodes(kept, replaced), tuple(dict.fromkeys(removed))


def split_activations(graph: Graph, only: Collection[Layer] | None = None) -> Graph:
    """Turn `Conv2D(activation=f)` into `Conv2D` and `Activation(f)`, so that both are visible.

    A fused ReLU is recognized again where ranges are placed; any other activation needs a range
    between the two.

    Args:
        graph: any.
        only: the layers whose activations are split off; None for all.
    """
    nodes: list[Node] = []
    linear: dict[Layer, tuple[Layer, Layer]] = {}
    replaced: dict[Value, Value] = {}
    for node in graph.nodes:
        activation = node.layer.config.get("activation")
        kept = only is not None and node.layer not in only
        plain = node.layer.kind not in ACTIVATED or activation in (None, "linear")
        if kept or plain or _has_weights(activation):
            nodes.append(node)
            continue
        if node.layer not in linear:
            name = graph.fresh_name(f"{node.layer.name}_{_activation_name(activation)}")
            linear[node.layer] = (
                node.layer.changed(activation="linear"),
                _activation(name, activation, _policy(node)),
            )
        first, second = linear[node.layer]
        middle, end = (
            Value(node.output.shape, node.output.dtype),
            Value(node.output.shape, node.output.dtype),
        )
        nodes.append(replace(node, layer=first, outputs=(middle,)))
        name = second.name if node.name == node.layer.name else f"{node.name}_{second.name}"
        nodes.append(Node(name, node.source, second, (middle,), {}, (end,)))
        replaced[node.output] = end
    return graph.with_nodes(nodes, replaced)


def split_swish(graph: Graph) -> Graph:
    """Turn `silu` (swish) and `hard_silu` into their sigmoid and a product, which run as two integer ops."""
    import keras

    parts: dict[Layer, tuple[Layer, Layer]] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        activation = node.layer.config.get("activation")
        if node.layer.kind != "Activation" or activation not in GATES:
            nodes.append(node)
            continue
        function = GATES[activation]
        if node.layer not in parts:
            policy = _policy(node)
            sigmoid = {
                "name": graph.fresh_name(f"{node.layer.name}_{function}"),
                "activation": function,
                "dtype": policy,
            }
            parts[node.layer] = (
                Layer(keras.layers.Activation, sigmoid),
                Layer(keras.layers.Multiply, {"name": node.layer.name, "dtype": policy}),
            )
        sigmoid_layer, product = parts[node.layer]
        gate = Value(node.output.shape, node.output.dtype)
        given = node.inputs[0]
        nodes.append(Node(f"{node.name}_{function}", node.source, sigmoid_layer, (given,), {}, (gate,)))
        nodes.append(Node(node.name, node.source, product, ([given, gate],), {}, node.outputs))
    return graph.with_nodes(nodes)


def split_separable(graph: Graph) -> Graph:
    """Turn `SeparableConv` into `DepthwiseConv` and a pointwise `Conv`: the tensor between needs a range."""
    import keras

    parts: dict[Layer, tuple[Layer, Layer]] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.layer.kind not in {"SeparableConv1D", "SeparableConv2D"}:
            nodes.append(node)
            continue
        if node.layer not in parts:
            parts[node.layer] = _separable_parts(graph, node.layer, keras.layers)
        depthwise, pointwise = parts[node.layer]
        operation = depthwise.type.from_config(dict(depthwise.config))  # type: ignore[attr-defined]
        shape = operation.compute_output_shape(node.inputs[0].shape)
        middle = Value(tuple(shape), node.output.dtype)
        nodes.append(replace(node, name=f"{node.name}_depthwise", layer=depthwise, outputs=(middle,)))
        nodes.append(Node(node.name, node.source, pointwise, (middle,), {}, node.outputs))
    return graph.with_nodes(nodes)


def one_position(dimensions: int) -> dict[str, Any]:
    """Give the settings of a convolution that looks at one position of a sequence or picture."""
    sizes = dict.fromkeys(("kernel_size", "strides", "dilation_rate"), (1,) * dimensions)
    return {**sizes, "padding": "valid"}


def _separable_parts(graph: Graph, layer: Layer, layers: Any) -> tuple[Layer, Layer]:
    one_d = layer.kind == "SeparableConv1D"
    config = layer.config
    shared = {"data_format": config["data_format"], "dtype": config.get("dtype")}
    depthwise = Layer(
        layers.DepthwiseConv1D if one_d else layers.DepthwiseConv2D,
        {
            **shared,
            "name": graph.fresh_name(f"{layer.name}_depthwise"),
            "kernel_size": config["kernel_size"],
            "strides": config["strides"],
            "padding": config["padding"],
            "dilation_rate": config["dilation_rate"],
            "depth_multiplier": config["depth_multiplier"],
            "use_bias": False,
        },
        (("kernel", _required(layer, "depthwise_kernel")),),
    )
    weights = [("kernel", _required(layer, "pointwise_kernel"))]
    if config["use_bias"]:
        weights.append(("bias", _required(layer, "bias")))
    pointwise = Layer(
        layers.Conv1D if one_d else layers.Conv2D,
        {
            **shared,
            "name": layer.name,
            "filters": config["filters"],
            **one_position(1 if one_d else 2),
            "use_bias": config["use_bias"],
            "activation": config["activation"],
        },
        tuple(weights),
    )
    return depthwise, pointwise


def _is_layer(activation: Any) -> bool:
    return isinstance(activation, dict) and activation.get("class_name") != "function"


def _has_weights(activation: Any) -> bool:
    """Whether an activation is a layer that may have weights (PReLU), which then lie in the layer it is in."""
    own = isinstance(activation, dict) and activation.get("module") != "keras.layers"
    return _is_layer(activation) and (own or activation["class_name"] not in WEIGHTLESS)


def _activation(name: str, activation: Any, policy: Any) -> Layer:
    from keras import layers

    if _is_layer(activation):
        return Layer(getattr(layers, activation["class_name"]), {**activation["config"], "name": name})
    return Layer(layers.Activation, {"name": name, "activation": activation, "dtype": policy})


def _required(layer: Layer, name: str) -> np.ndarray[Any, Any]:
    array = layer.weight(name)
    if array is None:
        raise KeyError(f"{layer.kind} '{layer.name}' has no weight '{name}'")
    return array


def _policy(node: Node) -> Any:
    return node.layer.config.get("dtype", "float32")


def _activation_name(activation: Any) -> str:
    if isinstance(activation, str):
        return activation
    config = activation.get("config") if isinstance(activation, dict) else None
    return config if isinstance(config, str) else "activation"
