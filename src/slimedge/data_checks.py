"""What can be wrong with data for a model: each mistake is found before any work starts, and named."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slimedge.artifact import TensorSpec
from slimedge.errors import InputError
from slimedge.source import UNNAMED, Array, Column, Indices

OVERRIDE = 'pass --no-range-checks (checks="types" in Python) if it is meant so'
"""How to overrule the checks that can only guess."""

_IMAGE_CHANNELS = frozenset({1, 3, 4})
_IMAGES_LOOKED_AT = 256
_PATCH = 64
_DARKEST_BYTES = 64
"""Floats that reach beyond this and stay within 255 are taken for pixels in 0…255."""


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
    if len(given) == 2 and len(wanted) == 3 and wanted[-1] in _IMAGE_CHANNELS and _fits(given, wanted[:2]):
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
    return len(shape) == 3 and shape[0] in _IMAGE_CHANNELS and shape[-1] not in _IMAGE_CHANNELS


def _channels_last(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[-1] in _IMAGE_CHANNELS and shape[0] not in _IMAGE_CHANNELS


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


@dataclass(frozen=True, slots=True)
class Values:
    """What the values of one input are like.

    Attributes:
        n: examples seen.
        low: least finite value.
        high: greatest finite value.
        whole: whether all are whole numbers.
        not_finite: examples with NaN or infinity.
        first_not_finite: row of the first of those.
        constant: whether all examples are equal.
        correlation: greatest correlation of neighbouring pixels in any of the first images, None where
            it was not looked at.
        first: the first example.
    """

    n: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    whole: bool = True
    not_finite: int = 0
    first_not_finite: int | None = None
    constant: bool = True
    correlation: float | None = None
    first: Array | None = field(default=None, repr=False)


_NOTHING = Values()


def look_at(rows: Indices, values: Array, before: Values = _NOTHING) -> Values:
    """Add a batch to the summary of an input's values.

    Args:
        rows: (k,) where these examples lie in the source.
        values: (k, …) after scaling, k ≥ 1.
        before: the summary of the batches before.

    Returns:
        The summary of all of them.
    """
    first = values[0] if before.first is None else before.first
    flat = values.reshape(len(values), -1)
    finite = np.isfinite(flat)
    good = flat if finite.all() else flat[finite]
    bad = np.flatnonzero(~finite.all(axis=1))
    first_bad = int(rows[bad[0]]) if len(bad) else None
    wanted = max(0, _IMAGES_LOOKED_AT - before.n)
    images = values[:wanted][finite[:wanted].all(axis=1)]
    return Values(
        n=before.n + len(values),
        low=min(before.low, float(good.min())) if good.size else before.low,
        high=max(before.high, float(good.max())) if good.size else before.high,
        whole=before.whole and bool((good == np.round(good)).all()),
        not_finite=before.not_finite + len(bad),
        first_not_finite=first_bad if before.first_not_finite is None else before.first_not_finite,
        constant=before.constant and bool((values == first).all()),
        correlation=_largest(before.correlation, neighbour_correlation(images)),
        first=first,
    )


def _largest(a: float | None, b: float | None) -> float | None:
    known = [value for value in (a, b) if value is not None]
    return max(known, default=None)


def neighbour_correlation(images: Array) -> float | None:
    """Give the greatest correlation of neighbouring pixels found in any image.

    Real images have neighbours alike (0.8 and more is common); in random noise the correlation is 0
    within a few times 1/sqrt(pixels).

    Args:
        images: (n, height, width, channels); the middle 64×64 pixels are looked at.

    Returns:
        The greatest of the n, each the mean of the horizontal and the vertical Pearson correlation;
        None where images are too small or plain to tell.
    """
    if images.ndim != 4 or not len(images) or noise_level(images.shape[1:3]) is None:
        return None
    _, height, width, _ = images.shape
    top, left = max(0, height - _PATCH) // 2, max(0, width - _PATCH) // 2
    pixels = images[:, top : top + _PATCH, left : left + _PATCH].astype(np.float64)
    correlations = [
        _correlation(pixels[:, :, :-1], pixels[:, :, 1:]),
        _correlation(pixels[:, :-1], pixels[:, 1:]),
    ]
    mean = np.mean(correlations, axis=0)
    known = mean[np.isfinite(mean)]
    return float(known.max()) if len(known) else None


def _correlation(a: Array, b: Array) -> Array:
    """Give Pearson's correlation over the pixels, the channels' mean taken out, for each image."""
    a = a - a.mean(axis=(1, 2), keepdims=True)
    b = b - b.mean(axis=(1, 2), keepdims=True)
    axes = (1, 2, 3)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((a * b).sum(axis=axes) / np.sqrt((a * a).sum(axis=axes) * (b * b).sum(axis=axes)))


def noise_level(size: Sequence[int]) -> float | None:
    """Give the correlation that random noise of a size stays under: 5 standard deviations, at least 0.1.

    Args:
        size: height and width in pixels.

    Returns:
        The level, or None for images of fewer than 150 pixels, where it says nothing.
    """
    pixels = min(size[0], _PATCH) * min(size[1], _PATCH)
    return None if pixels < 150 else max(0.1, 5 / float(np.sqrt(pixels)))


def check_finite(values: Values, spec: TensorSpec) -> None:
    """Check that there is no NaN and no infinity.

    Raises:
        InputError: there is; it tells how many examples and which is the first.
    """
    if values.not_finite:
        raise InputError(
            f"input '{spec.name}' holds NaN or infinity in {values.not_finite:,} of {values.n:,} examples "
            f"looked at, first in example {values.first_not_finite}; clean the data or leave those examples out."
        )


def check_values(
    values: Values,
    spec: TensorSpec,
    *,
    dtype: np.dtype[Any],
    raw_wanted: bool,
    scale: float | None,
) -> None:
    """Check the values for what is most often wrong with calibration data.

    Args:
        values: their summary, after scaling.
        spec: the model's input.
        dtype: of the array before scaling.
        raw_wanted: whether the model takes pixels in 0…255 and scales them itself.
        scale: what the values were multiplied with.

    Raises:
        InputError: all examples are equal, or are noise, or have another range than the model takes.
    """
    what = f"input '{spec.name}'"
    if values.constant and values.n > 1:
        raise InputError(
            f"all {values.n:,} examples looked at of {what} are equal; give real data, or {OVERRIDE}."
        )
    shape = () if values.first is None else values.first.shape
    level = noise_level(shape) if len(shape) == 3 else None
    if level is not None and values.correlation is not None and values.correlation < level:
        raise InputError(
            f"{what} looks like random noise: neighbouring pixels are unrelated in every image; ranges "
            f"calibrated on noise are wrong, so give real images, or {OVERRIDE}."
        )
    if np.dtype(numpy_type(spec)).kind != "f":
        return
    image = _is_image(shape, values)
    if raw_wanted:
        if image and scale is not None and values.high <= 1:
            raise InputError(
                f"{what} was scaled to {_range(values)}, and the model scales pixels in 0…255 itself; leave "
                f"--scale (scale= in Python) out, or {OVERRIDE}."
            )
        if image and values.low >= -1 and values.high <= 1:
            raise InputError(
                f"{what} lies in {_range(values)}, and the model scales pixels in 0…255 itself; give the raw "
                f"pixels, as --scale 255 (scale=255 in Python) makes of 0…1, or {OVERRIDE}."
            )
        return
    if dtype == np.uint8 and scale is None and values.high > 1:
        raise InputError(
            f"{what} holds raw bytes in {_range(values)}, and the model does not scale them itself; pass "
            f'--scale 1/255 (scale="1/255" in Python), or what it was trained with, or {OVERRIDE}.'
        )
    if image and values.low >= 0 and _DARKEST_BYTES < values.high <= 255:
        raise InputError(
            f"{what} lies in {_range(values)}, as raw pixels do, and the model does not scale them itself; "
            f'pass --scale 1/255 (scale="1/255" in Python), or what it was trained with, or {OVERRIDE}.'
        )
    if image and scale is not None and scale < 0.1 and values.low >= 0 and values.high <= 1.001 * scale:
        raise InputError(
            f"{what} lies in {_range(values)} after --scale {scale:.6g}: it was scaled twice; leave --scale "
            f"(scale= in Python) out, or {OVERRIDE}."
        )


def _is_image(shape: Sequence[int], values: Values) -> bool:
    """Tell images from series and tables, whose values may lie anywhere."""
    if len(shape) == 3:
        return shape[-1] in _IMAGE_CHANNELS
    bytes_or_unit = values.high == 255 or values.high <= 1
    return len(shape) == 2 and min(shape) >= 8 and values.low >= 0 and bytes_or_unit


def check_integers(values: Values, spec: TensorSpec) -> None:
    """Check that values can go to an integer input without loss.

    Raises:
        InputError: fractions, or numbers that the type does not hold.
    """
    wanted = numpy_type(spec)
    if wanted.kind not in "iu":
        return
    limits = np.iinfo(wanted)
    if not values.whole or values.low < limits.min or values.high > limits.max:
        raise InputError(
            f"input '{spec.name}' takes {spec.dtype}, and the values lie in {_range(values)}"
            f"{'' if values.whole else ' with fractions'}; give whole numbers in {limits.min}…{limits.max}."
        )


def _range(values: Values) -> str:
    return f"{values.low:.4g}…{values.high:.4g}"


def _fits(given: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return len(given) == len(wanted) and all(w in {None, g} for g, w in zip(given, wanted, strict=True))


def _shape(shape: Sequence[int | None]) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in shape)}{',' * (len(shape) == 1)})"


def _axes(count: int) -> str:
    return f"{count} {'axis' if count == 1 else 'axes'}"


def _kind_name(dtype: np.dtype[Any]) -> str:
    return {"S": "byte strings", "U": "text", "T": "text", "M": "dates", "m": "durations"}[dtype.kind]
