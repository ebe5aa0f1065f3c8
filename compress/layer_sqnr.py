"""How exact each layer of a quantized graph is, beside the float one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slimedge.compress.calibration import Watch, layer_batches, signal_to_noise
from slimedge.graph import Graph

if TYPE_CHECKING:
    from slimedge.data import Data

# A model so large that few examples fit into a batch has many numbers in each.
SQNR_EXAMPLES = 64
SQNR_BATCHES = 4


def layer_sqnr(graph: Graph, rounded: Graph, data: Data) -> dict[str, float]:
    """Give the SQNR in dB of each user's layer in the quantized graph against the float one.

    Args:
        graph: float, simplified.
        rounded: what `insert` made of it (it keeps the graph's values).
        data: bound; the first examples are used.
    """
    last = {node.source: node.output for node in graph.nodes if node.output.dtype == "float32"}
    kept = {value for node in rounded.nodes for value in node.outputs}
    last = {name: value for name, value in last.items() if value in kept}
    exact, coarse = Watch(graph, list(last.values())), Watch(rounded, list(last.values()))
    limit = min(SQNR_EXAMPLES, SQNR_BATCHES * exact.batch_size)
    batches = layer_batches(data, exact.batch_size, limit)
    levels = signal_to_noise((exact.run(batch), coarse.run(batch)) for batch in batches)
    return {name: round(level, 2) for name, level in zip(last, levels, strict=True) if np.isfinite(level)}
