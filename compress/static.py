"""Static integers: weights and activations rounded to calibrated grids, as a rewrite of the Keras graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimedge.artifact import Step
from slimedge.compress.calibration import calibrate
from slimedge.compress.constants import (
    constants_to_rescaling,
    merge_rescalings,
    name_activations,
    scale_before_product,
    scale_before_relu,
    split_hard_sigmoid,
)
from slimedge.compress.equivalence import check_same
from slimedge.compress.folding import fold_affine
from slimedge.compress.inserting import insert
from slimedge.compress.layer_sqnr import layer_sqnr
from slimedge.compress.methods import METHODS
from slimedge.compress.placement import place
from slimedge.compress.planning import Bits, planned
from slimedge.compress.pointwise import affine_to_depthwise
from slimedge.compress.settings import Settings
from slimedge.compress.simplifying import split_activations, split_separable, split_swish, strip_training_only
from slimedge.errors import InputError
from slimedge.graph import Graph
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.lineage import lineage_of, with_lineage

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data

# The static schemes; their files are lowered alike.
STATIC = {
    "static_wi8_ai8": Bits(8),
    "static_wi4_ai8": Bits(4),
    "static_wi8_ai16": Bits(activations=16),
}


def static_wi8_ai8(model: keras.Model, data: Data, settings: Settings) -> keras.Model:
    """Quantize to int8 weights (per channel) and int8 activations (per tensor); see `quantize`."""
    return _static(model, data, settings, "static_wi8_ai8")


def static_wi4_ai8(model: keras.Model, data: Data, settings: Settings) -> keras.Model:
    """Quantize to int4 weights and int8 activations; see `quantize`."""
    return _static(model, data, settings, "static_wi4_ai8")


def static_wi8_ai16(model: keras.Model, data: Data, settings: Settings) -> keras.Model:
    """Quantize to int8 weights and int16 activations; see `quantize`."""
    return _static(model, data, settings, "static_wi8_ai16")


def _static(model: keras.Model, data: Data, settings: Settings, scheme: str) -> keras.Model:
    graph, folded, removed = simplify(from_model(model))
    check_same(model, graph, data)
    methods = [METHODS[name] for name in settings.methods]
    for method in methods:
        graph = method.prepare(graph, data)
    placement = place(graph, exclude=settings.exclude)
    if not placement.kernels:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(placement.left_float.items())[:3])
        raise InputError(
            f"no layer of model '{model.name}' can be quantized to static integers ({reasons or 'it has no kernels'}); "
            "nothing was changed."
        )
    bits = STATIC[scheme]
    ranges = calibrate(
        graph,
        placement,
        data,
        observer=settings.observer,
        observers=settings.observers,
        bits=dict.fromkeys(placement.groups.values(), bits.activations),
        progress=settings.progress,
    )
    plan = planned(graph, placement, ranges, bits, per_tensor=settings.granularity == "per_tensor")
    for method in methods:
        plan = method.refine(plan, data)
    quantized = to_model(insert(plan))
    step = Step(
        "quantize",
        {
            "scheme": scheme,
            "observer": settings.observer,
            **({"observers": dict(settings.observers)} if settings.observers else {}),
            "granularity": settings.granularity,
            "methods": list(settings.methods),
            "calibration_examples": len(data),
            "calibration_data": data.fingerprint,
            "folded": list(folded),
            "removed": list(removed),
            "float_layers": dict(placement.left_float),
            "layer_sqnr_db": layer_sqnr(graph, insert(plan, trainable=False), data),
        },
    )
    return with_lineage(quantized, (*lineage_of(model), step))


def simplify(graph: Graph) -> tuple[Graph, tuple[str, ...], tuple[str, ...]]:
    """Make a graph ready for quantization; give it with the names of folded and of removed layers."""
    graph, removed = strip_training_only(graph)
    graph = split_swish(name_activations(split_activations(split_separable(graph))))
    graph = merge_rescalings(constants_to_rescaling(split_hard_sigmoid(graph)))
    graph, folded = fold_affine(merge_rescalings(scale_before_relu(scale_before_product(graph))))
    return affine_to_depthwise(graph), folded, removed
