"""The ways to split a layer: each says what its ranks cost and keep, and makes the chain of layers.

svd          y = x A B                                         Dense, EinsumDense, convolutions of one position
tucker2      1×1, inputs → r; k×k, r → s; 1×1, s → outputs     other convolutions
spatial_svd  k×1, inputs → r; 1×k, r → outputs                 Conv2D
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.low_rank import factors
from slimedge.compress.low_rank.matrices import as_matrix, einsum_factors
from slimedge.compress.low_rank.options import Table, allowed_ranks
from slimedge.compress.low_rank.weighting import Weighting
from slimedge.compress.simplifying import one_position
from slimedge.graph import Layer

CONVOLUTIONS = {"Conv1D": 1, "Conv2D": 2, "Conv3D": 3}


@dataclass(frozen=True, slots=True)
class Places:
    """Positions that a layer computes at, for one example and summed over its calls.

    Attributes:
        given: of its inputs.
        between: rows of its outputs and columns of its inputs, of a picture.
        made: of its outputs.
        sizes: of the axes of an `EinsumDense` that are positions, by their letters; None where any size goes.
    """

    given: int
    between: int
    made: int
    sizes: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subject:
    """A layer that is to be split.

    Attributes:
        layer: itself.
        kernel: its kernel, float64.
        places: where it computes.
        weighting: what of the kernel matters.
    """

    layer: Layer
    kernel: NDArray[np.float64]
    places: Places
    weighting: Weighting

    @property
    def matrix(self) -> NDArray[np.float64] | None:
        """The kernel as (inputs, outputs) of one position, weighted; None where it looks at several."""
        found = as_matrix(self.layer, self.kernel)
        return None if found is None else self.weighting.on(found)

    @property
    def weighted(self) -> NDArray[np.float64]:
        """The kernel of a convolution, weighted."""
        return self.weighting.on(self.kernel)


@dataclass(frozen=True, slots=True)
class Part:
    """One layer of a chain.

    Attributes:
        suffix: of its name; the last has none, and the user's layer's bias and activation.
        settings: those that differ from the user's layer's.
        kernel: of the shape that Keras has.
    """

    suffix: str
    settings: Mapping[str, Any]
    kernel: NDArray[Any]


class Way(Protocol):
    """One way to split a layer."""

    def table(self, subject: Subject, multiple: int) -> Table | None:
        """Give all ranks that are multiples; None where it cannot split such a layer."""

    def parts(self, subject: Subject, ranks: tuple[int, ...]) -> tuple[Part, ...]:
        """Give the chain of layers."""


class Svd:
    """A matrix as the product of two."""

    def table(self, subject: Subject, multiple: int) -> Table | None:
        """Give r · (inputs + outputs) products a position for each rank r."""
        matrix = subject.matrix
        if matrix is None:
            return None
        ranks = allowed_ranks(min(matrix.shape), multiple)
        parameters = ranks * sum(matrix.shape)
        kept = factors.kept_by_rank(matrix)[ranks]
        return Table("svd", ranks[:, None], parameters * subject.places.made, parameters, kept)

    def parts(self, subject: Subject, ranks: tuple[int, ...]) -> tuple[Part, ...]:
        """Give two layers of the same kind; a convolution's strides are the first's."""
        layer, matrix = subject.layer, subject.matrix
        if matrix is None:
            raise ValueError(f"layer '{layer.name}' is no matrix product")
        (rank,) = ranks
        first, last = factors.split_matrix(matrix, rank)
        first, last = subject.weighting.off_inputs(first), subject.weighting.off_outputs(last)
        if layer.kind == "EinsumDense":
            one, other = einsum_factors(layer, first, last, subject.places.sizes)
            return Part("reduce", *one), Part("", *other)
        if layer.kind == "Dense":
            return Part("reduce", {"units": rank}, first), Part("", {}, last)
        dimensions = CONVOLUTIONS[layer.kind]
        ones = (1,) * dimensions
        return (
            Part("reduce", {"filters": rank}, first.reshape(*ones, *first.shape)),
            Part("", one_position(dimensions), last.reshape(*ones, *last.shape)),
        )


class Tucker2:
    """A convolution of fewer inputs and outputs between two of one position; those of a full rank are left out."""

    def table(self, subject: Subject, multiple: int) -> Table | None:
        """Give the products of the three convolutions for each pair of ranks."""
        size, places = prod(subject.kernel.shape[:-2]), subject.places
        if subject.layer.kind not in CONVOLUTIONS or size == 1:
            return None
        inputs, outputs = subject.kernel.shape[-2:]
        first, last = np.meshgrid(
            allowed_ranks(inputs, multiple), allowed_ranks(outputs, multiple), indexing="ij"
        )
        before = np.where(first < inputs, inputs * first, 0)
        middle = size * first * last
        after = np.where(last < outputs, last * outputs, 0)
        return Table(
            "tucker2",
            np.stack([first.ravel(), last.ravel()], axis=1),
            (places.given * before + places.made * (middle + after)).ravel(),
            (before + middle + after).ravel(),
            factors.kept_by_ranks(subject.weighted)[first, last].ravel(),
        )

    def parts(self, subject: Subject, ranks: tuple[int, ...]) -> tuple[Part, ...]:
        """Give up to three convolutions; strides, padding and dilation are those of the middle one."""
        inputs, outputs = subject.kernel.shape[-2:]
        off_inputs, off_outputs = subject.weighting.off_inputs, subject.weighting.off_outputs
        first, core, last = factors.tucker2(subject.weighted, (ranks[0], ranks[1]))
        if ranks[0] == inputs:
            core = off_inputs(core)
        if ranks[1] == outputs:
            core = off_outputs(core)
        first, last = off_inputs(first), off_outputs(last)
        dimensions = CONVOLUTIONS[subject.layer.kind]
        ones, single = (1,) * dimensions, one_position(dimensions)
        chain = []
        if ranks[0] < inputs:
            chain.append(Part("reduce", {**single, "filters": ranks[0]}, first.reshape(*ones, *first.shape)))
        if ranks[1] == outputs:
            return (*chain, Part("", {}, core))
        chain.append(Part("core", {"filters": ranks[1]}, core))
        return (*chain, Part("", single, last.reshape(*ones, *last.shape)))


class SpatialSvd:
    """A convolution that looks up and down before one that looks left and right."""

    def table(self, subject: Subject, multiple: int) -> Table | None:
        """Give the products of the two convolutions for each rank."""
        if subject.layer.kind != "Conv2D" or min(subject.kernel.shape[:2]) == 1:
            return None
        matrix, places = factors.as_spatial_matrix(subject.weighted), subject.places
        ranks = allowed_ranks(min(matrix.shape), multiple)
        down, across = matrix.shape
        kept = factors.kept_by_rank(matrix)[ranks]
        macs = ranks * (places.between * down + places.made * across)
        return Table("spatial_svd", ranks[:, None], macs, ranks * (down + across), kept)

    def parts(self, subject: Subject, ranks: tuple[int, ...]) -> tuple[Part, ...]:
        """Give two convolutions; strides and dilation of each axis go where that axis is looked along."""
        (rank,) = ranks
        vertical, horizontal = factors.split_spatially(subject.weighted, rank)
        vertical = subject.weighting.off_inputs(vertical)
        horizontal = subject.weighting.off_outputs(horizontal)
        sizes = {
            name: tuple(subject.layer.config[name]) for name in ("kernel_size", "strides", "dilation_rate")
        }
        down = {name: (size[0], 1) for name, size in sizes.items()}
        across = {name: (1, size[1]) for name, size in sizes.items()}
        return Part("vertical", {**down, "filters": rank}, vertical), Part("", across, horizontal)


WAYS: Mapping[str, Way] = {"svd": Svd(), "tucker2": Tucker2(), "spatial_svd": SpatialSvd()}
