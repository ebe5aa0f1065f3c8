"""Choose bits for each layer under a budget of accuracy, on examples that the final score does not see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimedge.benchmarks.lost_answers import LostAnswers
from slimedge.compress.layer_bits import FLOAT
from slimedge.compress.mixed_precision import Tried, search
from slimedge.compress.rehearsal import Rehearsal
from slimedge.compress.sensitivity import CANDIDATES, sensitivity
from slimedge.compress.settings import Settings
from slimedge.errors import GoalError
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data
    from slimedge.splitting import Splits

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
    candidates: Sequence[int] = CANDIDATES,
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
        candidates: bits that a layer may have, beside float.
        seed: of the examples.
        progress: told what is being done.

    Raises:
        InputError: the outputs are not classes.
        GoalError: no layer can be rounded within the budget.
    """
    examples = choice_examples(parts, seed)
    lost = LostAnswers(model, examples)
    progress("finding ranges")
    rehearsal = Rehearsal(model, parts.calibration, examples, settings=settings, drop=lost.share)
    lost.exact = rehearsal.outputs({})[lost.position]
    found = sensitivity(
        rehearsal,
        candidates=candidates,
        both_ways=False,
        limit=SENSITIVITY_EXAMPLES,
        progress=lambda share: progress("measuring each layer", share),
    )
    progress("choosing bits")
    chosen = search(
        found, lambda bits: lost.likely_share(rehearsal.outputs(bits)), largest_drop=max_accuracy_drop / 100
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
        labelled=lost.labels is not None,
        held_out=bool(len(parts.training)),
    )


def choice_examples(parts: Splits, seed: int) -> Data:
    """Give examples to choose on: at most 4,000 that neither calibrate nor score, or else those that calibrate."""
    rest = parts.training
    return rest.take(min(CHOICE_EXAMPLES, len(rest)), seed=seed) if len(rest) else parts.calibration
