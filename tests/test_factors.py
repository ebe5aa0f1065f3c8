"""Products of low rank against numpy's own singular values and einsum."""

from __future__ import annotations

import numpy as np
import pytest

from slimedge.compress.low_rank.factors import (
    as_spatial_matrix,
    kept_by_rank,
    kept_by_ranks,
    split_matrix,
    split_spatially,
    tucker2,
)


def random(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape)


def tail(matrix, rank):
    """The squared singular values that a rank leaves out (Eckart and Young, 1936)."""
    return np.square(np.linalg.svd(matrix, compute_uv=False)[rank:]).sum()


@pytest.mark.parametrize("shape", [(12, 7), (7, 12), (9, 9), (1, 5)])
def test_the_error_of_a_split_matrix_is_the_tail_of_its_singular_values(shape):
    matrix = random(*shape)
    for rank in range(1, min(shape) + 1):
        first, last = split_matrix(matrix, rank)
        assert first.shape == (shape[0], rank)
        assert last.shape == (rank, shape[1])
        assert np.square(matrix - first @ last).sum() == pytest.approx(tail(matrix, rank), abs=1e-10)


def test_both_factors_of_a_matrix_have_the_same_norm():
    first, last = split_matrix(random(12, 7), 5)
    np.testing.assert_allclose(np.linalg.norm(first, axis=0), np.linalg.norm(last, axis=1))


@pytest.mark.parametrize("shape", [(12, 7), (7, 12)])
def test_what_a_rank_keeps_is_its_share_of_squared_singular_values(shape):
    matrix = random(*shape)
    squares = np.square(np.linalg.svd(matrix, compute_uv=False))
    expected = [squares[:rank].sum() / squares.sum() for rank in range(8)]
    np.testing.assert_allclose(kept_by_rank(matrix), expected, atol=1e-12)


def composed(first, core, last):
    return np.einsum("ia,...ab,bo->...io", first, core, last)


@pytest.mark.parametrize("shape", [(3, 3, 6, 8), (5, 6, 4), (3, 2, 2, 4, 5)])
def test_a_kernel_of_full_ranks_is_the_same(shape):
    kernel = random(*shape)
    first, core, last = tucker2(kernel, shape[-2:])
    np.testing.assert_array_equal(first, np.eye(shape[-2]))
    np.testing.assert_array_equal(last, np.eye(shape[-1]))
    np.testing.assert_allclose(core, kernel, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_with_all_inputs_a_kernel_is_split_as_the_matrix_of_its_outputs(rank):
    kernel = random(3, 3, 6, 8)
    error = np.square(kernel - composed(*tucker2(kernel, (6, rank)))).sum()
    assert error == pytest.approx(tail(kernel.reshape(-1, 8), rank))


def test_what_two_ranks_keep_is_what_their_bases_keep():
    kernel = random(3, 3, 6, 8)
    kept = kept_by_ranks(kernel)
    unfolded = np.moveaxis(kernel, 2, 0).reshape(6, -1)
    inputs = np.linalg.svd(unfolded, full_matrices=False)[0][:, :4]
    outputs = np.linalg.svd(kernel.reshape(-1, 8), full_matrices=False)[2][:5].T
    projected = np.einsum("yxio,ia,ob->yxab", kernel, inputs, outputs)
    assert kept.shape == (7, 9)
    assert kept[4, 5] == pytest.approx(np.square(projected).sum() / np.square(kernel).sum())
    assert kept[6, 8] == 1
    assert np.all(np.diff(kept, axis=0) >= 0)
    assert np.all(np.diff(kept, axis=1) >= 0)


@pytest.mark.parametrize("ranks", [(2, 2), (3, 5), (5, 7)])
def test_sweeps_keep_at_least_as_much_as_the_first_guess(ranks):
    kernel = random(3, 3, 6, 8)
    first, core, last = tucker2(kernel, ranks)
    kept = 1 - np.square(kernel - composed(first, core, last)).sum() / np.square(kernel).sum()
    assert kept >= kept_by_ranks(kernel)[ranks] - 1e-12
    np.testing.assert_allclose(first.T @ first, np.eye(ranks[0]), atol=1e-12)


def test_a_kernel_made_of_factors_is_found_again():
    made = composed(random(6, 2), random(3, 3, 2, 3), random(3, 8))
    np.testing.assert_allclose(composed(*tucker2(made, (2, 3))), made, atol=1e-10)
    assert kept_by_ranks(made)[2, 3] == pytest.approx(1)


@pytest.mark.parametrize("rank", [1, 4, 12])
def test_a_kernel_is_split_into_one_up_and_down_and_one_left_and_right(rank):
    kernel = random(3, 5, 4, 6)
    vertical, horizontal = split_spatially(kernel, rank)
    assert vertical.shape == (3, 1, 4, rank)
    assert horizontal.shape == (1, 5, rank, 6)
    made = np.einsum("yir,xro->yxio", vertical[:, 0], horizontal[0])
    assert np.square(kernel - made).sum() == pytest.approx(tail(as_spatial_matrix(kernel), rank), abs=1e-10)


def test_a_kernel_of_zeros_loses_nothing():
    assert kept_by_rank(np.zeros((3, 4))).tolist() == [1, 1, 1, 1]
    assert kept_by_ranks(np.zeros((3, 2, 2))).tolist() == [[1] * 3] * 3
    first, last = split_matrix(np.zeros((3, 4)), 2)
    assert np.all(first @ last == 0)
