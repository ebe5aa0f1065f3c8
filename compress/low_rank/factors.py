"""Matrices and kernels as products of smaller ones, and what each rank keeps of them.

What a rank keeps is its share of the squared norm, 1 - |W - W'|² / |W|²: for a matrix that of its squared singular
values (Eckart and Young, 1936). Bases are eigenvectors of Gram matrices of the smaller side, in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Sweeps of `tucker2` beyond the first guess; the error hardly falls after two.
SWEEPS = 3


def kept_by_rank(matrix: NDArray[Any]) -> Array:
    """Give the share of a matrix that each rank keeps.

    Args:
        matrix: (rows, columns).

    Returns:
        (min(rows, columns) + 1,), rising from 0 for rank 0 to 1 for the full one.

    Example:
        >>> kept_by_rank(np.diag([3.0, 1.0])).tolist()
        [0.0, 0.9, 1.0]
    """
    exact = np.asarray(matrix, np.float64)
    smaller = exact if exact.shape[0] <= exact.shape[1] else exact.T
    squares = np.maximum(np.linalg.eigvalsh(smaller @ smaller.T)[::-1], 0.0)
    return _shares(np.concatenate([[0.0], np.cumsum(squares)]))


def split_matrix(matrix: NDArray[Any], rank: int) -> tuple[Array, Array]:
    """Give the nearest product of two matrices, U_r √S_r and √S_r V_rᵀ of the singular value decomposition.

    Args:
        matrix: (rows, columns).
        rank: 1 to min(rows, columns).

    Returns:
        (rows, rank) and (rank, columns), each with the roots of the singular values: both then train alike.
    """
    exact = np.asarray(matrix, np.float64)
    if exact.shape[0] < exact.shape[1]:
        last, first = split_matrix(exact.T, rank)
        return first.T, last.T
    basis = leading(exact.T @ exact, rank)
    projected = exact @ basis
    values = np.linalg.norm(projected, axis=0)
    roots = np.sqrt(np.where(values > 0, values, 1.0))
    return projected / roots, roots[:, None] * basis.T


def kept_by_ranks(kernel: NDArray[Any]) -> Array:
    """Give the share of a convolution's kernel that each pair of ranks keeps, before `tucker2` sweeps.

    The bases of the higher-order singular value decomposition (De Lathauwer et al., 2000) are orthonormal and nested,
    so the share is that of a corner of the full core.

    Args:
        kernel: (…, inputs, outputs).

    Returns:
        (inputs + 1, outputs + 1), rising along both axes to 1.
    """
    flat = _flat(kernel)
    first, last = (leading(_gram(flat, axis), flat.shape[axis]) for axis in (1, 2))
    squares = np.square(_projected(flat, first, last)).sum(axis=0)
    return _shares(np.pad(squares.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0))))


def tucker2(kernel: NDArray[Any], ranks: tuple[int, int]) -> tuple[Array, Array, Array]:
    """Give a convolution's kernel as a small one between two matrices (Kim et al., 2016, "Compression of deep CNNs …").

        K'[…, i, o] = Σ_ab first[i, a] · core[…, a, b] · last[b, o]

    The bases start as those of the higher-order singular value decomposition, and are improved in turn (De Lathauwer et
    al., 2000, higher-order orthogonal iteration). With a full rank, its matrix is the identity.

    Args:
        kernel: (…, inputs, outputs).
        ranks: of inputs and outputs, 1 to their number each.

    Returns:
        (inputs, ranks[0]), (…, *ranks) and (ranks[1], outputs).
    """
    flat = _flat(kernel)
    _, inputs, outputs = flat.shape
    first = np.eye(inputs) if ranks[0] == inputs else leading(_gram(flat, 1), ranks[0])
    last = np.eye(outputs) if ranks[1] == outputs else leading(_gram(flat, 2), ranks[1])
    if ranks[0] < inputs and ranks[1] < outputs:
        for _ in range(SWEEPS):
            first = leading(_gram(flat @ last, 1), ranks[0])
            last = leading(_gram(first.T @ flat, 2), ranks[1])
    core = _projected(flat, first, last)
    return first, core.reshape(*np.shape(kernel)[:-2], *ranks), last.T


def as_spatial_matrix(kernel: NDArray[Any]) -> NDArray[Any]:
    """Lay a kernel (height, width, inputs, outputs) out as a matrix (height · inputs, width · outputs)."""
    height, width, inputs, outputs = kernel.shape
    return np.transpose(kernel, (0, 2, 1, 3)).reshape(height * inputs, width * outputs)


def split_spatially(kernel: NDArray[Any], rank: int) -> tuple[Array, Array]:
    """Give a kernel as one that looks up and down and one that looks left and right.

        K'[y, x, i, o] = Σ_r vertical[y, 0, i, r] · horizontal[0, x, r, o]

    The nearest ones are those of a singular value decomposition (Jaderberg et al., 2014, "Speeding up convolutional
    neural networks with low rank expansions", scheme 2; Tai et al., 2016, theorem 1).

    Args:
        kernel: (height, width, inputs, outputs).
        rank: 1 to min(height · inputs, width · outputs).

    Returns:
        (height, 1, inputs, rank) and (1, width, rank, outputs).
    """
    height, width, inputs, outputs = kernel.shape
    down, across = split_matrix(as_spatial_matrix(kernel), rank)
    vertical = down.reshape(height, 1, inputs, rank)
    horizontal = across.reshape(rank, width, outputs).transpose(1, 0, 2)[None]
    return vertical, horizontal


def leading(gram: Array, count: int) -> Array:
    """Give the eigenvectors of a symmetric matrix with the largest eigenvalues, as columns, the largest first."""
    return np.asarray(np.linalg.eigh(gram)[1][:, ::-1][:, :count], np.float64)


def _flat(kernel: NDArray[Any]) -> Array:
    """A kernel with all its positions along one axis."""
    return np.asarray(kernel, np.float64).reshape(-1, *np.shape(kernel)[-2:])


def _gram(flat: Array, axis: int) -> Array:
    unfolded = np.moveaxis(flat, axis, 0).reshape(flat.shape[axis], -1)
    return np.asarray(unfolded @ unfolded.T, np.float64)


def _projected(flat: Array, first: Array, last: Array) -> Array:
    return np.asarray(first.T @ flat @ last, np.float64)


def _shares(sums: Array) -> Array:
    """Sums as shares of the last; a kernel of zeros loses nothing whatever its rank."""
    total = float(sums.flat[-1])
    return np.minimum(sums / total, 1.0) if total > 0 else np.ones_like(sums)
