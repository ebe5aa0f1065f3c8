"""Labels: brought to one form when they are loaded, and checked against a model's outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from slimedge.artifact import TensorSpec
from slimedge.errors import InputError
from slimedge.source import UNNAMED_LABELS, Array


def tidied(labels: Array, name: str = UNNAMED_LABELS) -> tuple[Array, str | None]:
    """Bring labels to one form: classes as int64, other targets as float32.

    Args:
        labels: (n,) or (n, 1) classes; (n, classes) one-hot rows; or any numbers (n, …) to regress on.
        name: the output that they belong to, for messages.

    Returns:
        The labels, (n, …) int64 or float32, and a notice when one-hot rows were turned into classes.

    Raises:
        InputError: they are no numbers, or hold NaN or infinity.

    Example:
        >>> tidied(np.array([[0, 1, 0], [0, 0, 1]]))[0]
        array([1, 2])
    """
    what = f"labels of output '{name}'" if name else "labels"
    if labels.dtype.kind not in "biuf":
        raise InputError(
            f"the {what} are of type {labels.dtype}; number the classes from 0, as "
            "np.unique(labels, return_inverse=True)[1] does, or give float32 targets."
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind == "f":
        wrong = ~np.isfinite(labels)
        if wrong.any():
            rows = np.flatnonzero(wrong.reshape(len(labels), -1).any(axis=1))
            raise InputError(
                f"the {what} hold NaN or infinity in {len(rows):,} of {len(labels):,} examples, first in "
                f"example {rows[0]}; leave those examples out."
            )
    if _one_hot(labels):
        width = labels.shape[1]
        return (
            labels.argmax(axis=1).astype(np.int64),
            f"the {what} were one-hot rows of {width}; they are used as classes 0…{width - 1}.",
        )
    return labels.astype(np.float32 if labels.dtype.kind == "f" else np.int64), None


def _one_hot(labels: Array) -> bool:
    if labels.ndim != 2 or labels.shape[1] < 2 or not len(labels):
        return False
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all())


def check_labels(labels: Array | Mapping[str, Array], outputs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Check labels against a model's outputs and say which output each belongs to.

    Args:
        labels: (n, …) for a model with one output, or such arrays by output name; int64 classes are
            indices into an output's last axis, float32 targets have the output's own shape.
        outputs: the model's outputs, in Keras order.

    Returns:
        Labels by output name; integers for a single-number output other than 0 and 1 become targets.

    Raises:
        InputError: unnamed labels for several outputs, a name that is no output, classes out of the
            output's range, or a shape that does not fit.

    Example:
        >>> probabilities = TensorSpec("probabilities", (None, 10), "float32")
        >>> check_labels(np.array([3, 9]), [probabilities])
        {'probabilities': array([3, 9])}
        >>> check_labels(np.array([3, 10]), [probabilities])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        slimedge.errors.InputError: the labels go from 3 to 10, and output 'probabilities' has 10 classes...
    """
    named = labels if isinstance(labels, Mapping) else {UNNAMED_LABELS: labels}
    known = {spec.name: spec for spec in outputs}
    matched: dict[str, Array] = {}
    for name, array in named.items():
        if name == UNNAMED_LABELS:
            if len(outputs) > 1:
                raise InputError(
                    f"the model has {len(outputs)} outputs ({', '.join(known)}) and the labels name none; "
                    f'give them by output name, as labels={{"{outputs[0].name}": …}} in Python or arrays '
                    f"'y:{outputs[0].name}' in the .npz."
                )
            spec = outputs[0]
        elif name in known:
            spec = known[name]
        else:
            raise InputError(
                f"there are labels for '{name}', and the model's outputs are {', '.join(known)}; rename them."
            )
        matched[spec.name] = _fitted(array, spec)
    return matched


def _fitted(labels: Array, output: TensorSpec) -> Array:
    shape = output.shape[1:]
    if labels.dtype.kind != "f":
        return _fitted_classes(labels, output)
    if labels.ndim == 1 and shape == (1,):
        return labels[:, None]
    if _fits(labels.shape[1:], shape):
        return labels
    whole = labels.ndim == len(shape) and bool((labels == np.round(labels)).all())
    remedy = "turn classes into integers with .astype('int64')" if whole else "give targets of that shape"
    raise InputError(
        f"the labels are {labels.dtype} of shape {_shape(labels.shape[1:])}, and output '{output.name}' "
        f"gives {_shape(shape)}; {remedy}."
    )


def _fitted_classes(labels: Array, output: TensorSpec) -> Array:
    shape = output.shape[1:]
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if not shape or not _fits(labels.shape[1:], shape[:-1]):
        if _fits(labels.shape[1:], shape):
            return labels.astype(np.float32)
        raise InputError(
            f"the labels have shape {_shape(labels.shape[1:])}, and output '{output.name}' gives "
            f"{_shape(shape)}; give one class for each of its rows."
        )
    classes = shape[-1]
    if classes == 1:
        # One number is a probability when the labels are 0 and 1, else a quantity.
        return labels if low >= 0 and high <= 1 else labels[..., None].astype(np.float32)
    if classes is not None and (low < 0 or high >= classes):
        remedy = (
            "count classes from 0, so subtract 1, if yours begin with 1"
            if low > 0 and high == classes
            else "give labels of the classes that this model was trained on"
        )
        raise InputError(
            f"the labels go from {low} to {high}, and output '{output.name}' has {classes} classes, "
            f"0…{classes - 1}; {remedy}."
        )
    return labels


def _shape(sizes: Sequence[int | None]) -> str:
    return f"({', '.join(['n', *('any' if size is None else str(size) for size in sizes)])})"


def _fits(given: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return len(given) == len(wanted) and all(w in {None, g} for g, w in zip(given, wanted, strict=True))
