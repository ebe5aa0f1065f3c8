"""How the low-rank measurement scores a changed net."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from slimedge.benchmarks.low_rank import change, scored
from slimedge.benchmarks.reporting.low_rank import SHOWN, lines

GENERATOR = np.random.default_rng(0)


def test_a_classifier_is_scored_by_right_answers():
    wanted = np.array([0, 1, 2, 1])
    before = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    after = np.eye(3, dtype=np.float32)[[0, 2, 0, 0]]
    assert (scored("resnet8", before, wanted), scored("resnet8", after, wanted)) == (0.75, 0.25)
    found = change("resnet8", before, after, wanted)
    assert found.value == -0.5
    assert found.low < -0.5 < found.high


def test_an_autoencoder_is_scored_by_its_error_paired_over_pictures():
    wanted = GENERATOR.random((400, 4, 4, 1))
    before, after = (
        (wanted + GENERATOR.normal(0, spread, wanted.shape)).astype(np.float32) for spread in (0.2, 0.1)
    )
    found = change("dense_autoencoder", before, after, wanted)
    errors = [np.square(one - wanted).mean(axis=(1, 2, 3)) for one in (before, after)]
    expected = stats.ttest_rel(*errors).confidence_interval(0.95)
    assert found.value == pytest.approx(0.03, abs=0.003)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-2)


def test_many_layers_are_not_all_listed():
    told = {"way": "tucker2", "ranks": [4, 8], "kept_energy": 0.5, "macs_before": 2000, "macs_after": 900}
    text = lines({"layers": {f"conv{n}": told for n in range(SHOWN + 3)}, "left": {}})
    assert text[1] == "  conv0: tucker2, ranks 4, 8, keeps 50.00 %, MACs 2.00 k to 900"
    assert text[-1] == "  … and 3 more"
