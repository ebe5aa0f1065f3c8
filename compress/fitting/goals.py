"""What each output is trained for, as plain data that can be sent to another process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from slimedge.compress.fitting.losses import Loss, distillation, of_your_own, supervision
from slimedge.errors import InputError

if TYPE_CHECKING:
    import keras

    from slimedge.compress.fitting.outputs import Output
    from slimedge.compress.fitting.settings import FitSettings
    from slimedge.data import Data

# A row of probabilities adds up to 1, but for the rounding of each.
SUM_TOLERANCE = 0.1
LOOKED_AT = 32


@dataclass(frozen=True, slots=True)
class Goal:
    """What one output is trained for.

    Attributes:
        function: of the `Output`.
        position: of the float model's output that is the target; None where labels are.
        label: name of the output whose labels are the target; None where the float model's output is.
        classes: whether those labels are class numbers.
        probabilities: whether the output is the probability of each class without softmax or sigmoid being seen.
        own: the user's loss, of (labels, outputs), or None.
    """

    function: str
    position: int | None = None
    label: str | None = None
    classes: bool = False
    probabilities: bool = False
    own: Callable[[Any, Any], Any] | None = None

    def loss(self) -> Loss:
        """Give the loss, from what the output gives (in front of its function) and its target to a scalar."""
        if self.own is not None:
            return of_your_own(self.function, self.own)
        if self.label is None:
            return distillation(self.function)
        return supervision(self.function, classes=self.classes, probabilities=self.probabilities)


def goals_of(
    outputs: tuple[Output, ...],
    teacher: keras.Model | None,
    model: keras.Model,
    data: Data,
    settings: FitSettings,
) -> tuple[tuple[Output, ...], list[Goal]]:
    """Give the outputs that have a target, and what each is trained for.

    Args:
        outputs: those that could be trained.
        teacher: the float model, or None where it is not known.
        model: what is trained.
        data: bound to both.
        settings: checked.

    Raises:
        InputError: there is nothing to train for.
    """
    from slimedge.keras_file import output_specs

    if settings.loss is None:
        if teacher is None:
            raise InputError(
                f"without the float model of model '{model.name}' there are no outputs to train towards; give that as "
                "teacher=, or train on labels with loss='labels'."
            )
        return outputs, [Goal(output.function, position=output.position) for output in outputs]
    specs = output_specs(model)
    labels = data.labels_for(specs)
    chosen = tuple(output for output in outputs if specs[output.position].name in labels)
    if not chosen:
        raise InputError(
            "the data has no labels for a float output of the model; give some, or leave out the loss to train towards "
            "the float model's outputs."
        )
    goals = []
    for output in chosen:
        name = specs[output.position].name
        own = settings.loss.get(name) if isinstance(settings.loss, Mapping) else settings.loss
        if callable(own):
            goals.append(Goal(output.function, label=name, own=own))
            continue
        classes = labels[name].dtype.kind == "i"
        shown = classes and output.function == "identity" and _are_probabilities(model, output, data)
        goals.append(Goal(output.function, label=name, classes=classes, probabilities=shown))
    return chosen, goals


def _are_probabilities(model: keras.Model, output: Output, data: Data) -> bool:
    """Whether an output whose making is not understood gives probabilities, told by its numbers."""
    import keras

    from slimedge.keras_file import input_structure

    inputs, _ = next(data.batches(min(LOOKED_AT, len(data))))
    given = keras.tree.pack_sequence_as(input_structure(model), list(inputs.values()))
    array = np.asarray(keras.tree.flatten(model(given, training=False))[output.position])
    sums = array.sum(axis=-1)
    apart = array.shape[-1] == 1 or bool(np.all(np.abs(sums - 1) < SUM_TOLERANCE))
    return bool(array.min() >= 0 and array.max() <= 1 and apart)
