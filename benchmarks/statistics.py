"""The statistics behind every figure with an interval; pure functions of numpy arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from slimedge.comparison import Latency, Speedup

CONFIDENCE = 0.95
LEAST_FOR_P99 = 1000  # under it, the 99th percentile rests on fewer than ten samples
_RESAMPLES = 10_000


def wilson(successes: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Give the score interval of a share.

    (p + z²/2n ± z·√(p(1-p)/n + z²/4n²)) / (1 + z²/n)

    Args:
        successes: 0…n.
        n: at least 1.
        confidence: of the interval.

    Returns:
        Lower and upper bound in 0…1.

    Example:
        >>> [round(bound, 4) for bound in wilson(9136, 10_000)]
        [0.9079, 0.9189]

    Reference:
        Wilson (1927), "Probable Inference, the Law of Succession, and Statistical Inference".
    """
    z = _normal_quantile(confidence)
    share = successes / n
    center = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At 0 and n the bound is exact, which rounding would miss by 1e-17.
    low = 0.0 if successes == 0 else (center - half) / scale
    high = 1.0 if successes == n else (center + half) / scale
    return low, high


def mcnemar(gained: int, lost: int) -> float:
    """Give the exact two-sided p-value of McNemar's test.

    Of the examples on which two models differ, each is a coin's toss if neither is better.

    Args:
        gained: examples that only the second model gets right.
        lost: examples that only the first one gets right.

    Returns:
        2·P(X ≤ min(gained, lost)) for X ~ Binomial(gained + lost, ½), at most 1.

    Example:
        >>> round(mcnemar(2, 10), 6)
        0.038574

    Reference:
        McNemar (1947), "Note on the sampling error of the difference between correlated proportions or percentages".
    """
    n = gained + lost
    logs = [_log_choose(n, k) - n * math.log(2) for k in range(min(gained, lost) + 1)]
    top = max(logs)
    tail = math.exp(top) * math.fsum(math.exp(value - top) for value in logs)
    return min(1.0, 2 * tail)


def paired_difference(gained: int, lost: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Give the score interval of the difference of two shares that were found on the same examples.

    The bounds are the differences d where |(gained - lost - n·d) / √(n·(2q + d·(1 - d)))| is the normal quantile;
    q is the likeliest probability of a lost example if the difference is d. Unlike Wald's interval it holds its level
    for few discordant pairs and stays within -1…1.

    Args:
        gained: examples that only the second model gets right.
        lost: examples that only the first one gets right.
        n: examples, all of them.
        confidence: of the interval.

    Returns:
        Lower and upper bound of second minus first, in -1…1.

    Example:
        >>> [round(bound, 4) for bound in paired_difference(gained=12, lost=17, n=10_000)]
        [-0.0017, 0.0006]

    Reference:
        Tango (1998), "Equivalence test and confidence interval for the difference in proportions for the paired-sample
        design".
    """
    z = _normal_quantile(confidence)
    observed = (gained - lost) / n

    def score(difference: float) -> float:
        b = -gained - lost + (2 * n - gained + lost) * difference
        c = -lost * difference * (1 - difference)
        q = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
        variance = n * (2 * q + difference * (1 - difference))
        distance = gained - lost - n * difference
        return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)

    low = -1.0 if observed == -1 else _root(lambda d: score(d) - z, -1.0, observed)
    high = 1.0 if observed == 1 else _root(lambda d: score(d) + z, observed, 1.0)
    return low, high


def difference(
    first: tuple[float, float, float], second: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Give second minus first of two independent figures with an interval made of theirs, by square-and-add.

    v₂ - v₁ - √((v₂ - l₂)² + (u₁ - v₁)²) to v₂ - v₁ + √((u₂ - v₂)² + (v₁ - l₁)²)

    Args:
        first: value, lower and upper bound.
        second: likewise, at the same confidence.

    Returns:
        Value, lower and upper bound.

    Reference:
        Zou and Donner (2008), "Construction of confidence limits about effect measures: A general approach".
    """
    (value, low, high), (other, other_low, other_high) = first, second
    change = other - value
    below = math.hypot(other - other_low, high - value)
    above = math.hypot(other_high - other, value - low)
    return change, change - below, change + above


def unpaired_difference(
    first: tuple[int, int], second: tuple[int, int], confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Give the interval of the difference of two shares that were found on different examples.

    Wilson's intervals of both, joined by square-and-add.

    Args:
        first: successes and examples, at least one.
        second: likewise.
        confidence: of the interval.

    Returns:
        Lower and upper bound of second minus first, in -1…1.

    Example:
        >>> [round(bound, 4) for bound in unpaired_difference((48, 80), (56, 70))]
        [0.0524, 0.3339]

    Reference:
        Newcombe (1998), "Interval estimation for the difference between independent proportions: comparison of eleven
        methods", method 10.
    """
    shares = [(successes / n, *wilson(successes, n, confidence)) for successes, n in (first, second)]
    _, low, high = difference(shares[0], shares[1])
    return low, high


def latency(samples_s: Sequence[float] | NDArray[np.float64]) -> Latency:
    """Give the quantiles of all samples; the 99th percentile only where there are enough."""
    p50, p90, p99 = (float(value) for value in np.quantile(np.asarray(samples_s, float), (0.5, 0.9, 0.99)))
    return Latency(p50, p90, p99 if len(samples_s) >= LEAST_FOR_P99 else None, len(samples_s))


def midmean(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Give the mean of the middle half of the values: outliers do not count, as for the median, and steps average out.

    Args:
        values: at least one; of fewer than four, all count.

    Example:
        >>> midmean([3.0, 4.0, 4.0, 900.0])
        4.0

    Reference:
        Tukey (1977), "Exploratory Data Analysis", calls it so; it is the mean trimmed by a quarter at each end.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    quarter = len(ordered) // 4
    return float(ordered[quarter : len(ordered) - quarter].mean())


def geometric_mean(ratios: Sequence[float] | NDArray[np.float64]) -> float:
    """Give the mean that suits ratios: that of 2 and ½ is 1."""
    return float(np.exp(np.mean(np.log(np.asarray(ratios, float)))))


def speedup(
    baseline_s: NDArray[np.float64],
    variant_s: NDArray[np.float64],
    *,
    confidence: float = CONFIDENCE,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> Speedup:
    """Give the ratio of median latencies with a bootstrap interval that knows how the samples came about.

    In every launch (a fresh process each) and round (a turn each, one after the other) there is a median for the
    baseline and one for the variant, whose ratio the machine's drift has cancelled out of. A launch's ratio is the
    median over its rounds, so that a disturbed minority of rounds does not count; the speedup is the geometric mean
    over the launches.

    Two processes that run the same file differ, by where their memory happened to lie. So launches are what varies:
    the bootstrap draws launches, and within each of them rounds. With n launches, percentiles alone are too narrow by
    about √((n-1)/n) and a normal in place of Student's t quantile; they are taken at the level that makes up for both
    (Hesterberg's expanded percentile interval).

    Args:
        baseline_s: (launches, rounds) medians of the baseline in seconds, at least two launches.
        variant_s: (launches, rounds) medians of the variant in the same launches and rounds.
        confidence: of the interval.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        The speedup, over 1 where the variant is faster.

    Reference:
        Hesterberg (2015), "What Teachers Should Know About the Bootstrap", section 5.2; Kalibera and Jones (2013),
        "Rigorous Benchmarking in Reasonable Time", for the levels.
    """
    ratios = np.log(baseline_s) - np.log(variant_s)
    launches, rounds = ratios.shape
    generator = np.random.default_rng(seed)
    chosen = generator.integers(launches, size=(resamples, launches, 1))
    turns = generator.integers(rounds, size=(resamples, launches, rounds))
    means = np.median(ratios[chosen, turns], axis=2).mean(axis=1)
    expanded = math.sqrt(launches / (launches - 1)) * student_quantile((1 + confidence) / 2, launches - 1)
    level = NormalDist().cdf(-expanded)
    value = float(np.median(ratios, axis=1).mean())
    low, high = np.quantile(means, (level, 1 - level))
    return Speedup(math.exp(value), math.exp(min(low, value)), math.exp(max(high, value)))


def student_quantile(probability: float, degrees: int) -> float:
    """Give the quantile of Student's t distribution for a probability over ½.

    Reference:
        Abramowitz and Stegun (1964), "Handbook of Mathematical Functions", 26.7.3 and 26.7.4.
    """

    def excess(t: float) -> float:
        angle = math.atan(t / math.sqrt(degrees))
        cos, sin = math.cos(angle), math.sin(angle)
        if degrees % 2:
            terms, factor = (0.0, cos) if degrees > 1 else (0.0, 0.0)
            for k in range(3, degrees + 1, 2):
                terms += factor
                factor *= cos * cos * (k - 1) / k
            within = 2 / math.pi * (angle + sin * terms)
        else:
            terms, factor = 0.0, 1.0
            for k in range(2, degrees + 1, 2):
                terms += factor
                factor *= cos * cos * (k - 1) / k
            within = sin * terms
        return probability - (1 + within) / 2

    top = 1.0
    while excess(top) > 0:
        top *= 2
    return _root(excess, 0.0, top)


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Find where a falling function crosses zero, by halving."""
    for _ in range(200):
        middle = (low + high) / 2
        if middle in {low, high}:
            break
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _normal_quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
