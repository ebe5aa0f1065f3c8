"""A graph with some of its layers split into chains of smaller ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.low_rank.matrices import plain_product
from slimedge.compress.low_rank.options import MACS, Option, Table, frontier
from slimedge.compress.low_rank.ways import CONVOLUTIONS, WAYS, Part, Places
from slimedge.graph import Graph, Layer, Node, Value

# Settings of a layer that only the last of its chain may have.
_LAST_ONLY: Mapping[str, Any] = {
    "use_bias": False,
    "bias_axes": None,
    "activation": "linear",
    "bias_regularizer": None,
    "bias_constraint": None,
    "activity_regularizer": None,
}


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


def options_of(
    layer: Layer, calls: list[Node], ways: tuple[str, ...], *, multiple: int = 1, what: str = MACS
) -> tuple[Option, ...]:
    """Give what a layer may become, the cheapest first; the layer as it is is the last.

    Args:
        layer: that can be split.
        calls: of it.
        ways: names in `WAYS` that may be taken.
        multiple: that ranks are of.
        what: `macs` or `parameters`: what counts as cost.
    """
    kernel, places = _kernel(layer), _places(layer, calls)
    tables: list[Table] = []
    for name in ways:
        table = WAYS[name].table(layer, kernel, places, multiple)
        if table is not None:
            tables.append(table)
    whole = Option("", (), kernel.size * places.made, kernel.size, 1.0)
    return frontier(whole, tables, what)


def split(graph: Graph, chosen: Mapping[Layer, Option]) -> Graph:
    """Replace layers by chains of the ranks that were chosen; the last of a chain keeps the layer's name.

    Args:
        graph: any.
        chosen: of layers that can be split; those that stay whole may be among them.
    """
    calls = splittable(graph)
    chains: dict[Layer, list[Layer]] = {}
    for layer, option in chosen.items():
        if option.way:
            parts = WAYS[option.way].parts(layer, _kernel(layer), option.ranks, _places(layer, calls[layer]))
            chains[layer] = _chain(graph, layer, parts)
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes.extend(_called(node, chains[node.layer]) if node.layer in chains else [node])
    return graph.with_nodes(nodes)


def _called(node: Node, chain: list[Layer]) -> list[Node]:
    """The calls of a chain in the place of one call."""
    nodes: list[Node] = []
    given = node.inputs[0]
    for layer in chain[:-1]:
        operation = layer.type.from_config(dict(layer.config))  # type: ignore[attr-defined]
        made = Value(tuple(operation.compute_output_shape(given.shape)), node.output.dtype)
        suffix = layer.name.removeprefix(node.layer.name)
        nodes.append(Node(f"{node.name}{suffix}", node.source, layer, (given,), {}, (made,)))
        given = made
    return [*nodes, replace(node, layer=chain[-1], args=(given,), kwargs={})]


def _chain(graph: Graph, layer: Layer, parts: tuple[Part, ...]) -> list[Layer]:
    made = []
    for part in parts[:-1]:
        removed = {name: value for name, value in _LAST_ONLY.items() if name in layer.config}
        name = graph.fresh_name(f"{layer.name}_{part.suffix}")
        settings = {**removed, **_unconstrained(layer), **part.settings, "name": name}
        made.append(layer.changed(weights={"kernel": _as(layer, part.kernel)}, **settings))
    last = parts[-1]
    weights = {name: array if name != "kernel" else _as(layer, last.kernel) for name, array in layer.weights}
    return [*made, layer.changed(weights=weights, **_unconstrained(layer), **last.settings)]


def _unconstrained(layer: Layer) -> dict[str, Any]:
    """Without what holds for the whole kernel, and not for its factors."""
    return {"kernel_constraint": None} if "kernel_constraint" in layer.config else {}


def _is_splittable(layer: Layer) -> bool:
    return layer.kind in {"Dense", "EinsumDense", *CONVOLUTIONS}


def _kernel(layer: Layer) -> NDArray[Any]:
    kernel = layer.weight("kernel")
    if kernel is None:
        raise KeyError(f"{layer.kind} '{layer.name}' has no kernel")
    return kernel.astype(np.float64)


def _as(layer: Layer, kernel: NDArray[Any]) -> NDArray[Any]:
    own = layer.weight("kernel")
    return kernel if own is None else kernel.astype(own.dtype)


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
