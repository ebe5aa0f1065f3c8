"""Arrays that are already in Python: one array, (x, y), a dict of arrays, or train and test pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from slimedge.errors import InputError
from slimedge.source import UNNAMED_LABELS, Array, ArraySource, Facts, Options, Source, join, refuse

_ORIGIN = "the data"
_LABELS = "y"


class ArraysReader:
    """Reads numpy arrays and what turns into one (TensorFlow, JAX and PyTorch tensors, data frames)."""

    def knows(self, given: Any) -> bool:
        """Tell whether it is an array, a tuple of them, or a dict."""
        return isinstance(given, list | tuple | Mapping) or hasattr(given, "__array__")

    def open(self, given: Any, options: Options) -> Source:
        """Take the arrays as they are; nothing is copied."""
        if _is_train_and_test(given):
            parts = {
                part: _pair(pair, options, f"the {part} part of {_ORIGIN}")
                for part, pair in zip(("train", "test"), given, strict=True)
            }
            return join(parts, options.part, _ORIGIN)
        refuse(options, _ORIGIN, "part", *(() if isinstance(given, Mapping) else ("labels",)))
        if isinstance(given, tuple):
            return _pair(given, options, _ORIGIN)
        if isinstance(given, Mapping):
            return ArraySource(*split_labels(_arrays(given), options, _ORIGIN), origin=_ORIGIN)
        return ArraySource({options.name: as_array(given, options.name)}, origin=_ORIGIN)


def _is_train_and_test(given: Any) -> bool:
    """Tell the form that keras.datasets give: ((x_train, y_train), (x_test, y_test))."""
    return (
        isinstance(given, tuple)
        and len(given) == 2
        and all(isinstance(pair, tuple) and len(pair) == 2 for pair in given)
    )


def _pair(given: tuple[Any, ...], options: Options, origin: str) -> Source:
    if len(given) != 2:
        raise InputError(
            f"{origin} is a tuple of {len(given)}, and a tuple is read as (inputs, labels); give two, and "
            "several inputs as a dict by input name."
        )
    x, y = given
    inputs = _arrays(x) if isinstance(x, Mapping) else {options.name: as_array(x, options.name)}
    return ArraySource(inputs, Facts(labels=named_labels(y)), origin=origin)


def named_labels(given: Any) -> dict[str, Array]:
    """Give labels by output name, whichever way they came.

    Args:
        given: None, an array, or a mapping of arrays by output name.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {str(name): as_array(array, f"labels of {name}") for name, array in given.items()}
    return {UNNAMED_LABELS: as_array(given, "labels")}


def split_labels(
    arrays: Mapping[str, Array], options: Options, origin: str
) -> tuple[dict[str, Array], Facts]:
    """Tell labels from inputs by their names: `y` (or the one asked for), and `y:output` by output.

    Args:
        arrays: by name.
        options: `labels` is the name to look for.
        origin: what the user gave, for the message.

    Raises:
        InputError: labels were asked for by a name that is not there.
    """
    wanted = options.labels or _LABELS
    if options.labels is not None and not any(n == wanted or n.startswith(f"{wanted}:") for n in arrays):
        raise InputError(
            f"{origin} has no labels '{wanted}'; it holds {', '.join(arrays)}: name one of these "
            "(--label-column, labels= in Python)."
        )
    inputs: dict[str, Array] = {}
    labels: dict[str, Array] = {}
    for name, array in arrays.items():
        if name == wanted:
            labels[UNNAMED_LABELS] = array
        elif name.startswith(f"{wanted}:"):
            labels[name.partition(":")[2]] = array
        else:
            inputs[name] = array
    return inputs, Facts(labels=labels)


def _arrays(given: Mapping[Any, Any]) -> dict[str, Array]:
    flat: dict[str, Array] = {}
    for name, array in given.items():
        if isinstance(array, Mapping):
            flat |= {f"{name}:{inner}": as_array(a, f"{name}:{inner}") for inner, a in array.items()}
        else:
            flat[str(name)] = as_array(array, str(name))
    return flat


def as_array(given: Any, name: str) -> Array:
    """Give a numpy view of an array-like.

    Raises:
        InputError: its rows differ in length, or it is no array.
    """
    try:
        return np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"'{name}' is a {type(given).__name__} that does not make one array ({first_line(error)}); give "
            "rows of one shape, as np.stack(rows).astype('float32') makes them."
        ) from error


def first_line(error: BaseException) -> str:
    """Give an exception's first line without its full stop, or its type's name when it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".")[:300] if lines else type(error).__name__
