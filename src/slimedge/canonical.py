"""A model in the one form that quantization and export start from: float32, channels last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.layout import channels_last, is_channels_first
from slimedge.lineage import lineage_of, with_lineage
from slimedge.precision import computes_in_half, single_precision
from slimedge.unfolding import is_symbolic, unfolded

if TYPE_CHECKING:
    import keras


def canonical(model: keras.Model) -> keras.Model:
    """Give a model that computes the same in float32 and channels last; one that does so already is given back.

    Inputs and outputs keep their names, shapes and order; one of half precision becomes float32.

    Args:
        model: built, subclassed models included (`slimedge.unfolding`); it stays as it is.

    Raises:
        InputError: it has a layer that would have to be changed and cannot be made again from its config.
    """
    model = model if is_symbolic(model) or not model.built else unfolded(model)
    if not _may_differ(model):
        return model
    graph = from_model(model)
    if computes_in_half(graph):
        graph = single_precision(graph)
    if is_channels_first(graph):
        graph = channels_last(graph)
    return with_lineage(to_model(graph), lineage_of(model))


def _may_differ(model: keras.Model) -> bool:
    layers = model._flatten_layers()
    return any(
        "16" in f"{layer.compute_dtype}{layer.variable_dtype}"
        or getattr(layer, "data_format", None) == "channels_first"
        for layer in layers
    )
