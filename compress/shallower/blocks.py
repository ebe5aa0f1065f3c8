"""Blocks that can go: what lies between two values of one shape, and gives nothing else to anybody."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from slimedge.compress.shallower.regions import Mask, Regions, has_kernel
from slimedge.compress.shallower.trunk import (
    finished,
    phase,
    stands_between_units,
    trunk,
)
from slimedge.graph import Graph, Node, Value

SUMS = frozenset({"Add", "CustomScaleLayer"})


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A part of a graph whose end can be connected to its start.

    Attributes:
        start: what it takes.
        end: what it gives, of the same shape.
        mask: its nodes, as a set of `Regions`.
        nodes: likewise, in order.
        sides: what else it takes, from a mask or an encoder, which others take, too.
    """

    start: Value
    end: Value
    mask: Mask
    nodes: tuple[Node, ...]
    sides: frozenset[Value]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The layers with a kernel, by kind: alike in blocks that repeat each other."""
        return tuple(node.layer.kind for node in self.nodes if has_kernel(node.layer))

    @property
    def names(self) -> list[str]:
        """The layers, by name."""
        return list(dict.fromkeys(node.source for node in self.nodes))


def blocks_of(graph: Graph) -> list[Block]:
    """Find the blocks that can go, the smallest ones, none of which has a node of another.

    A residual unit is one, from where its ways part to the sum of them and the activation or normalization behind it,
    wherever it stands. In the trunk, through which all of the work for an output goes, so is what lies between two
    activations, or two merged values, and the like. Each has a kernel, and makes no output of the model.

    Args:
        graph: any.

    Returns:
        The blocks, run by run as of `runs_of`; where those of a run repeat in turn, as attention and feed-forward do,
        the blocks of one turn are one.
    """
    regions = Regions(graph)
    trunks = [trunk(regions, output) for output in dict.fromkeys(graph.outputs) if output in regions.makers]
    in_trunk = {value for each in trunks for value in each}
    residual = [
        block for block in _residual(regions) if block.end in in_trunk or not _shares(regions, block.mask)
    ]
    smallest = [
        block
        for block in residual
        if not any(other.mask != block.mask and other.mask & ~block.mask == 0 for other in residual)
    ]
    found: list[Block] = []
    for block in (*smallest, *_plain(regions, trunks)):
        if not any(block.mask & other.mask for other in found):
            found.append(block)
    found.sort(key=lambda block: block.mask.bit_length())
    return [joined for run in runs_of(found) for joined in in_turns(run)]


def runs_of(blocks: Sequence[Block]) -> list[list[Block]]:
    """Give blocks in runs, in which each starts where the one before it ends.

    Args:
        blocks: in the order of the graph; those of another run may stand between them.
    """
    runs: list[list[Block]] = []
    for block in blocks:
        run = next((run for run in runs if run[-1].end is block.start), None)
        if run is None:
            runs.append([block])
        else:
            run.append(block)
    return runs


def in_turns(run: Sequence[Block]) -> list[Block]:
    """Join the blocks of each turn, where a run is made of turns that are alike; what is left over stays as it is."""
    kinds = [block.kinds for block in run]
    turn = next((size for size in range(1, len(run) // 2 + 1) if kinds[size:] == kinds[:-size]), 1)
    whole = len(run) - len(run) % turn
    turns = [run[place : place + turn] for place in range(0, whole, turn)]
    return [*map(_joined, turns), *run[whole:]]


def _joined(blocks: Sequence[Block]) -> Block:
    mask = 0
    for block in blocks:
        mask |= block.mask
    return Block(
        blocks[0].start,
        blocks[-1].end,
        mask,
        tuple(node for block in blocks for node in block.nodes),
        frozenset[Value]().union(*(block.sides for block in blocks)),
    )


def _residual(regions: Regions) -> list[Block]:
    found = []
    for node in regions.graph.nodes:
        if node.layer.kind not in SUMS:
            continue
        ends = finished(regions, node.output)
        for start in sorted(
            set(node.inputs), key=lambda value: regions.between(value, node.output).bit_count()
        ):
            alike = [end for end in ends if phase(regions, end) == phase(regions, start)]
            made = (_block(regions, start, end) for end in (*reversed(alike), node.output))
            block = next((one for one in made if one is not None), None)
            if block is not None:
                found.append(block)
                break
    return found


def _plain(regions: Regions, trunks: Sequence[Sequence[Value]]) -> list[Block]:
    found = []
    for values in trunks:
        between = [value for value in values if stands_between_units(regions, value)]
        for start, end in itertools.pairwise(between):
            if phase(regions, start) == phase(regions, end):
                found.append(_block(regions, start, end))
    return [block for block in found if block is not None]


def _block(regions: Regions, start: Value, end: Value) -> Block | None:
    """Give what lies between two values, where it can go."""
    if (start.shape, start.dtype) != (end.shape, end.dtype) or end in regions.graph.outputs:
        return None
    mask = regions.between(start, end)
    nodes = tuple(regions.nodes(mask))
    if start in regions.unweighted or not any(has_kernel(node.layer) for node in nodes):
        return None
    sides = regions.sides(mask, start)
    if not regions.leads_only_to(mask, end) or any(not regions.takers(side) & ~mask for side in sides):
        return None
    return Block(start, end, mask, nodes, sides)


def _shares(regions: Regions, mask: Mask) -> bool:
    """Whether a layer with weights is called by these nodes and by others: the twin of a tower keeps its depth."""
    own = {node.layer for node in regions.nodes(mask) if node.layer.weights}
    return any(node.layer in own and not regions.bit(node) & mask for node in regions.graph.nodes)
