"""Layers that multiply each position with one matrix, and that product as two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from string import ascii_letters
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.graph import Layer

ELLIPSIS = "..."


@dataclass(frozen=True, slots=True)
class Equation:
    """The equation of an `EinsumDense` that is a matrix product at each position.

    Attributes:
        prefix: `...` where leading axes are left open, else nothing.
        given: letters of the input.
        positions: those of them that the output has, too.
        kernel: letters of the kernel, in its order.
        summed: those of them that the input has.
        made: letters of the output.
    """

    prefix: str
    given: str
    positions: str
    kernel: str
    summed: str
    made: str

    @property
    def free(self) -> str:
        """Letters of the kernel that the output has, in the kernel's order."""
        return "".join(letter for letter in self.kernel if letter not in self.summed)


def plain_product(text: str) -> Equation | None:
    """Read an equation; None where it is more than a matrix product at each position.

    Example:
        >>> found = plain_product("abc,cde->abde")
        >>> found.positions, found.summed, found.free
        ('ab', 'c', 'de')
        >>> plain_product("abc,bcd->abd") is None  # a matrix of its own for each b
        True
    """
    left, _, made = text.replace(" ", "").partition("->")
    given, _, kernel = left.partition(",")
    open_axes = {term.startswith(ELLIPSIS) for term in (given, made)}
    prefix = ELLIPSIS if open_axes == {True} else ""
    given, made = given.removeprefix(prefix), made.removeprefix(prefix)
    terms = (given, kernel, made)
    if any(not set(term) <= set(ascii_letters) or len(set(term)) < len(term) for term in terms):
        return None
    positions = "".join(letter for letter in given if letter in made)
    summed = "".join(letter for letter in kernel if letter in given)
    free = set(kernel) - set(summed)
    plain = set(given) == set(positions) | set(summed) and set(made) == set(positions) | free
    whole = plain and not set(positions) & set(kernel) and bool(summed) and bool(free)
    first = bool(prefix) or positions[:1] == given[:1] == made[:1]  # of the batch, which Keras wants in front
    return Equation(prefix, given, positions, kernel, summed, made) if whole and first else None


def as_matrix(layer: Layer, kernel: NDArray[Any]) -> NDArray[Any] | None:
    """Give the kernel of a layer as (inputs, outputs) of one position; None where it looks at several.

    Args:
        layer: Dense, EinsumDense or a convolution without groups.
        kernel: its kernel.
    """
    if layer.kind == "EinsumDense":
        equation = plain_product(str(layer.config["equation"]))
        if equation is None:
            return None
        order = [equation.kernel.index(letter) for letter in equation.summed + equation.free]
        rows = prod(kernel.shape[axis] for axis in order[: len(equation.summed)])
        return np.transpose(kernel, order).reshape(rows, -1)
    if prod(kernel.shape[:-2]) > 1:
        return None
    return kernel.reshape(kernel.shape[-2:])


def einsum_factors(
    layer: Layer, first: NDArray[Any], last: NDArray[Any], sizes: Mapping[str, int | None]
) -> tuple[tuple[dict[str, Any], NDArray[Any]], tuple[dict[str, Any], NDArray[Any]]]:
    """Give the settings and kernels of the two `EinsumDense` layers that compute a split product.

    Args:
        layer: whose equation is a plain product.
        first: (summed, rank).
        last: (rank, free).
        sizes: of the letters of the positions, None where any size goes.
    """
    equation = plain_product(str(layer.config["equation"]))
    kernel = layer.weight("kernel")
    if equation is None or kernel is None:
        raise ValueError(f"layer '{layer.name}' is no plain product")
    length = dict(zip(equation.kernel, kernel.shape, strict=True))
    rank = next(letter for letter in ascii_letters if letter not in equation.given + equation.made)
    between = f"{equation.prefix}{equation.positions}{rank}"
    told = (
        equation.positions if equation.prefix else equation.positions[1:]
    )  # without the batch, as Keras has it
    one = {
        "equation": f"{equation.prefix}{equation.given},{equation.summed}{rank}->{between}",
        "output_shape": (*(sizes[letter] for letter in told), first.shape[1]),
        "bias_axes": None,
    }
    other = {"equation": f"{between},{rank}{equation.free}->{equation.prefix}{equation.made}"}
    return (
        (one, first.reshape(*(length[letter] for letter in equation.summed), -1)),
        (other, last.reshape(-1, *(length[letter] for letter in equation.free))),
    )
