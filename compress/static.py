"""Static integers: weights and activations rounded to calibrated grids, as a rewrite of the Keras graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
from slimedge.compress.layer_bits import FLOAT, WIDE, activation_bits, assigned_bits
from slimedge.compress.layer_sqnr import layer_sqnr
from slimedge.compress.methods import METHODS, Method
from slimedge.compress.placement import Placement, place
from slimedge.compress.planning import Bits, Plan, Ranges, planned
from slimedge.compress.pointwise import affine_to_depthwise
from slimedge.compress.settings import EXCLUDED, Settings
from slimedge.compress.simplifying import split_activations, split_separable, split_swish, strip_training_only
from slimedge.errors import InputError
from slimedge.graph import Graph
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.lineage import lineage_of, with_lineage

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data

# Why a layer that could be rounded stays float.
# Of the weights of a layer between activations of 16 bits.
KERNEL_BITS = 8
LEFT_WIDE = "float was chosen for its weights"
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
    ready = prepare(model, data, settings)
    graph, bits = ready.graph, STATIC[scheme]
    layer_bits, placement = ready.layer_bits, ready.placement
    ranges = calibrate(
        graph,
        placement,
        data,
        observer=settings.observer,
        observers=settings.observers,
        bits=dict.fromkeys(placement.groups.values(), bits.activations)
        | activation_bits(graph, placement, layer_bits),
        progress=settings.progress,
    )
    plan = refined(ready, planned_with(ready, placement, ranges, bits, layer_bits), data)
    quantized = to_model(insert(plan))
    step = Step(
        "quantize",
        {
            "scheme": scheme,
            "observer": settings.observer,
            **({"observers": dict(settings.observers)} if settings.observers else {}),
            "granularity": settings.granularity,
            "kernel_bits": max(kernel.bits for kernel in plan.kernels.values()),
            "methods": list(settings.methods),
            **({"layer_bits": layer_bits} if layer_bits else {}),
            "calibration_examples": len(data),
            "calibration_data": data.fingerprint,
            "folded": list(ready.folded),
            "removed": list(ready.removed),
            "float_layers": dict(placement.left_float),
            "layer_sqnr_db": layer_sqnr(graph, insert(plan, trainable=False), data),
        },
    )
    return with_lineage(quantized, (*lineage_of(model), step))


@dataclass(frozen=True, slots=True)
class Ready:
    """A float graph that can be rounded, and how.

    Attributes:
        graph: simplified, changed by the methods that come before ranges are found.
        settings: as given.
        methods: of the settings.
        placement: which values are rounded.
        layer_bits: of the weights of single layers, by the user's names; `float` ones are not placed.
        folded: names of layers that were folded into others.
        removed: likewise, that do nothing after training.
    """

    graph: Graph
    settings: Settings
    methods: tuple[Method, ...]
    placement: Placement
    layer_bits: Mapping[str, int | str]
    folded: tuple[str, ...]
    removed: tuple[str, ...]


def prepare(model: keras.Model, data: Data, settings: Settings) -> Ready:
    """Make a model's graph ready to be rounded.

    Raises:
        InputError: none of its layers can be, or a pattern for bits fits none that can.
        CheckError: the graph computes something else than the model.
    """
    graph, folded, removed = simplify(from_model(model))
    check_same(model, graph, data)
    methods = tuple(METHODS[name] for name in settings.methods)
    for method in methods:
        graph = method.prepare(graph, data)
    reasons = dict.fromkeys(settings.exclude, EXCLUDED)
    placement = place(graph, exclude=reasons)
    layer_bits = assigned_bits(graph, sources(graph, placement), settings.bits)
    wide = [name for name, bits in layer_bits.items() if bits == FLOAT]
    if wide:
        placement = place(graph, exclude=dict.fromkeys(wide, LEFT_WIDE) | reasons)
    if not placement.kernels:
        left = "; ".join(f"{name}: {reason}" for name, reason in list(placement.left_float.items())[:3])
        raise InputError(
            f"no layer of model '{model.name}' can be quantized to static integers ({left or 'it has no kernels'}); "
            "nothing was changed."
        )
    return Ready(graph, settings, methods, placement, layer_bits, folded, removed)


def sources(graph: Graph, placement: Placement) -> tuple[str, ...]:
    """Give the user's names of the layers whose weights are rounded, in the order of the graph."""
    return tuple(dict.fromkeys(node.source for node in graph.nodes if node.layer in placement.kernels))


def planned_with(
    ready: Ready, placement: Placement, ranges: Ranges, bits: Bits, layer_bits: Mapping[str, int | str]
) -> Plan:
    """Plan the nearest integers, with bits by the user's names of layers."""
    single = {
        node.layer: KERNEL_BITS if width == WIDE else width
        for node in ready.graph.nodes
        if node.layer in placement.kernels and isinstance(width := layer_bits.get(node.source), int)
    }
    return planned(
        ready.graph,
        placement,
        ranges,
        bits,
        layer_bits=single,
        per_tensor=ready.settings.granularity == "per_tensor",
        activation_bits=activation_bits(ready.graph, placement, layer_bits),
    )


def refined(ready: Ready, plan: Plan, data: Data) -> Plan:
    """Let the methods choose other integers and biases."""
    for method in ready.methods:
        plan = method.refine(plan, data)
    return plan


def simplify(graph: Graph) -> tuple[Graph, tuple[str, ...], tuple[str, ...]]:
    """Make a graph ready for quantization; give it with the names of folded and of removed layers."""
    graph, removed = strip_training_only(graph)
    graph = split_swish(name_activations(split_activations(split_separable(graph))))
    graph = merge_rescalings(constants_to_rescaling(split_hard_sigmoid(graph)))
    graph, folded = fold_affine(merge_rescalings(scale_before_relu(scale_before_product(graph))))
    return affine_to_depthwise(graph), folded, removed
