"""What the values of data tell: NaN, numbers that do not fit, and what can only be guessed to be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slimedge.artifact import TensorSpec
from slimedge.data_shapes import IMAGE_CHANNELS, numpy_type
from slimedge.errors import InputError
from slimedge.source import Array, Indices

OVERRIDE = 'pass --no-range-checks (checks="types" in Python) if it is meant so'
"""How to overrule the checks that can only guess."""

_IMAGES_LOOKED_AT = 256
_PATCH = 64
_DARKEST_BYTES = 64
"""Floats that reach beyond this and stay within 255 are taken for pixels in 0…255."""


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
        return shape[-1] in IMAGE_CHANNELS
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
