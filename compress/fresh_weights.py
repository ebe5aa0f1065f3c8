"""Weights drawn anew, by each layer's own initializers and one seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from slimedge.graph import Graph, Layer, with_values
from slimedge.graph_making import layer_names, to_model


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Make the weights that Keras draws depend on `seed` only; Python's own random numbers go on as before."""
    before = random.getstate()
    random.seed(seed)  # Keras draws the seed of every initializer from here
    try:
        yield
    finally:
        random.setstate(before)


def with_fresh_weights(graph: Graph, seed: int) -> Graph:
    """Give a graph whose layers have weights as if they were never trained.

    BatchNorm's statistics are those of no data, 0 and 1. What a layer learned from data without training, as the mean
    and variance of a Normalization, stays.

    Args:
        graph: any.
        seed: of all that is drawn; the seeds in the layers' own initializers do not count.
    """
    drawn = {layer: _to_be_drawn(layer) for layer in graph.calls() if layer.weights and not _adapted(layer)}
    empty = with_values(graph, {}, drawn)
    with seeded(seed):
        model = to_model(empty)
    names = layer_names(empty)
    fresh = {}
    for layer, without in drawn.items():
        made = model.get_layer(names[without]).weights
        fresh[layer] = layer.with_arrays([np.asarray(weight) for weight in made])
    return with_values(graph, {}, fresh)


def _adapted(layer: Layer) -> bool:
    return hasattr(layer.type, "adapt")


def _to_be_drawn(layer: Layer) -> Layer:
    return replace(layer, config=_without_seeds(layer.config), weights=(), moments=None)


def _without_seeds(config: Mapping[str, Any]) -> dict[str, Any]:
    """Give a config whose initializers, those of wrapped layers too, have no seeds of their own."""
    found = {}
    for name, part in config.items():
        if not isinstance(part, Mapping):
            found[name] = part
        elif name.endswith("_initializer") and isinstance(part.get("config"), Mapping):
            inner = part["config"]
            found[name] = {**part, "config": {**inner, "seed": None} if "seed" in inner else inner}
        else:
            found[name] = _without_seeds(part)
    return found
