"""`auto`: the scheme that suits a model's family, read off its layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from slimedge.artifact import Step
from slimedge.compress.placement import place
from slimedge.compress.settings import EXCLUDED, Settings
from slimedge.compress.static import simplify, static_wi8_ai8
from slimedge.compress.weight_only import check_settings, weight_only_wi8_afp32
from slimedge.errors import InputError
from slimedge.graph import Graph, Node
from slimedge.graph_reading import from_model
from slimedge.lineage import lineage_of, with_lineage

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data

# Static int8 pays where nearly all products run on integers; each float layer between costs two conversions.
LEAST_STATIC_SHARE = 0.9
# A table is looked up, not multiplied with.
LOOKED_UP = frozenset({"Embedding"})


def auto(model: keras.Model, data: Data, settings: Settings) -> keras.Model:
    """Quantize by the scheme that `choose` gives; see `slimedge.compress.quantization.quantize`."""
    scheme, reason = scheme_for(model, settings)
    if scheme == "static_wi8_ai8":
        quantized = static_wi8_ai8(model, data, settings)
    else:
        check_settings(settings, scheme, model.name)
        try:
            quantized = weight_only_wi8_afp32(model, data, settings)
        except InputError as error:
            try:
                quantized = static_wi8_ai8(model, data, settings)
            except InputError:
                raise error from None
            reason = f"{reason}, but 8 bits make no weight of it smaller"
    *before, step = lineage_of(quantized)
    chosen = {**step.settings, "chosen_by": "auto", "chosen_because": reason}
    return with_lineage(quantized, (*before, Step(step.name, chosen)))


def scheme_for(model: keras.Model, settings: Settings) -> tuple[str, str]:
    """Give the scheme for a model and the reason; see `choose`."""
    return choose(simplify(from_model(model))[0], exclude=settings.exclude)


def choose(graph: Graph, *, exclude: frozenset[str] = frozenset()) -> tuple[str, str]:
    """Give the scheme for a model and the reason.

    Static int8 where its layers make at least 90 % of the products with weights, which convolutional and dense nets
    do; else weight-only int8, which any layer can have: recurrent and attention layers, tables.

    Args:
        graph: simplified.
        exclude: names of the user's layers that stay float.
    """
    placement = place(graph, exclude=dict.fromkeys(exclude, EXCLUDED))
    static = other = 0
    named: dict[str, int] = {}
    for node in graph.nodes:
        products = _products(node)
        if node.layer in placement.kernels or node.source in exclude:
            static += products if node.layer in placement.kernels else 0
            continue
        other += products
        if products:
            kind = node.layer.kind.rpartition(".")[2]
            named[kind] = named.get(kind, 0) + products
    total = static + other
    if not placement.kernels:
        return "weight_only_wi8_afp32", "no layer of it has a static int8 form"
    share = static / total if total else 1.0
    if share >= LEAST_STATIC_SHARE:
        return (
            "static_wi8_ai8",
            f"{_percent(share)} of its products with weights are of convolutions and dense layers",
        )
    largest = sorted(named, key=lambda kind: -named[kind])[:3]
    kinds = ", ".join(largest)
    return (
        "weight_only_wi8_afp32",
        f"{_percent(1 - share)} of its products with weights are of {kinds}, which static int8 leaves float",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _products(node: Node) -> int:
    """Products of one call with the weights of its layer, roughly: one for each weight at each position."""
    if node.layer.kind in LOOKED_UP or not node.inputs:
        return 0
    weights = sum(array.size for _, array in node.layer.weights if array.ndim >= 2)
    shape = node.output.shape if len(node.output.shape) >= len(node.inputs[0].shape) else node.inputs[0].shape
    return weights * math.prod(size or 1 for size in shape[1:-1])
