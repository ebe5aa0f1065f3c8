"""The BatchNorms that quantization folded away, found again in the float model so that they can train."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slimedge.compress.folding import OUTPUT_AXES, batchnorm_affine, scale_outputs
from slimedge.compress.qat.rewriting import Norm
from slimedge.compress.simplifying import split_activations, split_separable, strip_training_only
from slimedge.fake_quant import FakeQuantWeights
from slimedge.graph import Graph
from slimedge.graph_reading import from_model

if TYPE_CHECKING:
    import keras


def folded_norms(model: keras.Model, quantized: Graph) -> dict[str, Norm]:
    """Give each layer of a quantized graph that is a float model's layer with the BatchNorm behind it folded in.

    One whose weights are not that product, since something else changed them as well, is left out.

    Args:
        model: float.
        quantized: what was made of it.

    Returns:
        By the name of the layer.
    """
    graph, _ = strip_training_only(from_model(model))
    graph = split_activations(split_separable(graph))
    kernels = {layer.name: layer for layer in quantized.calls() if layer.type is FakeQuantWeights}
    producers = graph.producers()
    found = {}
    for node in graph.nodes:
        before = producers.get(node.inputs[0]) if node.layer.kind == "BatchNormalization" else None
        if before is None or before.layer.kind not in OUTPUT_AXES or before.layer.name not in kernels:
            continue
        folded = scale_outputs(before.layer, *batchnorm_affine(node.layer)).weight("kernel")
        now = kernels[before.layer.name].weight("kernel")
        if folded is not None and now is not None and np.array_equal(folded, now):
            found[before.layer.name] = Norm(before.layer, node.layer)
    return found
