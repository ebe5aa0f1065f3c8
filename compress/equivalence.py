"""A rewritten graph against the user's model: a rewrite that changes the function is refused, whatever its cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slimedge.compress.calibration import Watch, layer_batches
from slimedge.errors import CheckError
from slimedge.graph import Graph
from slimedge.keras_file import input_structure

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data

EXAMPLES = 8
# Of an output's largest value. Rewriting changes the order of float32 sums; a mistake changes more than this.
TOLERANCE = 0.01
SMALLEST = 1e-6


def check_same(model: keras.Model, graph: Graph, data: Data) -> None:
    """Compare the float outputs of a model and of the graph that was made of it, on a few examples.

    Args:
        model: the user's.
        graph: read from it and simplified.
        data: bound to it.

    Raises:
        CheckError: they differ by more than the order of sums explains.
    """
    import keras

    batch = next(layer_batches(data, EXAMPLES, EXAMPLES))
    given = keras.tree.pack_sequence_as(input_structure(model), [batch[name] for name in graph.input_names])
    expected = map(np.asarray, keras.tree.flatten(model(given, training=False)))
    got = Watch(graph, graph.outputs).run(batch)
    for name, exact, other in zip(graph.output_names, expected, got, strict=True):
        if not np.issubdtype(exact.dtype, np.floating) or not np.isfinite(exact).all():
            continue
        largest = float(np.max(np.abs(exact), initial=0))
        error = float(np.max(np.abs(exact - other), initial=0))
        if not error <= TOLERANCE * largest + SMALLEST:
            raise CheckError(
                f"output '{name}' of model '{model.name}' changed when its graph was rewritten (by {error:.2g}, where "
                f"it reaches {largest:.2g}): a layer computes with something that is neither in its config nor in "
                "its weights, or with random numbers; nothing was quantized."
            )
