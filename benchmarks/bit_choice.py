"""Choose bits for each layer under a budget of accuracy, on examples that the final score does not see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.benchmarks.accuracy import Drop, drop
from slimedge.compress.layer_bits import FLOAT
from slimedge.compress.mixed_precision import Tried, search
from slimedge.compress.rehearsal import Rehearsal
from slimedge.compress.sensitivity import sensitivity
from slimedge.compress.settings import Settings
from slimedge.errors import GoalError, InputError
from slimedge.keras_file import output_specs
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data, Splits

# Examples on which the sensitivity of a layer is measured, and on which whole choices are.
SENSITIVITY_EXAMPLES = 512
CHOICE_EXAMPLES = 4_000


@dataclass(frozen=True, slots=True)
class BitChoice:
    """Bits for each layer, and how they were found.

    Attributes:
        max_accuracy_drop: the budget in percentage points.
        bits: of each layer's weights, or `float`.
        mean_bits: of a weight.
        drop: what the choice may lose, as a share: what it lost on the examples, and one standard error.
        wider: layers with more bits than the fewest that were tried, each with its reason.
        tried: all that was measured.
        examples: how many it was measured on.
        labelled: whether they have labels; else each answer that changed counts as lost.
        held_out: whether ranges were found on other examples.
    """

    max_accuracy_drop: float
    bits: Mapping[str, int | str]
    mean_bits: float
    drop: float
    wider: Mapping[str, str]
    tried: tuple[Tried, ...]
    examples: int
    labelled: bool
    held_out: bool


def choose_bits(
    model: keras.Model,
    parts: Splits,
    settings: Settings,
    max_accuracy_drop: float,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> BitChoice:
    """Find the fewest bits for each layer with which a net loses no more than it may.

    A choice counts as within the budget where what it loses and one standard error are (the rule of one standard error,
    Breiman et al., 1984), on at most 4,000 examples that neither calibrate nor score; where the split leaves none, on
    those that calibrate.

    Args:
        model: float, canonical.
        parts: of data that is bound to the model.
        settings: of static quantization.
        max_accuracy_drop: percentage points.
        seed: of the examples.
        progress: told what is being done.

    Raises:
        InputError: the outputs are not classes.
        GoalError: no layer can be rounded within the budget.
    """
    rest = parts.training
    examples = rest.take(min(CHOICE_EXAMPLES, len(rest)), seed=seed) if len(rest) else parts.calibration
    judge = _Judge(model, examples)
    progress("finding ranges")
    rehearsal = Rehearsal(model, parts.calibration, examples, settings=settings, drop=judge.lost)
    judge.exact = rehearsal.outputs({})[judge.position]
    found = sensitivity(
        rehearsal,
        both_ways=False,
        limit=SENSITIVITY_EXAMPLES,
        progress=lambda share: progress("measuring each layer", share),
    )
    progress("choosing bits")
    chosen = search(
        found, lambda bits: judge.may_lose(rehearsal.outputs(bits)), largest_drop=max_accuracy_drop / 100
    )
    if all(bits == FLOAT for bits in chosen.bits.values()):
        best = min(chosen.tried, key=lambda one: one.drop)
        raise GoalError(
            f"no choice of bits keeps model '{model.name}' within {max_accuracy_drop:g} points of accuracy: the best "
            f"that was tried may lose {100 * best.drop:.2f} on {len(examples):,} examples; allow more, or give more "
            "data or a --method."
        )
    return BitChoice(
        max_accuracy_drop=max_accuracy_drop,
        bits=chosen.bits,
        mean_bits=chosen.mean_bits,
        drop=chosen.drop,
        wider=chosen.reasons,
        tried=chosen.tried,
        examples=len(examples),
        labelled=judge.labels is not None,
        held_out=bool(len(rest)),
    )


class _Judge:
    """Tells how much worse outputs are than those of the float net; that is filled in when they are known."""

    def __init__(self, model: keras.Model, examples: Data) -> None:
        specs = output_specs(model)
        labels = examples.labels_for(specs)
        self.name = next(iter(labels), specs[0].name)
        self.position = [spec.name for spec in specs].index(self.name)
        self.labels: NDArray[Any] | None = labels.get(self.name)
        self.exact: NDArray[np.float32] | None = None

    def lost(self, outputs: Sequence[NDArray[np.float32]]) -> float:
        """What was lost on the examples, as a share."""
        return self._drop(outputs).value

    def may_lose(self, outputs: Sequence[NDArray[np.float32]]) -> float:
        """What was lost and one standard error."""
        found = self._drop(outputs)
        return found.value + found.error

    def _drop(self, outputs: Sequence[NDArray[np.float32]]) -> Drop:
        mine = outputs[self.position]
        exact = mine if self.exact is None else self.exact[: len(mine)]
        labels = None if self.labels is None else self.labels[: len(mine)]
        found = drop(mine, exact, labels, name=self.name)
        if found is None:
            raise InputError(
                f"output '{self.name}' gives numbers, not classes, so no accuracy can be lost; quantize without "
                "--max-accuracy-drop, and look at the SQNR."
            )
        return found
