"""How the arrays of a source become the inputs of a model."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from slimedge import data_shapes, data_values
from slimedge.artifact import TensorSpec
from slimedge.errors import InputError
from slimedge.source import Array, Indices, Source

Scale: TypeAlias = float | Mapping[str, float] | None

PIXEL_SCALE = 1 / 255

_FILES_LOOKED_AT = 512
"""So many files are decoded to check a lazy source; arrays are checked in full."""

_BYTES_AT_ONCE = 2**25


@dataclass(frozen=True, slots=True)
class Binding:
    """Name, shape, scale and type; applied to rows as they are read.

    Attributes:
        name: of the model's input.
        array: of the source's array.
        dtype: that the model takes.
        shape: of one example; None before a model's input was fitted.
        scale: that the values are multiplied with; None to leave them.
    """

    name: str
    array: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...] | None = None
    scale: float | None = None

    def __call__(self, rows: Array) -> Array:
        """Give rows (k, …) as the model takes them."""
        return self.scaled(rows).astype(self.dtype, copy=False)

    def scaled(self, rows: Array) -> Array:
        """Give rows (k, …) in shape and scale, still in a type that loses nothing."""
        shaped = rows if self.shape is None else rows.reshape(len(rows), *self.shape)
        if self.scale is None:
            return shaped
        # Divided, because x / 255 in float32 is rounded once and x · (1/255) twice; a model trained on
        # the first sees the very same numbers here.
        return np.divide(shaped, np.float32(1 / self.scale), dtype=np.float32)


def parse_scale(given: object) -> Scale:
    """Read a scale as the command line or Python gives it.

    Args:
        given: None, a number, text such as `1/255` or `image=1/255,depth=0.001`, or a mapping by input.

    Raises:
        InputError: it is no number above 0.

    Example:
        >>> parse_scale("1/255") == 1 / 255
        True
        >>> parse_scale("image=1/4,depth=2")
        {'image': 0.25, 'depth': 2.0}
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        return {str(name): _number(value) for name, value in given.items()}
    if isinstance(given, str) and "=" in given:
        pairs = (pair.partition("=") for pair in given.split(","))
        return {name.strip(): _number(value) for name, _, value in pairs}
    return _number(given)


def _number(given: Any) -> float:
    try:
        above, _, below = given.partition("/") if isinstance(given, str) else (given, "", "")
        value = float(above) / float(below or 1)
    except (TypeError, ValueError, ZeroDivisionError):
        value = float("nan")
    if not 0 < value < float("inf"):
        raise InputError(
            f"the scale {given!r} is not allowed; give a number above 0 as 0.0039 or 1/255, or one for each "
            "input as image=1/255."
        )
    return value


def scale_of(scale: Scale, name: str, names: tuple[str, ...]) -> float | None:
    """Give the scale that the user set for an input.

    Args:
        scale: one for the only input, or by input name.
        name: of the input.
        names: all inputs.

    Returns:
        The scale, None where none was set for this input.

    Raises:
        InputError: one scale for several inputs, or a scale for no input.
    """
    if scale is None:
        return None
    if isinstance(scale, Mapping):
        if unknown := [key for key in scale if key not in names]:
            raise InputError(
                f"there is a scale for '{unknown[0]}', which is no input; the inputs are {', '.join(names)}."
            )
        return scale.get(name)
    if len(names) > 1:
        raise InputError(
            f"one scale was given for {len(names)} inputs; say for which, as --scale {names[0]}={scale:.6g} "
            f'(scale={{"{names[0]}": {scale:.6g}}} in Python).'
        )
    return scale


def raw_inputs(preprocessing: bool | Collection[str], specs: Sequence[TensorSpec]) -> frozenset[str]:
    """Tell for which inputs the model scales pixels itself.

    Args:
        preprocessing: whether it does for all, or the names of those for which it does.
        specs: the model's inputs.
    """
    names = frozenset(spec.name for spec in specs)
    if isinstance(preprocessing, bool):
        return names if preprocessing else frozenset()
    # The one input of a model is meant, whatever it was called where this was found out.
    return names if preprocessing and len(names) == 1 else names & frozenset(preprocessing)


def bind_inputs(
    source: Source,
    rows: Indices,
    specs: Sequence[TensorSpec],
    *,
    scale: Scale,
    raw: frozenset[str],
    strict: bool,
) -> tuple[Source, tuple[Binding, ...], tuple[str, ...]]:
    """Fit a source to a model's inputs and check its values.

    Args:
        source: where the examples are read from.
        rows: (n,) those that are used, n ≥ 1.
        specs: the model's inputs, in Keras order.
        scale: as the user set it.
        raw: names of the inputs that take pixels in 0…255.
        strict: whether to check what can only be guessed (range, noise, equal examples).

    Returns:
        The source in the model's image size, one binding an input, and notices.

    Raises:
        InputError: anything that `data_shapes` or `data_values` finds.
    """
    arrays = data_shapes.match_inputs(tuple(source.columns), specs)
    if len(specs) == 1:
        source = source.shaped(specs[0].shape[1:])
    bindings = []
    notices = list(source.facts.notices)
    for spec in specs:
        column = source.columns[arrays[spec.name]]
        data_shapes.check_dtype(column, spec)
        shape = data_shapes.fit_shape(column, spec, len(rows))
        dtype = data_shapes.numpy_type(spec)
        factor = scale_of(scale, spec.name, tuple(arrays))
        if factor is None and source.facts.pixel_bytes and dtype.kind == "f":
            factor = None if spec.name in raw else PIXEL_SCALE
            notices.append(_pixel_notice(spec.name, scaled=factor is not None))
        bindings.append(Binding(spec.name, arrays[spec.name], dtype, shape, factor))
    _check_values(source, rows, bindings, specs, raw, strict=strict)
    return source, tuple(bindings), tuple(notices)


def _check_values(
    source: Source,
    rows: Indices,
    bindings: Sequence[Binding],
    specs: Sequence[TensorSpec],
    raw: frozenset[str],
    *,
    strict: bool,
) -> None:
    seen = {spec.name: data_values.Values() for spec in specs}
    for some in _looked_at(source, rows):
        read = source.read(some)
        for binding in bindings:
            given = binding.scaled(read[binding.array])
            seen[binding.name] = data_values.look_at(some, given, seen[binding.name])
    for spec, binding in zip(specs, bindings, strict=True):
        values = seen[spec.name]
        data_values.check_finite(values, spec)
        data_values.check_integers(values, spec)
        if strict:
            data_values.check_values(
                values,
                spec,
                dtype=source.columns[binding.array].dtype,
                raw_wanted=spec.name in raw,
                scale=binding.scale,
            )


def _looked_at(source: Source, rows: Indices) -> Iterator[Indices]:
    if source.lazy and len(rows) > _FILES_LOOKED_AT:
        rows = rows[np.linspace(0, len(rows) - 1, _FILES_LOOKED_AT).astype(np.int64)]
    numbers = sum(math.prod(column.shape) for column in source.columns.values())
    size = max(1, min(1024, _BYTES_AT_ONCE // (4 * max(1, numbers))))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _pixel_notice(name: str, *, scaled: bool) -> str:
    if scaled:
        return (
            f"the pixels of '{name}' are scaled by 1/255 to 0…1, since the model does not scale them itself; "
            "--scale takes another factor (scale= in Python)."
        )
    return f"the pixels of '{name}' are given as 0…255, since the model scales them itself."


def unbound(name: str, dtype: np.dtype[Any], scale: Scale, *, alone: bool) -> Binding:
    """Give an array as it is, until a model is known; a scale that is clearly meant for it is applied."""
    factor = scale.get(name) if isinstance(scale, Mapping) else scale if alone else None
    if factor is None:
        return Binding(name, name, dtype)
    return Binding(name, name, np.dtype(np.float32), scale=factor)
