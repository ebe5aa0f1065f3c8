"""How many right answers a quantized net loses, told from its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.benchmarks.accuracy import Drop, drop
from slimedge.errors import InputError
from slimedge.keras_file import output_specs

if TYPE_CHECKING:
    import keras

    from slimedge.artifact import TensorSpec
    from slimedge.data import Data


def scored_output(specs: Sequence[TensorSpec], examples: Data) -> tuple[str, int, NDArray[Any] | None]:
    """Give the output that is scored, the first with labels, else the first: name, place in Keras order, labels.

    Args:
        specs: of the model's outputs.
        examples: bound to them.
    """
    labels = examples.labels_for(specs)
    name = next(iter(labels), specs[0].name)
    return name, [spec.name for spec in specs].index(name), labels.get(name)


class LostAnswers:
    """The output that is scored, and the float net's answers there.

    Args:
        model: float.
        examples: bound to it; those that outputs are given of, or more.

    Attributes:
        name: of the output, the first with labels, else the first.
        position: of it in Keras order.
        labels: of the examples; None counts each answer that changed as lost.
        exact: what the float net gives, to be filled in when it is known.
    """

    def __init__(self, model: keras.Model, examples: Data) -> None:
        self.name, self.position, self.labels = scored_output(output_specs(model), examples)
        self.exact: NDArray[np.float32] | None = None

    def has_classes(self) -> bool:
        """Whether the float net's outputs are read as classes; they must be known."""
        if self.exact is None:
            raise ValueError("the float net's outputs are not known yet")
        return drop(self.exact, self.exact, self.labels, name=self.name) is not None

    def share(self, outputs: Sequence[NDArray[np.float32]]) -> float:
        """What was lost on the examples, as a share, from all outputs."""
        return self._drop(outputs[self.position]).value

    def likely_share(self, outputs: Sequence[NDArray[np.float32]]) -> float:
        """What was lost and one standard error, from all outputs."""
        return self.likely_share_of(outputs[self.position])

    def likely_share_of(self, scored: NDArray[np.float32]) -> float:
        """What was lost and one standard error, from the output that is scored."""
        found = self._drop(scored)
        return found.value + found.error

    def _drop(self, mine: NDArray[np.float32]) -> Drop:
        exact = mine if self.exact is None else self.exact[: len(mine)]
        labels = None if self.labels is None else self.labels[: len(mine)]
        found = drop(mine, exact, labels, name=self.name)
        if found is None:
            raise InputError(
                f"output '{self.name}' gives numbers, not classes, so no accuracy can be lost; quantize without "
                "--max-accuracy-drop, and look at the SQNR."
            )
        return found
