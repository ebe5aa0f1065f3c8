"""Whether data fit a model by name, shape and type: each mistake is found before any work starts, and named."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from slimedge.artifact import TensorSpec
from slimedge.errors import InputError
from slimedge.source import UNNAMED, Column

IMAGE_CHANNELS = frozenset({1, 3, 4})


def match_inputs(given: Collection[str], specs: Sequence[TensorSpec]) -> dict[str, str]:
    """Tell which array of the data goes to which input of the model.

    Args:
        given: names of the arrays.
        specs: the model's inputs.

    Returns:
        Array name by input name, in the model's order.

    Raises:
        InputError: an input is missing or unknown, or an array without a name meets several inputs.
    """
    wanted = [spec.name for spec in specs]
    if set(given) == set(wanted):
        return {name: name for name in wanted}
    if len(wanted) == 1 and list(given) == [UNNAMED]:
        return {wanted[0]: UNNAMED}
    if list(given) == [UNNAMED]:
        raise InputError(
            f"the data is one array without a name, and the model has {len(wanted)} inputs: "
            f"{', '.join(wanted)}; give each array by its input's name, as in a dict or an .npz file."
        )
    unknown = [name for name in given if name not in wanted]
    missing = [name for name in wanted if name not in given]
    if unknown:
        close = difflib.get_close_matches(unknown[0], missing or wanted, n=1)
        hint = f"; did you mean '{close[0]}'" if close else ""
        raise InputError(
            f"the data holds '{unknown[0]}', which is no input of the model{hint}; its inputs are "
            f"{', '.join(wanted)}: rename or leave out what is not among them."
        )
    raise InputError(
        f"the data lacks input '{missing[0]}'; it holds {', '.join(given)}, and the model needs "
        f"{', '.join(wanted)}: add the missing array."
    )


def fit_shape(column: Column, spec: TensorSpec, n: int) -> tuple[int, ...]:
    """Tell in which shape one example is given to the model.

    A channel axis of size 1 is added or taken away, and examples are laid flat for an input that is
    flat; nothing else is changed.

    Args:
        column: the array's shape and type.
        spec: the model's input.
        n: number of examples.

    Returns:
        The shape of one example.

    Raises:
        InputError: the shape does not fit; it names the axis, and the remedy where the cause is known.
    """
    given, wanted = column.shape, spec.shape[1:]
    if _fits(given, wanted):
        return given
    if _fits((*given, 1), wanted):
        return (*given, 1)
    if given[-1:] == (1,) and _fits(given[:-1], wanted):
        return given[:-1]
    if len(given) > 1 and wanted == (math.prod(given),):
        return (math.prod(given),)
    raise InputError(
        f"input '{spec.name}' takes examples of shape {_shape(wanted)}, and those given are "
        f"{_shape(given)}: {_shape_remedy(given, wanted, n)}."
    )


def _shape_remedy(given: tuple[int, ...], wanted: tuple[int | None, ...], n: int) -> str:
    array = "the array"
    if _fits((n, *given), wanted):
        return f"{array} is one example without a batch axis; give it one with x[np.newaxis]"
    if _fits(given[1:], wanted):
        return (
            "there is an axis too many in front; if these are batches, take them apart (batched=True for a "
            "tf.data.Dataset)"
        )
    if len(given) == len(wanted) and len(given) >= 2 and _fits((*given[1:], given[0]), wanted):
        return "its channels come first and the model wants them last; turn it with np.moveaxis(x, 1, -1)"
    if _channels_last(given) and _channels_first(wanted):
        return "its channels come last and the model wants them first; turn it with np.moveaxis(x, -1, 1)"
    if len(given) == 2 and len(wanted) == 3 and wanted[-1] in IMAGE_CHANNELS and _fits(given, wanted[:2]):
        return (
            f"the channel axis is missing and the model wants {wanted[-1]} channels; repeat a grey image "
            f"with np.repeat(x[..., np.newaxis], {wanted[-1]}, axis=-1)"
        )
    if len(given) != len(wanted):
        return f"an example has {_axes(len(given))} and the model wants {_axes(len(wanted))}; reshape it"
    names = ("height", "width", "channels") if len(wanted) == 3 else ("",) * len(wanted)
    wrong = [
        f"axis {axis}{f' ({name})' if name else ''} is {g} and must be {w}"
        for axis, (g, w, name) in enumerate(zip(given, wanted, names, strict=True), start=1)
        if w not in {None, g}
    ]
    return f"{', '.join(wrong)}; give examples of the model's size"


def _channels_first(shape: tuple[int | None, ...]) -> bool:
    return len(shape) == 3 and shape[0] in IMAGE_CHANNELS and shape[-1] not in IMAGE_CHANNELS


def _channels_last(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[-1] in IMAGE_CHANNELS and shape[0] not in IMAGE_CHANNELS


def check_dtype(column: Column, spec: TensorSpec) -> None:
    """Check that an array's type can go to a model's input without guessing.

    Raises:
        InputError: another kind of number, or no numbers at all.
    """
    given, wanted = column.dtype, numpy_type(spec)
    what = f"input '{spec.name}' takes {spec.dtype}, and the array is"
    if given.kind == "O":
        raise InputError(
            f"{what} of Python objects (often rows of different length); make one array of numbers, with "
            f"np.stack(rows).astype('{spec.dtype}')."
        )
    if given.kind in "SUTMm":
        raise InputError(f"{what} {_kind_name(given)}; turn it into numbers of type {spec.dtype} first.")
    if given.kind == "c":
        raise InputError(f"{what} complex ({given}); give its real part or its size, as np.abs(x).")
    if given.kind not in "biuf":
        raise InputError(f"{what} {given}; convert it with .astype('{spec.dtype}').")
    if wanted.kind == "f":
        if given.kind == "f" and given.itemsize > max(4, wanted.itemsize):
            raise InputError(f"{what} {given}; convert it with .astype('{spec.dtype}').")
        if given.kind in "iu" and given != np.uint8:
            raise InputError(
                f"{what} {given}, which are no bytes of an image; if the numbers are meant as they are, "
                f"convert them with .astype('{spec.dtype}')."
            )


def numpy_type(spec: TensorSpec) -> np.dtype[Any]:
    """Give the NumPy type to feed an input with; float32 stands in for bfloat16.

    Raises:
        InputError: the input takes no numbers.
    """
    try:
        return np.dtype(spec.dtype)
    except TypeError as error:
        if spec.dtype == "bfloat16":
            return np.dtype(np.float32)
        raise InputError(
            f"input '{spec.name}' takes {spec.dtype}, which slimedge cannot feed; it feeds numbers only."
        ) from error


def _fits(given: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return len(given) == len(wanted) and all(w in {None, g} for g, w in zip(given, wanted, strict=True))


def _shape(shape: Sequence[int | None]) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in shape)}{',' * (len(shape) == 1)})"


def _axes(count: int) -> str:
    return f"{count} {'axis' if count == 1 else 'axes'}"


def _kind_name(dtype: np.dtype[Any]) -> str:
    return {"S": "byte strings", "U": "text", "T": "text", "M": "dates", "m": "durations"}[dtype.kind]
