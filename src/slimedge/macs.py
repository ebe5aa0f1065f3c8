"""Multiply-accumulates of a Keras model for one example, from the shapes of its layers and weights.

Only products with weights, and of tensors with each other, are counted, as is usual: additions of biases,
normalization, activations and pooling are not. Padding counts like data. A layer that no formula covers is named
instead of being taken for zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from slimedge import graph_reading
from slimedge.errors import InputError
from slimedge.graph import Graph

if TYPE_CHECKING:
    import keras

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Macs:
    """Multiply-accumulates for one example.

    Attributes:
        by_layer: layer name to its count, in the order of the calls; a shared layer sums its calls.
        uncounted: names of layers that multiply but have no formula, or whose shapes are not fixed.
    """

    by_layer: Mapping[str, int]
    uncounted: tuple[str, ...]

    @property
    def total(self) -> int | None:
        """The sum, or None where some layer could not be counted."""
        return None if self.uncounted else sum(self.by_layer.values())


@dataclass(frozen=True, slots=True)
class _Call:
    """What a formula may look at; shapes are without the batch."""

    config: Mapping[str, Any]
    weights: tuple[tuple[str, Shape], ...]
    inputs: tuple[Shape, ...]
    output: Shape

    def size(self, *names: str) -> int:
        """Sum the sizes of the weights of these names, with or without Keras's counters behind them."""
        return sum(prod(shape) for name, shape in self.weights if name in names)

    def positions(self, shape: Shape) -> int:
        """Count the places of a feature map, without its channels."""
        channels_first = self.config.get("data_format") == "channels_first"
        return prod(shape[1:] if channels_first else shape[:-1])


def count(model: keras.Model) -> Macs:
    """Count the multiply-accumulates of every layer, nested models included.

    Args:
        model: functional, Sequential or subclassed; sizes other than the batch must be fixed to be counted.

    Returns:
        The counts by layer. A subclassed model whose call cannot be followed is itself listed as not counted.
    """
    try:
        return count_graph(graph_reading.from_model(model))
    except InputError:
        return Macs({}, (str(model.name),))


def count_graph(graph: Graph) -> Macs:
    """Count the multiply-accumulates of every layer of a graph; see `count`."""
    by_layer: dict[str, int] = {}
    uncounted: dict[str, None] = {}
    for node in graph.nodes:
        layer = node.layer
        inputs = tuple(value.shape[1:] for value in node.inputs)
        weights = tuple((name, tuple(array.shape)) for name, array in layer.weights)
        kinds = tuple(parent.__name__ for parent in layer.type.__mro__)
        macs = _count(kinds, layer.config, weights, inputs, node.output.shape[1:])
        if macs is None:
            uncounted[layer.name] = None
        by_layer[layer.name] = by_layer.get(layer.name, 0) + (macs or 0)
    return Macs(by_layer, tuple(uncounted))


def _count(
    kinds: Iterable[str],
    config: Mapping[str, Any],
    weights: tuple[tuple[str, Shape], ...],
    inputs: tuple[tuple[int | None, ...], ...],
    output: tuple[int | None, ...],
) -> int | None:
    """Count one call; None where it multiplies in a way that cannot be counted."""
    kind = next((kind for kind in kinds if kind in _FORMULAS or kind in _FREE), None)
    if kind == "FakeQuantWeights":
        inner = config["layer"]
        return _count((inner["class_name"],), inner["config"], weights, inputs, output)
    if kind == "TimeDistributed":
        inner = config["layer"]
        steps = output[0]
        each = _count(
            (inner["class_name"],), inner["config"], weights, tuple(shape[1:] for shape in inputs), output[1:]
        )
        return None if each is None or steps is None else steps * each
    if kind is None or kind in _FREE:
        multiplies = kind is None and any(len(shape) > 1 for _, shape in weights)
        return None if multiplies else 0
    if kind in {"EinsumDense", "Tensordot"}:
        output = ()  # where the user leaves sizes open that the inputs tell
    known = (*inputs, output)
    if any(size is None for shape in known for size in shape):
        return None
    fixed = tuple(tuple(size for size in shape if size is not None) for shape in known)
    return _FORMULAS[kind](_Call(config, weights, fixed[:-1], fixed[-1]))


def _convolution(call: _Call) -> int:
    return call.positions(call.output) * call.size("kernel", "depthwise_kernel", "pointwise_kernel")


def _transposed_convolution(call: _Call) -> int:
    return call.positions(call.inputs[0]) * call.size("kernel")


def _dense(call: _Call) -> int:
    return prod(call.inputs[0][:-1]) * call.size("kernel")


def _einsum_dense(call: _Call) -> int | None:
    left, _, _ = str(call.config["equation"]).replace(" ", "").partition("->")
    inputs, _, kernel = left.partition(",")
    shape = dict(call.weights)["kernel"]
    sizes = dict(zip(kernel, shape, strict=True))
    if inputs.startswith("..."):
        letters = inputs[3:]
        leading = prod(call.inputs[0][: len(call.inputs[0]) - len(letters)])
        known = call.inputs[0][len(call.inputs[0]) - len(letters) :]
    else:
        letters, leading, known = inputs[1:], 1, call.inputs[0]
    sizes.update(zip(letters, known, strict=True))
    return leading * prod(sizes.values())


def _recurrent(call: _Call) -> int:
    return call.inputs[0][0] * call.size("kernel", "recurrent_kernel")


def _heads_attention(call: _Call) -> int | None:
    """Count projections of query, key, value and output, and the two products between them."""
    if len(call.inputs) < 2 or any(len(shape) != 2 for shape in call.inputs[:2]):
        return None
    queries, keys = call.inputs[0][0], call.inputs[1][0]
    heads = int(call.config["num_heads" if "num_heads" in call.config else "num_query_heads"])
    key_size = int(call.config["key_dim" if "key_dim" in call.config else "head_dim"])
    value_size = int(call.config.get("value_dim") or key_size)
    kernels = [prod(shape) for name, shape in call.weights if name == "kernel"]
    if len(kernels) != 4:
        return None
    query, key, value, output = kernels
    between = queries * keys * heads * (key_size + value_size)
    return queries * (query + output) + keys * (key + value) + between


def _dot_attention(call: _Call) -> int:
    query, value = call.inputs[0], call.inputs[1]
    return prod(query[:-1]) * value[-2] * (query[-1] + value[-1])


def _additive_attention(call: _Call) -> int:
    """Count the learned scale of the scores, sum(scale · tanh(query + key)), and their product with the values."""
    query, value = call.inputs[0], call.inputs[1]
    scaled = query[-1] if call.config.get("use_scale", True) else 0
    return prod(query[:-1]) * value[-2] * (scaled + value[-1])


def _convolution_recurrent(call: _Call) -> int:
    steps, dimensions = call.inputs[0][0], len(call.inputs[0]) - 2
    channels_first = call.config.get("data_format") == "channels_first"
    places = call.output[-dimensions:] if channels_first else call.output[-dimensions - 1 : -1]
    return steps * prod(places) * call.size("kernel", "recurrent_kernel")


def _batch_dot(call: _Call) -> int | None:
    axes = call.config.get("axes")  # keras.ops.dot, of the same name, has none
    if axes is None or len(call.inputs) != 2:
        return None
    axis = axes if isinstance(axes, int) else axes[0]
    left, right = call.inputs
    return prod(left) * prod(right) // (1, *left)[axis]


def _tensor_dot(call: _Call) -> int | None:
    axes = call.config.get("axes")
    if axes is None or len(call.inputs) != 2:
        return None
    left, right = ((1, *shape) for shape in call.inputs)
    if isinstance(axes, int):
        summed = left[len(left) - axes :]
    else:
        first = axes[0]
        summed = tuple(left[axis] for axis in ([first] if isinstance(first, int) else first))
    return prod(left) * prod(right) // prod(summed)


def _einsum(call: _Call) -> int | None:
    """Count the product of two tensors with the batch first; of more, the order of the products is not known."""
    terms = str(call.config.get("subscripts", "")).replace(" ", "").partition("->")[0].split(",")
    if len(terms) != len(call.inputs) or len({term[:1] for term in terms}) != 1 or len(terms) > 2:
        return None
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, call.inputs, strict=True):
        if "." in term or len(term) != len(shape) + 1:
            return None
        sizes.update(zip(term[1:], shape, strict=True))
    return prod(sizes.values()) if len(terms) == 2 else 0


def _product(call: _Call) -> int:
    return prod(call.output) * call.inputs[0][-1]


_FORMULAS: dict[str, Callable[[_Call], int | None]] = {
    **dict.fromkeys(
        (
            "Conv1D",
            "Conv2D",
            "Conv3D",
            "DepthwiseConv1D",
            "DepthwiseConv2D",
            "SeparableConv1D",
            "SeparableConv2D",
        ),
        _convolution,
    ),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _transposed_convolution),
    "Dense": _dense,
    "EinsumDense": _einsum_dense,
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN", "Bidirectional"), _recurrent),
    **dict.fromkeys(("MultiHeadAttention", "GroupedQueryAttention"), _heads_attention),
    "Attention": _dot_attention,
    "Matmul": _product,
    "AdditiveAttention": _additive_attention,
    "Dot": _batch_dot,
    "Einsum": _einsum,
    "Tensordot": _tensor_dot,
    **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), _convolution_recurrent),
    # Wrappers, which `_count` looks into.
    **dict.fromkeys(("TimeDistributed", "FakeQuantWeights"), lambda _: None),
}
_FREE = frozenset(
    ("BatchNormalization", "Embedding", "GroupNormalization", "LayerNormalization", "Normalization", "PReLU")
)
