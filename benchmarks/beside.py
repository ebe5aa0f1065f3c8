"""Other models than the one that is compressed, as the teachers of a student, scored on the same examples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.benchmarks.accuracy import Score, score
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data

_BATCH = 256


@dataclass(frozen=True, slots=True)
class Beside:
    """A model beside the one that was compressed.

    Attributes:
        path: of its file.
        score: of it alone.
        before: of the model before it was compressed, paired with this one.
        after: of the compressed one, likewise.
    """

    path: Path
    score: Score
    before: Score
    after: Score


def scored_beside(
    path: Path,
    network: keras.Model,
    evaluation: Data,
    before: NDArray[Any],
    after: NDArray[Any],
    *,
    trust: bool = False,
    progress: Progress = silent,
) -> Beside:
    """Score a model that takes and gives what another one does, perhaps in another order.

    Args:
        path: of a `.keras` file.
        network: the other model, that the examples are bound to.
        evaluation: examples.
        before: what the other model gives of them, (n, …), at the output that is scored.
        after: the same of what it became.
        trust: whether an `.h5` may be opened.
        progress: told what is being done.

    Raises:
        InputError: the file cannot be used, or does not take and give the same.
    """
    from slimedge.benchmarks.lost_answers import scored_output
    from slimedge.canonical import canonical
    from slimedge.compress.distilling.networks import order_of
    from slimedge.keras_file import input_specs, load_model, output_specs

    model = canonical(load_model(path, trust=trust, compiled=False))
    specs = output_specs(network)
    name, position, truth = scored_output(specs, evaluation)
    order = order_of(input_specs(model), input_specs(network), f"model '{model.name}'", "takes")
    place = order_of(output_specs(model), specs, f"model '{model.name}'", "gives").index(position)
    outputs = _outputs(model, evaluation, order, place, progress)
    return Beside(
        path=Path(path),
        score=score(outputs, None, truth, name=name),
        before=score(before, outputs, truth, name=name),
        after=score(after, outputs, truth, name=name),
    )


def _outputs(
    model: keras.Model, data: Data, order: list[int], place: int, progress: Progress
) -> NDArray[Any]:
    import keras

    from slimedge.keras_file import input_structure

    structure = input_structure(model)
    pieces: list[NDArray[Any]] = []
    for inputs, _ in data.batches(_BATCH):
        progress(f"scoring {model.name}", sum(map(len, pieces)) / len(data))
        arrays = list(inputs.values())
        given = keras.tree.pack_sequence_as(structure, [arrays[position] for position in order])
        pieces.append(np.asarray(keras.tree.flatten(model.predict_on_batch(given))[place]))
    return np.concatenate(pieces)
