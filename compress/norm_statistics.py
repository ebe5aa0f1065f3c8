"""The statistics of BatchNorm, measured again after the weights in front of it changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.simplifying import strip_training_only
from slimedge.graph import Graph, Layer, Node, with_values
from slimedge.graph_making import layer_names, to_model
from slimedge.graph_reading import from_model
from slimedge.lineage import lineage_of, with_lineage

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data

NORM = "BatchNormalization"
STATISTICS = ("moving_mean", "moving_variance")
EXAMPLES = 4096
BATCH_SIZE = 256


def with_measured_norms(
    model: keras.Model, data: Data, *, examples: int = EXAMPLES, batch_size: int = BATCH_SIZE, seed: int = 0
) -> keras.Model:
    """Give a model whose BatchNorms have the mean and variance of what they are given now.

    Each BatchNorm normalizes with the statistics of its batch, as in training, and over the batches

        mean = E[m],   variance = E[v + m²] - E[m]²

    for the batches' means m and variances v, which is what the examples together have. Dropout and augmentation are
    left out. A BatchNorm that is not trainable keeps its statistics, and so does one within another layer
    (TimeDistributed).

    Args:
        model: float; it stays as it is.
        data: bound to its inputs.
        examples: how many are used at most; they are drawn at random where there are more.
        batch_size: examples a batch.
        seed: of the draw.

    Returns:
        A model with other statistics, or `model` itself where it has no BatchNorm.

    Raises:
        InputError: the model cannot be read; see `slimedge.graph_reading.from_model`.

    Reference: Wu and Johnson, 2021, "Rethinking 'Batch' in BatchNorm", section 3.2 (PreciseBN).
    """
    graph = from_model(model)
    if not any(_is_measured(layer) for layer in graph.calls()):
        return model
    few = data.take(min(examples, len(data)), seed=seed)
    measured = with_values(graph, {}, _measured(graph, few, batch_size))
    return with_lineage(to_model(measured), lineage_of(model))


def _is_measured(layer: Layer) -> bool:
    return layer.kind == NORM and bool(layer.config.get("trainable", True))


def _measured(graph: Graph, data: Data, batch_size: int) -> dict[Layer, Layer]:
    """Give each BatchNorm with its statistics."""
    training, copies = _training(graph)
    model = to_model(training, kept=False)
    names = layer_names(training)
    call = _compiled(model)
    sums: dict[Layer, NDArray[np.float64]] = {}
    seen = 0
    for inputs, _ in data.batches(batch_size):
        count = len(next(iter(inputs.values())))
        call([inputs[name] for name in graph.input_names])
        for copy, layer in copies.items():
            norm = model.get_layer(names[copy])
            mean, variance = (np.asarray(getattr(norm, name), np.float64) for name in STATISTICS)
            found = count * np.stack([mean, variance + mean**2])
            sums[layer] = sums.get(layer, np.float64(0)) + found
        seen += count
    calls = graph.calls()
    return {layer: _with_moments(layer, total / (seen * calls[layer])) for layer, total in sums.items()}


def _training(graph: Graph) -> tuple[Graph, dict[Layer, Layer]]:
    """Give a graph whose BatchNorms take each batch's statistics, and keep those of the last one.

    Each call of a shared one becomes a layer of its own, told in the dictionary from it to the shared one.
    """
    graph, _ = strip_training_only(graph)
    copies: dict[Layer, Layer] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        if not _is_measured(node.layer):
            nodes.append(node)
            continue
        # With a momentum of 0, what moves is where the batch is.
        copy = node.layer.changed(name=node.name, momentum=0.0)
        copies[copy] = node.layer
        nodes.append(replace(node, layer=copy, kwargs={**node.kwargs, "training": True}))
    changed = replace(graph, input_structure=list(graph.inputs), nodes=tuple(nodes))
    ends = [node for node in nodes if not changed.consumers().get(node.output)]
    values = tuple(node.output for node in ends)
    names = tuple(node.layer.name for node in ends)
    return replace(changed, outputs=values, output_names=names, output_structure=list(values)), copies


def _compiled(model: keras.Model) -> Any:
    import tensorflow as tf

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator, unused-ignore]
    def call(feeds: list[Any]) -> Any:
        # Not with training=False, which would be told to the BatchNorms as well.
        return model(feeds)

    return call


def _with_moments(layer: Layer, moments: NDArray[np.float64]) -> Layer:
    mean, square = moments
    found = {"moving_mean": mean, "moving_variance": np.maximum(square - mean**2, 0)}
    weights = tuple((name, found.get(name, array).astype(array.dtype)) for name, array in layer.weights)
    return replace(layer, weights=weights)
