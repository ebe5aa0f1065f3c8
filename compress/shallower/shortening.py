"""A graph with fewer blocks: which go, and what is left."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from slimedge.compress.shallower.blocks import Block, blocks_of, runs_of
from slimedge.compress.shallower.regions import Regions
from slimedge.errors import OutOfReachError
from slimedge.graph import Graph

# Of a share; floats.
TOLERANCE = 1e-9


def to_remove(graph: Graph, depth: float) -> list[Block]:
    """Choose the blocks that go so that at most a share of them stays.

    They are spread evenly over the runs of blocks that follow each other and over each run, whose last one is the first
    to go. Of blocks that alone take a mask or what an encoder gives, the first stays.

    Args:
        graph: any.
        depth: share of the blocks that stays, in 0…1.

    Raises:
        OutOfReachError: fewer can go; says how many there are, and what the least share is.
    """
    blocks = blocks_of(graph)
    needed = _needed(graph, blocks)
    runs = [[block for block in run if block not in needed] for run in runs_of(blocks)]
    count, can = len(blocks), len(blocks) - len(needed)
    wanted = count - math.floor(depth * count + TOLERANCE)
    if not can:
        raise OutOfReachError(
            f"model '{graph.name}' has no block that can go, which is a residual unit or a layer with its activation "
            f"between two values of the same shape, and depth={depth:g} was asked for; leave depth at 1, and give a "
            "width."
        )
    if wanted > can:
        raise OutOfReachError(
            f"{can} of the {count} blocks of model '{graph.name}' can go, and depth={depth:g} takes {wanted}; give a "
            f"depth of {(count - can) / count:.3g} or more."
        )
    shares = counts_of([len(run) for run in runs], wanted)
    return [run[place] for run, gone in zip(runs, shares, strict=True) for place in spread(len(run), gone)]


def without_blocks(graph: Graph, blocks: Collection[Block]) -> Graph:
    """Connect the end of each block to its start."""
    gone = {node for block in blocks for node in block.nodes}
    kept = [node for node in graph.nodes if node not in gone]
    return graph.with_nodes(kept, {block.end: block.start for block in blocks})


def counts_of(sizes: Sequence[int], wanted: int) -> list[int]:
    """Share out what goes over runs, each time to the one of which the largest share stays, the last of equals.

    Example:
        >>> counts_of([1, 4, 2], 3)
        [0, 2, 1]
    """
    gone = [0] * len(sizes)
    for _ in range(wanted):
        stays = [
            ((size - taken - 1) / size, run)
            for run, (size, taken) in enumerate(zip(sizes, gone, strict=True))
            if size > taken
        ]
        gone[max(stays)[1]] += 1
    return gone


def spread(size: int, count: int) -> list[int]:
    """Give so many places of a run, evenly, the last one among them.

    Example:
        >>> spread(12, 4), spread(5, 2), spread(3, 0)
        ([2, 5, 8, 11], [1, 4], [])
    """
    return [(place + 1) * size // count - 1 for place in range(count)]


def _needed(graph: Graph, blocks: Sequence[Block]) -> set[Block]:
    """Give the blocks that stay so that what only blocks take is taken by one."""
    regions = Regions(graph)
    inside = 0
    for block in blocks:
        inside |= block.mask
    sides = dict.fromkeys(side for block in blocks for side in block.sides)
    return {
        next(block for block in blocks if side in block.sides)
        for side in sides
        if side not in graph.outputs and not regions.takers(side) & ~inside
    }
