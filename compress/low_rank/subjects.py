"""The layers of a graph that can be split: what they compute with, and where."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.low_rank.matrices import plain_product
from slimedge.compress.low_rank.options import MACS, Option, frontier
from slimedge.compress.low_rank.ways import CONVOLUTIONS, WAYS, Places, Subject
from slimedge.compress.low_rank.weighting import weightings
from slimedge.graph import Graph, Layer, Node

if TYPE_CHECKING:
    from slimedge.data import Data


def why_not(layer: Layer) -> str | None:
    """Say why a layer with a kernel cannot be split; None where it can, or has nothing to split.

    Args:
        layer: any.

    Returns:
        A reason, as in "it is grouped".
    """
    kernel = layer.weight("kernel")
    if not _is_splittable(layer) or kernel is None:
        return None
    if layer.config.get("groups", 1) != 1:
        return "it is grouped"
    if kernel.dtype.kind in "iub" or any(name.startswith("lora") for name, _ in layer.weights):
        return "its weights are not plain numbers"
    if layer.kind == "EinsumDense" and plain_product(str(layer.config["equation"])) is None:
        return "its equation is more than a matrix product"
    return None


def splittable(graph: Graph) -> dict[Layer, list[Node]]:
    """Give the layers of a graph that can be split, with their calls."""
    found: dict[Layer, list[Node]] = {}
    for node in graph.nodes:
        if _is_splittable(node.layer) and why_not(node.layer) is None:
            found.setdefault(node.layer, []).append(node)
    return found


def subjects_of(
    graph: Graph, names: Collection[str] | None = None, data: Data | None = None
) -> dict[str, Subject]:
    """Give the layers of a graph that can be split, by name.

    Args:
        graph: any.
        names: of the layers that are wanted; None for all.
        data: bound to the graph's inputs, where what matters of a kernel is to be seen on examples.
    """
    wanted = {
        layer: calls for layer, calls in splittable(graph).items() if names is None or layer.name in names
    }
    weights = weightings(graph, wanted, data)
    return {
        layer.name: Subject(layer, _kernel(layer), _places(layer, calls), weights[layer])
        for layer, calls in wanted.items()
    }


def options_of(
    subject: Subject, ways: Collection[str], *, multiple: int = 1, what: str = MACS
) -> tuple[Option, ...]:
    """Give what a layer may become, the cheapest first; the layer as it is is the last.

    Args:
        subject: the layer.
        ways: names in `WAYS` that may be taken.
        multiple: that ranks are of.
        what: `macs` or `parameters`: what counts as cost.
    """
    tables = [table for name in ways if (table := WAYS[name].table(subject, multiple)) is not None]
    size = subject.kernel.size
    return frontier(Option("", (), size * subject.places.made, size, 1.0), tables, what)


def _is_splittable(layer: Layer) -> bool:
    return layer.kind in {"Dense", "EinsumDense", *CONVOLUTIONS}


def _kernel(layer: Layer) -> NDArray[np.float64]:
    kernel = layer.weight("kernel")
    if kernel is None:
        raise KeyError(f"{layer.kind} '{layer.name}' has no kernel")
    return kernel.astype(np.float64)


def _places(layer: Layer, calls: list[Node]) -> Places:
    """The positions of all calls; where sizes are open, those of the least input that gives one output."""
    found = [_places_of(layer, node) for node in calls]
    sizes = {
        letter: size if all(one.sizes[letter] == size for one in found) else None
        for letter, size in found[0].sizes.items()
    }
    given, between, made = (sum(getattr(one, name) for one in found) for name in ("given", "between", "made"))
    return Places(given, between, made, sizes)


def _places_of(layer: Layer, node: Node) -> Places:
    given, made = node.inputs[0].shape[1:], node.output.shape[1:]
    if layer.kind == "Dense":
        positions = _count(made[:-1])
        return Places(positions, positions, positions)
    if layer.kind == "EinsumDense":
        return _einsum_places(layer, node)
    if layer.config["data_format"] == "channels_first":
        given, made = given[1:], made[1:]
    else:
        given, made = given[:-1], made[:-1]
    strides = tuple(layer.config["strides"])
    if any(size is None for size in (*given, *made)):
        given, made = strides, (1,) * len(strides)
    return Places(_count(given), _count((*made[:1], *given[1:])), _count(made))


def _einsum_places(layer: Layer, node: Node) -> Places:
    equation = plain_product(str(layer.config["equation"]))
    if equation is None:
        raise ValueError(f"layer '{layer.name}' is no plain product")
    shape = node.inputs[0].shape
    named = shape[len(shape) - len(equation.given) :]
    sizes = {
        letter: size
        for letter, size in zip(equation.given, named, strict=True)
        if letter in equation.positions
    }
    leading = shape[1 : len(shape) - len(equation.given)] if equation.prefix else ()
    batch = "" if equation.prefix else equation.given[0]
    counted = (*leading, *(size for letter, size in sizes.items() if letter != batch))
    positions = _count(counted)
    return Places(positions, positions, positions, sizes)


def _count(sizes: Iterable[int | None]) -> int:
    """How many positions there are; an open size counts once, since it is the same before and after."""
    return prod(size or 1 for size in sizes)
