"""What tests of rewrites ask of a graph: whether it computes what its model does, and of what it is made."""

from __future__ import annotations

import keras
import numpy as np
from small_models import examples

from slimedge.export.worker import keras_outputs
from slimedge.graph import Graph
from slimedge.graph_making import to_model


def shaken(network: keras.Model) -> keras.Model:
    """The model with random weights and statistics."""
    generator = np.random.default_rng(0)
    for variable in network.variables:
        low, high = (0.5, 1.5) if variable.name in {"gamma", "moving_variance"} else (-0.5, 0.5)
        variable.assign(generator.uniform(low, high, variable.shape))
    return network


def assert_same(network: keras.Model, graph: Graph) -> None:
    """Both give the same outputs under the same names."""
    inputs = examples(network, count=4)
    before, after = keras_outputs(network, inputs), keras_outputs(to_model(graph), inputs)
    assert list(before) == list(after)
    for name, expected in before.items():
        np.testing.assert_allclose(after[name], expected, atol=1e-5)


def kinds(graph: Graph) -> list[str]:
    """The class of each node's layer, in order."""
    return [node.layer.kind for node in graph.nodes]
