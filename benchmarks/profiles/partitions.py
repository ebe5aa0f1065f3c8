"""In which order LiteRT runs the ops of a file where a delegate takes some of them."""

from __future__ import annotations

from collections.abc import Collection

from slimedge.benchmarks.file_graph import FileGraph


def partitions(graph: FileGraph, own: Collection[int]) -> tuple[tuple[int, ...], ...]:
    """Part the ops of a graph into sets that are all the delegate's or all LiteRT's own.

    A set begins with the first op that is ready, and takes every further one of its kind that is, over and over, until
    none is.

    Args:
        graph: of the file.
        own: indices of the ops that LiteRT's own kernels run.

    Returns:
        Indices of the ops, set by set in the order in which the sets run; a set that is LiteRT's own has one op.

    Example:
        >>> from slimedge.benchmarks.file_graph import FileOp
        >>> chain = [FileOp(name, "ADD", (), None, takes=(a,), gives=(name,)) for name, a in ("bx", "cb", "db")]
        >>> partitions(FileGraph(tuple(chain), {}, 1), {1})
        ((0, 2), (1,))

    Reference:
        LiteRT, `tflite/graph_info.cc`, PartitionGraphIntoIndependentNodeSubsets (greedily).
    """
    made = {name for op in graph.ops for name in op.gives}
    waiting = list(range(len(graph.ops)))
    found: list[tuple[int, ...]] = []
    while waiting:
        taken: list[int] = []
        grows = True
        while grows:
            grows = False
            for index in list(waiting):
                op = graph.ops[index]
                if made.intersection(op.takes) or (taken and (index in own) != (taken[0] in own)):
                    continue
                taken.append(index)
                waiting.remove(index)
                made.difference_update(op.gives)
                grows = True
        if not taken:  # a cycle, which no file that runs has
            taken, waiting = waiting, []
        found += [(index,) for index in taken] if taken[0] in own else [tuple(taken)]
    return tuple(found)
