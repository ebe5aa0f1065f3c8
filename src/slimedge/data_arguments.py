"""What a user gives to load and split data, checked before anything is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from slimedge.errors import InputError
from slimedge.readers import ALLOWED, READERS
from slimedge.source import Array


def path_or_object(given: Any) -> Any:
    """Turn text into a path, unless it is `module:function`.

    Raises:
        InputError: nothing is there.
    """
    if isinstance(given, str) and not Path(given).exists() and READERS["function"]().knows(given):
        return given
    if not isinstance(given, str | os.PathLike):
        return given
    path = Path(given).expanduser()
    if not path.exists():
        raise InputError(f"there is no {path}; give {ALLOWED}.")
    return path


def checked_size(given: tuple[int, int] | str | None) -> tuple[int, int] | None:
    """Give height and width.

    Raises:
        InputError: neither two sizes nor text like 224x224.
    """
    if given is None:
        return None
    sides = given.lower().split("x") if isinstance(given, str) else given
    try:
        height, width = (int(side) for side in sides)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        raise InputError(
            f"image_size={given!r} is not allowed; give height and width, as 224x224 or (224, 224)."
        )
    return height, width


def checked_limit(given: int | None) -> int | None:
    """Give the number of examples to take; raises InputError where it is below 1."""
    if given is not None and given < 1:
        raise InputError(f"limit={given} is not allowed; give the number of examples to take, 1 or more.")
    return given


def checked_seed(given: object) -> int:
    """Give a seed; raises InputError where it is no whole number from 0."""
    if isinstance(given, bool) or not isinstance(given, int | np.integer) or given < 0:
        raise InputError(f"seed={given!r} is not allowed; give an integer from 0.")
    return int(given)


def check_enough(n: int, available: int, name: str, before: str) -> None:
    """Check that so many examples are left for a part of a split; raises InputError where fewer are."""
    if n > available:
        raise InputError(
            f"{name} asks for {n:,} examples and {before} {available:,}; ask for fewer, or give more data."
        )


def check_lengths(labels: Mapping[str, Array], n: int) -> None:
    """Check that there is a label for each example; raises InputError where there is not."""
    for array in labels.values():
        count = len(array) if array.ndim else 1
        if count != n:
            raise InputError(f"the data has {n:,} examples and {count:,} labels; give one label an example.")
