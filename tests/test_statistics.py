from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from slimedge.benchmarks.statistics import (
    geometric_mean,
    latency,
    mcnemar,
    paired_difference,
    speedup,
    student_quantile,
    unpaired_difference,
    wilson,
)


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 50), (50, 50), (7, 10), (9136, 10_000)])
def test_wilson_is_scipys(successes, n):
    expected = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0.0 <= wilson(successes, n)[0] <= wilson(successes, n)[1] <= 1.0


@pytest.mark.parametrize(
    ("gained", "lost"), [(0, 0), (1, 0), (2, 10), (5, 5), (40, 60), (3000, 3200), (90_000, 90_500)]
)
def test_mcnemar_is_a_binomial_test_of_the_discordant_pairs(gained, lost):
    expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(expected, rel=1e-6)
    assert mcnemar(gained, lost) == mcnemar(lost, gained)


def likeliest_score(difference, gained, lost, n):
    """Tango's score with the nuisance parameter found by maximizing the likelihood, not by his formula."""

    def minus_log_likelihood(q):
        p = q + difference
        parts = ((gained, p), (lost, q), (n - gained - lost, 1 - p - q))
        return -sum(count * math.log(max(share, 1e-300)) for count, share in parts if count)

    low, high = max(0.0, -difference), (1 - difference) / 2
    q = optimize.minimize_scalar(
        minus_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-13}
    ).x
    return (gained - lost - n * difference) / math.sqrt(n * (2 * q + difference * (1 - difference)))


@pytest.mark.parametrize(
    ("gained", "lost", "n"), [(12, 17, 10_000), (0, 5, 40), (9, 2, 30), (0, 0, 25), (300, 260, 2000)]
)
def test_the_bounds_of_a_paired_difference_are_where_the_score_is_a_normal_quantile(gained, lost, n):
    low, high = paired_difference(gained, lost, n)
    z = stats.norm.ppf(0.975)
    assert likeliest_score(low, gained, lost, n) == pytest.approx(z, abs=2e-3)
    assert likeliest_score(high, gained, lost, n) == pytest.approx(-z, abs=2e-3)
    assert low < (gained - lost) / n < high


def test_a_paired_difference_without_a_discordant_pair_is_bounded_in_closed_form():
    # With no discordant pair the score's square is n·d / (1 - d), so that the bound is z² / (n + z²).
    n, z2 = 100, stats.norm.ppf(0.975) ** 2
    assert paired_difference(0, 0, n) == pytest.approx((-z2 / (n + z2), z2 / (n + z2)), abs=1e-9)


def test_a_paired_difference_changes_sign_with_the_models():
    low, high = paired_difference(9, 2, 30)
    assert paired_difference(2, 9, 30) == pytest.approx((-high, -low))


def test_a_paired_difference_stays_inside_of_minus_one_and_one():
    assert paired_difference(20, 0, 20)[1] == 1.0
    assert paired_difference(0, 20, 20)[0] == -1.0


def test_a_paired_difference_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    draws = generator.multinomial(200, (0.04, 0.07, 0.89), 1000)
    covered = [
        low <= -0.03 <= high
        for low, high in (paired_difference(int(gained), int(lost), 200) for gained, lost, _ in draws)
    ]
    assert 0.93 <= np.mean(covered) <= 0.97


@pytest.mark.parametrize(
    ("second", "first", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_the_interval_of_an_unpaired_difference_is_that_of_newcombes_table(second, first, low, high):
    """Newcombe (1998), table II, the row of method 10."""
    assert unpaired_difference(first, second) == pytest.approx((low, high), abs=5e-5)
    assert unpaired_difference(second, first) == pytest.approx((-high, -low), abs=5e-5)


def test_an_unpaired_difference_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    draws = zip(generator.binomial(200, 0.9, 1000), generator.binomial(300, 0.85, 1000), strict=True)
    bounds = [unpaired_difference((int(first), 200), (int(second), 300)) for first, second in draws]
    assert 0.93 <= np.mean([low <= -0.05 <= high for low, high in bounds]) <= 0.97


def test_latency_gives_numpys_quantiles_and_the_99th_percentile_only_of_a_thousand_samples():
    samples = np.random.default_rng(0).lognormal(-9, 0.3, 1000)
    found = latency(samples)
    assert (found.p50, found.p90, found.p99, found.n) == (*np.percentile(samples, (50, 90, 99)), 1000)
    assert latency(samples[:999]).p99 is None


def test_the_geometric_mean_of_two_and_a_half_is_one():
    assert geometric_mean([2.0, 0.5]) == pytest.approx(1.0)
    assert geometric_mean([1.3, 2.7, 0.9]) == pytest.approx(stats.gmean([1.3, 2.7, 0.9]))


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 6, 17, 35, 100])
@pytest.mark.parametrize("probability", [0.75, 0.975, 0.995])
def test_students_quantile_is_scipys(probability, degrees):
    assert student_quantile(probability, degrees) == pytest.approx(
        stats.t.ppf(probability, degrees), rel=1e-9
    )


def test_a_speedup_is_the_ratio_of_medians():
    found = speedup(np.full((4, 6), 3e-3), np.full((4, 6), 2e-3))
    assert (found.value, found.low, found.high) == pytest.approx((1.5, 1.5, 1.5))


def test_drift_that_both_share_cancels_out_of_a_speedup():
    drift = np.exp(np.random.default_rng(0).normal(0, 0.5, (6, 8)))
    found = speedup(2e-3 * drift, 1e-3 * drift)
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))


def test_a_minority_of_disturbed_rounds_leaves_a_speedup_alone():
    baseline, variant = np.full((6, 9), 1e-3), np.full((6, 9), 1e-3)
    variant[:, ::3] *= 40
    assert speedup(baseline, variant).value == pytest.approx(1.0)


def test_the_interval_of_a_speedup_knows_that_launches_differ():
    """Many equal rounds do not make up for few launches: what a launch adds does not average out within it."""
    generator = np.random.default_rng(0)
    by_launch = np.exp(generator.normal(0, 0.02, (5, 1)) + np.zeros((5, 400)))
    found = speedup(by_launch, np.ones((5, 400)))
    logs = np.log(by_launch[:, 0])
    half = stats.t.ppf(0.975, 4) * logs.std(ddof=1) / math.sqrt(5)
    assert math.log(found.high / found.low) / 2 == pytest.approx(half, rel=0.15)


@pytest.mark.parametrize("launches", [3, 6, 12])
def test_the_interval_of_a_speedup_holds_its_level_with_few_launches(launches):
    generator = np.random.default_rng(launches)
    missed = 0
    for trial in range(300):
        logs = generator.normal(0, 0.01, (launches, 1)) + generator.normal(0, 0.01, (launches, 8))
        found = speedup(np.exp(logs), np.ones((launches, 8)), resamples=2000, seed=trial)
        missed += not found.low <= 1 <= found.high
    assert missed / 300 <= 0.05


def test_a_speedup_is_the_same_every_time():
    generator = np.random.default_rng(0)
    baseline, variant = generator.lognormal(0, 0.1, (2, 4, 5))
    assert speedup(baseline, variant) == speedup(baseline, variant)
