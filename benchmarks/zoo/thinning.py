"""A model of the zoo without a share of its channels, and how far that is from the whole one with them at zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from slimedge.benchmarks.zoo.inputs import examples
from slimedge.canonical import canonical
from slimedge.compress.channels.choosing import Choosing, Target
from slimedge.compress.channels.groups import groups_of, parameters_of
from slimedge.compress.channels.removing import without, zeroed
from slimedge.compress.channels.rules import RULES
from slimedge.compress.channels.tracing import trace
from slimedge.compress.norm_statistics import with_measured_norms
from slimedge.data import Data
from slimedge.errors import InputError
from slimedge.export.worker import keras_outputs
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.keras_file import input_specs
from slimedge.macs import count_graph

if TYPE_CHECKING:
    import keras

# Examples; of a model with one output, the range is the one of so many numbers.
COUNT = 8
# LayerScale begins at 1e-6, where a block of ConvNeXt does nothing that could be told apart; trained ones are larger.
SMALLEST_GAIN = 1e-3
GAIN = 0.1
# For BatchNorm's statistics.
NORM_EXAMPLES = 64


@dataclass(frozen=True, slots=True)
class Thinned:
    """What removing channels of one model did.

    Attributes:
        units: that could go; channels that go together are one.
        removed: of them, that did.
        error: largest difference from the model with those channels at zero, of the range of its output.
        change: from the whole model, likewise; what the error would be if the zeros meant nothing.
        parameters: that are left, as a share.
        macs: likewise; None where they are not known.
    """

    units: int
    removed: int
    error: float
    change: float
    parameters: float
    macs: float | None


def thinned(model: keras.Model, ratio: float, seed: int = 0) -> tuple[keras.Model, Thinned | None]:
    """Remove channels at random, the same ratio of each group.

    Args:
        model: built, with seeded weights.
        ratio: of the channels that can go.
        seed: of the draw, and of the inputs.

    Returns:
        The smaller model, BatchNorm's statistics measured again as `prune_channels` does, and what was found; the
        model itself and None where no channel can go.
    """
    model = canonical(model)
    for layer in model._flatten_layers():
        if type(layer).__name__ == "LayerScale" and np.abs(layer.gamma.numpy()).max() < SMALLEST_GAIN:
            layer.gamma.assign(np.full(layer.gamma.shape, GAIN, np.float32))
    graph = from_model(model)
    tracing = trace(graph, RULES)
    try:
        groups = groups_of(graph, tracing)
    except InputError:
        return model, None
    scores = np.random.default_rng(seed).random(tracing.units.count)
    removed = Choosing(graph, tracing, groups, scores, in_loss=False, ranking="layer").for_target(
        Target("ratio", ratio)
    )
    smaller = without(graph, tracing, removed)
    inputs = examples(model, COUNT, seed)
    small = to_model(smaller)
    found, whole = keras_outputs(small, inputs), keras_outputs(model, inputs)
    empty = keras_outputs(to_model(zeroed(graph, tracing, removed), kept=False), inputs)

    def apart(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
        return max(
            float(np.abs(one[name] - other[name]).max() / max(np.ptp(other[name]), 1e-12)) for name in other
        )

    before, after = count_graph(graph).total, count_graph(smaller).total
    data = Data.load(examples(small, NORM_EXAMPLES, seed + 1)).bind(input_specs(small), checks="types")
    return with_measured_norms(small, data, examples=NORM_EXAMPLES), Thinned(
        units=sum(len(group.units) for group in groups),
        removed=len(removed),
        error=apart(found, empty),
        change=apart(found, whole),
        parameters=parameters_of(smaller) / parameters_of(graph),
        macs=after / before if before and after is not None else None,
    )
