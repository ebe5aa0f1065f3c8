"""What a model answered to each example, and how sure it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.benchmarks.accuracy import Task, answers_of

NO_ANSWER = -1
_ROUNDING = 0.02
"""By how much the sum of rounded probabilities may miss 1."""


@dataclass(frozen=True, eq=False)
class Answers:
    """One answer an example.

    Attributes:
        classes: (n,) int64, -1 where the outputs are not finite.
        sureness: (n,) float64 in 0…1, the probability that the model gave its answer; 0 where there is none.
    """

    classes: NDArray[np.int64]
    sureness: NDArray[np.float64]


def read_answers(outputs: NDArray[Any], task: Task) -> Answers | None:
    """Read a model's outputs as answers.

    Class scores that are not probabilities go through softmax, a logit through the logistic function.

    Args:
        outputs: (n, …).
        task: how they are to be read.

    Returns:
        The answers, or None where the task has no classes.

    Example:
        >>> read_answers(np.array([[0.2, 0.8]]), Task.CLASSES).sureness.tolist()
        [0.8]
    """
    classes = answers_of(outputs, task)
    if classes is None:
        return None
    finite = classes != NO_ANSWER
    chosen = np.zeros(len(outputs))
    known = outputs[finite].astype(np.float64)
    if task is Task.CLASSES:
        chosen[finite] = _probabilities(known).max(axis=1, initial=0.0)
    else:
        yes = known.reshape(-1)
        # exp(-|x|) cannot overflow, and 1 / (1 + exp(-|x|)) is the larger of the two probabilities.
        chosen[finite] = 1 / (1 + np.exp(-np.abs(yes))) if task is Task.LOGIT else np.maximum(yes, 1 - yes)
    return Answers(classes, chosen)


def class_names(given: Sequence[str], count: int) -> tuple[str, ...]:
    """Give a name for each class: those given where there are as many, else `class 0` and on."""
    return tuple(given) if len(given) == count else tuple(f"class {i}" for i in range(count))


def _probabilities(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give probabilities (n, classes): the scores themselves where every row is such, else their softmax."""
    if np.all(scores >= 0) and np.all(np.abs(scores.sum(axis=1) - 1) <= _ROUNDING):
        return scores
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares
