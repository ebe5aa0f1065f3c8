"""Are the answers still right: accuracy, paired difference, agreement and SQNR from two models' outputs, purely."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.benchmarks import statistics
from slimedge.comparison import Accuracy, AccuracyDelta, Agreement
from slimedge.errors import InputError

# Noise below float32's rounding cannot be told from none; it bounds the SQNR of equal outputs at 138 dB.
_ROUNDING_POWER = float(np.finfo(np.float32).eps) ** 2


class Task(Enum):
    """How the numbers that a model gives are read as answers."""

    CLASSES = auto()  # one score a class, the highest wins
    PROBABILITY = auto()  # one number in 0…1, yes from 0.5 on
    LOGIT = auto()  # one number, yes from 0 on
    LABEL_SET = auto()  # several yes-or-no answers for one example
    PLACES = auto()  # one class a place (segmentation, a sequence): places of one example are not independent
    VALUES = auto()  # numbers (regression, an image, an embedding)


@dataclass(frozen=True, slots=True)
class Score:
    """What was found for one model; a field that cannot be had is None."""

    accuracy: Accuracy | None
    accuracy_delta: AccuracyDelta | None
    agreement: Agreement | None
    sqnr_db: float | None
    notes: tuple[str, ...]


def task_of(outputs: NDArray[Any], labels: NDArray[Any] | None, *, name: str = "output") -> Task:
    """Tell from the baseline's outputs and the labels how answers are to be read.

    Args:
        outputs: (n, …) numbers of the baseline.
        labels: (n, …) or None.
        name: of the output, for messages.

    Returns:
        The task. Without labels, a row of numbers is taken for class scores and a single number in 0…1 for a
        probability.

    Raises:
        InputError: the labels cannot belong to this output.
    """
    single = outputs.ndim == 1 or outputs.shape[1:] == (1,)
    inside = bool(np.all((outputs >= 0.0) & (outputs <= 1.0)))
    if labels is None:
        if single:
            return Task.PROBABILITY if inside else Task.VALUES
        return Task.CLASSES if outputs.ndim == 2 else Task.VALUES
    if len(labels) != len(outputs):
        raise InputError(
            f"there are {len(labels)} labels for {len(outputs)} outputs of '{name}'; give one label an example."
        )
    whole = bool(np.all(labels == np.round(labels)))
    yes_or_no = whole and bool(np.all((labels == 0) | (labels == 1)))
    if single and labels.size == len(labels):
        if not yes_or_no:
            return Task.VALUES
        return Task.PROBABILITY if inside else Task.LOGIT
    if labels.shape == outputs.shape:
        if not yes_or_no:
            return Task.VALUES
        one_hot = bool(np.all(labels.sum(axis=-1) == 1))
        return (Task.CLASSES if outputs.ndim == 2 else Task.PLACES) if one_hot else Task.LABEL_SET
    places = outputs.shape[:-1]
    if whole and labels.shape in {places, (*places, 1)}:
        return Task.CLASSES if outputs.ndim == 2 else Task.PLACES
    raise InputError(
        f"labels of shape {labels.shape} do not fit output '{name}' of shape {outputs.shape}; give whole-number "
        f"classes of shape {places}, or labels of the output's own shape, or name another output."
    )


def score(
    outputs: NDArray[Any],
    baseline: NDArray[Any] | None = None,
    labels: NDArray[Any] | None = None,
    *,
    name: str = "output",
) -> Score:
    """Score one model's outputs, alone or paired with the baseline's on the same examples.

    Args:
        outputs: (n, …) float numbers of the model; a row that is not finite counts as a wrong answer.
        baseline: (n, …) of the baseline, in the same order, or None for the baseline itself.
        labels: (n, …) classes (whole numbers or one-hot), 0/1 for a single output, or target values; None where
            there are none.
        name: of the output, for messages.

    Returns:
        Accuracy with its Wilson interval, the difference with its interval and McNemar's p-value, the agreement
        of classes, SQNR in dB, and what the reader should know.

    Raises:
        InputError: the labels cannot belong to this output, or a class is beyond the model's.
    """
    reference = outputs if baseline is None else baseline
    task = task_of(reference, labels, name=name)
    answers = answers_of(outputs, task)
    truth = None if labels is None else truth_of(labels, task, outputs, name)
    right = None if answers is None or truth is None else answers == truth
    accuracy = delta = agreement = None
    if right is not None:
        accuracy = _accuracy(right)
    base_answers = None if baseline is None else answers_of(baseline, task)
    if base_answers is not None and answers is not None:
        agreement = Agreement(float(np.mean(answers == base_answers)), len(answers))
        if right is not None:
            delta = _difference(right, base_answers == truth)
    decibels = None if baseline is None else sqnr_db(baseline, outputs)
    return Score(accuracy, delta, agreement, decibels, _notes(outputs, labels, task))


@dataclass(frozen=True, slots=True)
class Drop:
    """How much worse the answers are than the baseline's.

    Attributes:
        value: share of the examples; of those with labels the accuracy lost, else of those answered otherwise, which
            no loss of accuracy can exceed.
        error: its standard error.
    """

    value: float
    error: float


def drop(
    outputs: NDArray[Any], baseline: NDArray[Any], labels: NDArray[Any] | None, *, name: str = "output"
) -> Drop | None:
    """Give how much worse a model answers than the baseline, or None where answers are not classes.

    Args:
        outputs: (n, …) of the model.
        baseline: (n, …).
        labels: (n, …) or None.
        name: of the output, for messages.

    Raises:
        InputError: as of `score`.
    """
    task = task_of(baseline, labels, name=name)
    answers, before = answers_of(outputs, task), answers_of(baseline, task)
    if answers is None or before is None:
        return None
    truth = before if labels is None else truth_of(labels, task, outputs, name)
    gained = int(np.sum((answers == truth) & (before != truth)))
    lost = int(np.sum((answers != truth) & (before == truth)))
    n = len(answers)
    return Drop((lost - gained) / n, float(np.sqrt(lost + gained)) / n)


def classes(
    outputs: Mapping[str, NDArray[Any]], baseline: str, labels: NDArray[Any] | None, *, name: str = "output"
) -> tuple[NDArray[np.int64] | None, dict[str, NDArray[np.int64]]] | None:
    """Give the right classes and those that models answered, or None where answers are not classes.

    Args:
        outputs: (n, …) by name of the model.
        baseline: name of the model that says how answers are read.
        labels: (n, …) or None.
        name: of the output, for messages.

    Returns:
        The (n,) right classes, None without labels, and by name the (n,) answers, -1 where numbers are not finite.

    Raises:
        InputError: as of `score`.
    """
    task = task_of(outputs[baseline], labels, name=name)
    answers = {model: answers_of(given, task) for model, given in outputs.items()}
    truth = None if labels is None else truth_of(labels, task, outputs[baseline], name)
    known = {model: given for model, given in answers.items() if given is not None}
    return (truth, known) if known else None


def sqnr_db(reference: NDArray[Any], outputs: NDArray[Any]) -> float | None:
    """Give the signal-to-quantization-noise ratio, 10·log10(Σ r² / Σ (r - o)²), in dB.

    Args:
        reference: numbers of any shape.
        outputs: as many.

    Returns:
        At most 138 dB, float32's own rounding; None where the reference is all zero or anything is not finite.
    """
    wide = reference.astype(np.float64)
    signal = float(np.sum(np.square(wide)))
    noise = float(np.sum(np.square(wide - outputs)))
    if signal == 0.0 or not np.isfinite(signal + noise):
        return None
    return float(10.0 * np.log10(signal / max(noise, signal * _ROUNDING_POWER)))


def answers_of(outputs: NDArray[Any], task: Task) -> NDArray[np.int64] | None:
    """Read the numbers as answers.

    Args:
        outputs: (n, …) of a model.
        task: how they are to be read.

    Returns:
        (n,) one class an example, -1 where its numbers are not finite; None where the task has no classes.
    """
    if task is Task.CLASSES:
        classes = np.argmax(outputs, axis=-1).astype(np.int64)
    elif task in {Task.PROBABILITY, Task.LOGIT}:
        threshold = 0.5 if task is Task.PROBABILITY else 0.0
        classes = (outputs.reshape(-1) >= threshold).astype(np.int64)
    else:
        return None
    finite = np.isfinite(outputs).reshape(len(outputs), -1).all(axis=1)
    answers: NDArray[np.int64] = np.where(finite, classes, -1)
    return answers


def truth_of(labels: NDArray[Any], task: Task, outputs: NDArray[Any], name: str) -> NDArray[np.int64] | None:
    """Read the labels as right answers.

    Args:
        labels: (n, …) classes, or one-hot.
        task: how they are to be read.
        outputs: (n, …) of a model.
        name: of the output, for messages.

    Returns:
        (n,) one class an example; None where the task has no classes.

    Raises:
        InputError: a class is beyond the model's.
    """
    if task in {Task.PROBABILITY, Task.LOGIT}:
        return np.asarray(labels.reshape(-1), np.int64)
    if task is not Task.CLASSES:
        return None
    if labels.shape == outputs.shape:
        return np.asarray(np.argmax(labels, axis=-1), np.int64)
    classes = np.asarray(labels.reshape(-1), np.int64)
    count = outputs.shape[-1]
    if classes.size and (classes.min() < 0 or classes.max() >= count):
        worst = int(classes.max() if classes.max() >= count else classes.min())
        raise InputError(
            f"label {worst} is not a class of output '{name}', which has {count}: 0 to {count - 1}; "
            "number the classes from 0, or name another output."
        )
    return classes


def _accuracy(right: NDArray[np.bool_]) -> Accuracy:
    low, high = statistics.wilson(int(right.sum()), len(right))
    return Accuracy(float(right.mean()), low, high, len(right))


def _difference(right: NDArray[np.bool_], base_right: NDArray[np.bool_]) -> AccuracyDelta:
    gained = int(np.sum(right & ~base_right))
    lost = int(np.sum(~right & base_right))
    n = len(right)
    low, high = statistics.paired_difference(gained, lost, n)
    return AccuracyDelta((gained - lost) / n, low, high, statistics.mcnemar(gained, lost))


def _notes(outputs: NDArray[Any], labels: NDArray[Any] | None, task: Task) -> tuple[str, ...]:
    notes = []
    bad = int(np.sum(~np.isfinite(outputs).reshape(len(outputs), -1).all(axis=1)))
    if bad:
        notes.append(f"{bad} of {len(outputs)} outputs are not finite numbers; they count as wrong.")
    if labels is not None and task is Task.VALUES:
        error = float(np.mean(np.abs(outputs.reshape(labels.shape) - labels)))
        notes.append(f"The outputs are values, not classes: mean absolute error {error:.4g}.")
    elif labels is not None and task is Task.PLACES:
        truth = np.argmax(labels, axis=-1) if labels.shape == outputs.shape else labels
        share = float(np.mean(np.argmax(outputs, axis=-1) == truth.reshape(outputs.shape[:-1])))
        notes.append(f"One class a place: {100 * share:.2f} % of the places are right.")
    elif labels is not None and task is Task.LABEL_SET:
        share = float(np.mean((outputs >= 0.5) == labels.astype(bool)))
        notes.append(f"Several labels an example: {100 * share:.2f} % of the labels are right at 0.5.")
    return tuple(notes)
