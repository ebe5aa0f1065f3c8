"""A tf.data.Dataset, read once from beginning to end; what it gives is kept in temporary files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from slimedge.errors import InputError
from slimedge.readers.arrays import first_line
from slimedge.source import UNNAMED_LABELS, ArraySource, Facts, Options, Source, refuse
from slimedge.spool import Spool

DEFAULT_LIMIT = 100_000
"""So many examples are taken from a dataset that does not know its own length."""

_ROWS_AT_ONCE = 64
_INFINITE = -1  # tf.data.INFINITE_CARDINALITY
_ORIGIN = "the tf.data.Dataset"


class DatasetReader:
    """Reads `x`, `(x, y)` or `({name: x, …}, y)`, batched or not.

    It is read only once because a dataset may shuffle anew, augment or even give out another number of
    examples each time, and splits of such a thing would not be disjoint.
    """

    def knows(self, given: Any) -> bool:
        """Tell a dataset by what it offers, without importing TensorFlow."""
        return hasattr(given, "element_spec") and hasattr(given, "as_numpy_iterator")

    def open(self, given: Any, options: Options) -> Source:
        """Read all of it, with the memory of one batch."""
        refuse(options, _ORIGIN, "part")
        inputs, labels = _sides(given.element_spec, options)
        for name, spec in {**inputs, **labels}.items():
            _check_spec(name or "labels", spec)
        batched = options.batched
        if batched is None:
            batched = _is_batched(list(inputs.values()), list(labels.values()))
        limit = options.limit if options.limit is not None else DEFAULT_LIMIT
        length = int(given.cardinality())
        if length == _INFINITE and options.limit is None:
            raise InputError(
                f"{_ORIGIN} repeats for ever; take .repeat() out, or say how many examples to read (limit=)."
            )
        known = length >= 0
        spools = {key: Spool(_ORIGIN, what) for key, what in _names(inputs, labels).items()}
        complete = _gather(
            given if batched else given.batch(_ROWS_AT_ONCE),
            spools,
            options,
            None if known and options.limit is None else limit,
        )
        arrays = {key: spool.array() for key, spool in spools.items()}
        notices = (
            ()
            if complete
            else (f"{_ORIGIN} goes on; its first {limit:,} examples are used (limit= takes another number).",)
        )
        return ArraySource(
            {name: arrays["input", name] for name in inputs},
            Facts(
                labels={name: arrays["labels", name] for name in labels},
                class_names=tuple(getattr(given, "class_names", ())),
                notices=notices,
            ),
            origin=_ORIGIN,
        )


Key = tuple[str, str]


def _names(inputs: Mapping[str, Any], labels: Mapping[str, Any]) -> dict[Key, str]:
    return {("input", name): f"'{name}'" for name in inputs} | {
        ("labels", name): f"labels '{name}'" if name else "labels" for name in labels
    }


def _gather(batches: Any, spools: Mapping[Key, Spool], options: Options, limit: int | None) -> bool:
    """Append every batch to its spools; tell whether the dataset ended before the limit."""
    rows = next(iter(spools.values()))
    for element in _elements(batches):
        room = None if limit is None else limit - rows.rows
        inputs, labels = _sides(element, options)
        kept = {("input", n): a for n, a in inputs.items()} | {("labels", n): a for n, a in labels.items()}
        longest = max(len(array) for array in kept.values())
        for key, array in kept.items():
            spools[key].append(np.asarray(array)[:room])
        if room is not None and longest > room:
            return False
    return True


def _elements(dataset: Any) -> Iterator[Any]:
    try:
        yield from dataset.as_numpy_iterator()
    except Exception as error:  # the pipeline is the user's code and may raise anything
        raise InputError(
            f"{_ORIGIN} failed while it was read, with {type(error).__name__}: {_reason(error)}; make "
            "sure that iterating over it works and that all examples have one shape."
        ) from error


def _reason(error: BaseException) -> str:
    # TensorFlow wraps the cause in names of its own: "{{function_node …}} cause [Op:IteratorGetNext] name:".
    return re.sub(r"\{\{.*?\}\}|\[Op:\w+\]|\s*name:\s*$", "", first_line(error)).strip().rstrip(".")


def _sides(element: Any, options: Options) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tell inputs and labels of an element, or of its spec, by name."""
    labels: Any = None
    if isinstance(element, tuple):
        if len(element) != 2:
            raise InputError(
                f"{_ORIGIN} gives tuples of {len(element)}, and (inputs, labels) is read; map it to that, "
                "with several inputs as a dict by name."
            )
        element, labels = element
    inputs = dict(element) if isinstance(element, Mapping) else {options.name: element}
    if labels is None:
        name = options.labels or "y"
        labels = inputs.pop(name, None) if isinstance(element, Mapping) else None
    if labels is None:
        return inputs, {}
    return inputs, dict(labels) if isinstance(labels, Mapping) else {UNNAMED_LABELS: labels}


def _check_spec(name: str, spec: Any) -> None:
    if type(spec).__name__ != "TensorSpec":
        raise InputError(
            f"'{name}' of {_ORIGIN} is a {type(spec).__name__}, and dense tensors are read; map it with "
            ".to_tensor(), or give inputs as a dict by name."
        )
    if spec.dtype.name in {"string", "resource", "variant"}:
        raise InputError(f"'{name}' of {_ORIGIN} is of type {spec.dtype.name}; map it to numbers.")


def _is_batched(inputs: list[Any], labels: list[Any]) -> bool:
    """Find out from the shapes whether the first axis counts examples.

    Raises:
        InputError: the shapes do not tell.
    """
    shapes = [spec.shape for spec in (*inputs, *labels)]
    if any(shape.rank is None for shape in shapes):
        raise InputError(
            f"{_ORIGIN} does not tell its shapes, so it cannot be seen whether it is batched; say so with "
            "batched=True or batched=False."
        )
    if any(shape.rank == 0 for shape in shapes):
        return False
    first = {shape[0] for shape in shapes}
    if first == {None}:
        return True
    if None in first or len(first) > 1:
        return False
    # One size on the first axis of all: either whole batches of that size, or lone examples.
    ranks = [spec.shape.rank for spec in inputs]
    one_label_a_row = min(ranks) > 1 and any(spec.shape.rank == 1 for spec in labels)
    return one_label_a_row or min(ranks) > 3
