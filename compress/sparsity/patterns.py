"""Where zeros may lie: anywhere, in blocks, or so many in each group along an axis."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.sparsity.axes import Axes
from slimedge.errors import InputError

Mask = NDArray[np.bool_]
ALLOWED = "'unstructured', a block as '4x1' (output by input channels), or N:M as '2:4' (2 kept of each 4)"


class Pattern(Protocol):
    """A pattern of zeros."""

    @property
    def sparsity(self) -> float | None:
        """The share of zeros that the pattern itself fixes; None where any share can be had."""

    def misfit(self, shape: tuple[int, ...], axes: Axes) -> str | None:
        """Say in half a sentence why a weight cannot have the pattern; None where it can."""

    def scores(self, weight: NDArray[Any], axes: Axes) -> NDArray[np.float64]:
        """Give the mean magnitude of each unit that is kept or not, in one axis."""

    def spread(self, kept: Mask, shape: tuple[int, ...], axes: Axes) -> Mask:
        """Give the mask of a weight from that of its units."""


@dataclass(frozen=True, slots=True)
class Block:
    """Blocks of `outputs` output channels by `inputs` input channels, at one position of a window each.

    A block is kept or not by the mean of its magnitudes, and the last one along an axis may be smaller. 1×1 is the
    unstructured pattern. `1xN` is what TFLite calls blocks along the input, `Nx1` what sparse kernels for matrices of
    few columns like.
    """

    outputs: int = 1
    inputs: int = 1
    sparsity: None = None

    def misfit(self, shape: tuple[int, ...], axes: Axes) -> str | None:
        """Say why a weight has no such block."""
        _, outputs, inputs = axes.arranged(np.empty(shape, np.bool_)).shape
        if self.outputs > outputs or self.inputs > inputs:
            block = f"{self.outputs}x{self.inputs}"
            return f"it has {outputs} outputs of {inputs} inputs each, less than a block of {block}"
        return None

    def scores(self, weight: NDArray[Any], axes: Axes) -> NDArray[np.float64]:
        """Give the mean magnitude of each block."""
        if self.outputs == self.inputs == 1:
            plain: NDArray[np.float64] = np.abs(weight).astype(np.float64)
            return plain.ravel()
        arranged = np.abs(axes.arranged(weight)).astype(np.float64)
        sums, counts = (self._summed(array) for array in (arranged, np.ones_like(arranged)))
        means: NDArray[np.float64] = sums / counts
        return means.ravel()

    def spread(self, kept: Mask, shape: tuple[int, ...], axes: Axes) -> Mask:
        """Give the mask of a weight from that of its blocks."""
        if self.outputs == self.inputs == 1:
            return kept.reshape(shape)
        positions, outputs, inputs = axes.arranged(np.empty(shape, np.bool_)).shape
        blocks = kept.reshape(positions, -(-outputs // self.outputs), -(-inputs // self.inputs))
        full = blocks.repeat(self.outputs, axis=1)[:, :outputs].repeat(self.inputs, axis=2)[:, :, :inputs]
        return axes.restored(full, shape)

    def _summed(self, arranged: NDArray[np.float64]) -> NDArray[np.float64]:
        _, outputs, inputs = arranged.shape
        rows = np.add.reduceat(arranged, range(0, outputs, self.outputs), axis=1)
        return np.asarray(np.add.reduceat(rows, range(0, inputs, self.inputs), axis=2))


@dataclass(frozen=True, slots=True)
class GroupsOf:
    """At most `kept` of each `size` numbers that lie side by side along the axis that a product sums over.

    Reference: Mishra et al., 2021, "Accelerating Sparse Deep Neural Networks", for 2 of 4.
    """

    kept: int
    size: int

    @property
    def sparsity(self) -> float:
        """The share of zeros in a whole group."""
        return 1 - self.kept / self.size

    def misfit(self, shape: tuple[int, ...], axes: Axes) -> str | None:
        """Say why no group of a weight would lose anything."""
        inputs = axes.arranged(np.empty(shape, np.bool_)).shape[2]
        if not axes.summed:
            return "it sums over no input channels"
        if inputs <= self.kept:
            return f"it sums over {inputs} input channels, and {self.kept} of each {self.size} stay"
        return None

    def scores(self, weight: NDArray[Any], axes: Axes) -> NDArray[np.float64]:
        """Give 1 for each number among the `kept` largest of its group, of equal ones the first; 0 for the others."""
        arranged = np.abs(axes.arranged(weight)).astype(np.float64)
        positions, outputs, inputs = arranged.shape
        missing = -inputs % self.size
        padded = np.pad(arranged, [(0, 0), (0, 0), (0, missing)], constant_values=-1)
        groups = padded.reshape(positions, outputs, -1, self.size)
        order = np.argsort(-groups, axis=-1, kind="stable")
        found = np.zeros(groups.shape)
        np.put_along_axis(found, order[..., : self.kept], 1, axis=-1)
        return found.reshape(positions, outputs, -1)[:, :, :inputs].ravel()

    def spread(self, kept: Mask, shape: tuple[int, ...], axes: Axes) -> Mask:
        """Give the mask of a weight from that of its numbers."""
        return axes.restored(kept.reshape(axes.arranged(np.empty(shape, np.bool_)).shape), shape)


def pattern_of(name: str) -> Pattern:
    """Give a pattern by its name.

    Raises:
        InputError: there is none of it.

    Example:
        >>> pattern_of("unstructured"), pattern_of("4x1"), pattern_of("2:4").sparsity
        (Block(outputs=1, inputs=1, sparsity=None), Block(outputs=4, inputs=1, sparsity=None), 0.5)
    """
    if name == "unstructured":
        return Block()
    block, groups = (re.fullmatch(rf"(\d+){sign}(\d+)", name, re.ASCII) for sign in "x:")
    if block is not None:
        outputs, inputs = map(int, block.groups())
        if outputs and inputs:
            return Block(outputs, inputs)
    if groups is not None:
        kept, size = map(int, groups.groups())
        if 0 < kept < size:
            return GroupsOf(kept, size)
    raise InputError(f"pattern={name!r} is not allowed; give {ALLOWED}.")
