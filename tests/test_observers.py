"""Each observer against numpy, a closed form, or brute force on the whole stream."""

from __future__ import annotations

import math

import numpy as np
import pytest

from slimedge.compress.observers import Observer, maker
from slimedge.compress.observers import histogram as histograms
from slimedge.compress.observers.entropy import Entropy
from slimedge.compress.observers.histogram import OCTAVE_BINS, OCTAVES, Bins, Histogram
from slimedge.compress.observers.minmax import MinMax
from slimedge.compress.observers.moving_average import MovingAverage
from slimedge.compress.observers.mse import Mse, Tails, rounding_error
from slimedge.compress.observers.percentile import Percentile
from slimedge.errors import InputError
from slimedge.fake_quant import affine_grid

GENERATOR = np.random.default_rng(11)
LAPLACE = GENERATOR.laplace(size=(4000, 25)).astype(np.float32)
KINDS = {
    "laplace": LAPLACE,
    "relu of laplace": np.maximum(LAPLACE, 0),
    "negative": -np.abs(LAPLACE),
    "normal": GENERATOR.normal(size=(4000, 25)).astype(np.float32),
    "student": GENERATOR.standard_t(4, (4000, 25)).astype(np.float32),
    "shifted": (LAPLACE + 1.5),
}


def seen(observer: Observer, values: np.ndarray) -> tuple[float, float]:
    for batch in np.array_split(values, 13):
        observer.update(batch)
    return observer.range()


def squared_error(values: np.ndarray, low: float, high: float, bits: int) -> float:
    """Of fake-quantizing to the affine grid of a range."""
    scale, zero_point = affine_grid(low, high, bits)
    integers = np.clip(np.rint(values / scale) + zero_point, 0, 2**bits - 1)
    return float(np.mean((values - (integers - zero_point) * scale) ** 2, dtype=np.float64))


def test_min_max_is_numpys() -> None:
    assert seen(MinMax(), LAPLACE) == (LAPLACE.min(), LAPLACE.max())


def test_the_moving_average_has_its_closed_form() -> None:
    highs = [1.0, 3.0, 2.0, 8.0]
    terms = np.repeat(np.float32(highs), 64)[:-30]  # the last term has fewer examples
    weights = [0.75**3, 0.25 * 0.75**2, 0.25 * 0.75, 0.25]
    expected = float(np.dot(weights, highs))
    found = seen(MovingAverage(momentum=0.75), np.stack([-terms, terms], axis=1))
    assert found == pytest.approx((-expected, expected))


@pytest.mark.parametrize("percentile", [50, 90, 99.0, 99.9, 99.99, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_the_percentile_is_numpys_to_one_bin(kind: str, percentile: float) -> None:
    values = KINDS[kind]
    share = percentile / 100
    expected = [
        [np.quantile(values, end, method=method) for method in ("lower", "higher")]
        for end in ((1 - share) / 2, (1 + share) / 2)
    ]
    smallest = np.abs(values).max() * 2.0**-OCTAVES
    for end, (below, above) in zip(seen(Percentile(8, percentile), values), expected, strict=True):
        assert (
            below - abs(below) / OCTAVE_BINS - smallest <= end <= above + abs(above) / OCTAVE_BINS + smallest
        )


def test_bins_are_numpys_histogram() -> None:
    values = np.append(KINDS["student"], np.float32([[0.0] * 25, [1e-9] * 25]), axis=0)
    histogram = Histogram()
    for batch in np.array_split(values, 7):
        histogram.update(batch)
    bins = histogram.bins()
    top = math.frexp(np.abs(values).max())[1]
    side = [
        math.ldexp(1 + step / OCTAVE_BINS, octave)
        for octave in range(top - OCTAVES, top)
        for step in range(OCTAVE_BINS)
    ]
    edges = np.array([*side, 2.0**top])
    expected, _ = np.histogram(values[values > 0], edges)
    np.testing.assert_array_equal(bins.counts[bins.lower > 0], expected[expected > 0])
    np.testing.assert_array_equal(bins.lower[bins.lower > 0], edges[:-1][expected > 0])
    expected, _ = np.histogram(-values[values < 0], edges)
    np.testing.assert_array_equal(bins.counts[bins.upper < 0][::-1], expected[expected > 0])
    np.testing.assert_array_equal(bins.upper[bins.upper < 0][::-1], -edges[:-1][expected > 0])
    (zero,) = np.flatnonzero(bins.lower == bins.upper)
    assert bins.counts[zero] == np.sum(np.abs(values) < edges[0])
    assert bins.total == values.size


def test_merged_bins_hold_the_same() -> None:
    histogram = Histogram()
    histogram.update(LAPLACE)
    fine, coarse = histogram.bins(), histogram.bins(64)
    inside = np.searchsorted(coarse.lower, fine.centers, side="right") - 1
    np.testing.assert_array_equal(np.bincount(inside, weights=fine.counts), coarse.counts)
    assert len(coarse.counts) < len(fine.counts) / 16


def test_a_histogram_does_not_tell_how_its_numbers_came() -> None:
    growing = KINDS["student"].ravel()[np.argsort(np.abs(KINDS["student"]).ravel())]
    found = []
    for order in (growing, growing[::-1]):
        histogram = Histogram()
        for batch in np.array_split(order, 31):
            histogram.update(batch)
        found.append(histogram.bins())
    for field in ("lower", "upper", "counts"):
        np.testing.assert_array_equal(getattr(found[0], field), getattr(found[1], field))


def test_fewer_values_of_an_example_count_for_the_others_after_the_first_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size = LAPLACE.shape[1]
    monkeypatch.setattr(histograms, "COUNTED_ALL", 10 * size)
    values = LAPLACE[:90].copy()
    values[11, 1] = 1e5  # not one of those that count, and an end all the same
    thinned, expected = Histogram(), Histogram()
    for batch in np.array_split(values, 17):
        thinned.update(batch)
    monkeypatch.undo()
    for index, row in enumerate(values):
        step = 1 if index < 10 else 4 if index < 40 else 16
        for _ in range(step):
            expected.update(row[None, -index * size % step :: step])
    assert (thinned.low, thinned.high) == (values.min(), values.max())
    found, other = thinned.bins(), expected.bins()
    np.testing.assert_array_equal(found.lower, other.lower)
    np.testing.assert_array_equal(found.counts, other.counts)
    assert found.total == pytest.approx(values.size, rel=0.01)


@pytest.mark.parametrize("size", [16, 17, 34, 36, 37])
def test_each_place_in_an_example_counts_as_often_as_the_others(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histograms, "COUNTED_ALL", 1)
    row = np.float32(1.01) ** np.arange(size, dtype=np.float32)
    histogram = Histogram()
    histogram.update(np.tile(row, (4000, 1)))
    counts = histogram.bins().counts
    assert len(counts) == size
    assert counts == pytest.approx(np.full(size, 4000), abs=40)


def test_an_outlier_costs_the_others_no_place() -> None:
    histogram = Histogram()
    histogram.update(LAPLACE)
    before = histogram.bins()
    histogram.update(np.float32([1e4]))
    after = histogram.bins()
    kept = np.abs(before.centers) > 2.0**-9
    assert kept.sum() > 5000
    assert np.isin(before.lower[kept], after.lower).all()


@pytest.mark.parametrize("scale", [1e-3, 0.04, 0.7, 5.0])
def test_the_rounding_error_of_a_bin_is_that_of_evenly_spread_values(scale: float) -> None:
    lower = np.array([-3.0, -0.02, 0.0, 0.3, 1.0, 100.0])
    upper = np.array([-2.9, -0.01, 0.0, 0.31, 1.001, 107.0])
    spread = lower[:, None] + (upper - lower)[:, None] * (np.arange(200_000) + 0.5) / 200_000
    expected = np.mean((spread - np.rint(spread / scale) * scale) ** 2, axis=1)
    np.testing.assert_allclose(
        rounding_error(Bins(lower, upper, np.ones(6, np.int64)), scale), expected, rtol=1e-3, atol=1e-12
    )


def test_the_clipping_error_of_a_bin_is_that_of_evenly_spread_values() -> None:
    lower, upper = np.array([-9.0, -4.0, 0.0, 2.0, 5.0]), np.array([-7.0, -3.0, 0.0, 3.0, 9.0])
    counts = np.array([3, 1, 7, 2, 4])
    spread = lower[:, None] + (upper - lower)[:, None] * (np.arange(100_000) + 0.5) / 100_000
    errors = counts * np.mean((spread - np.clip(spread, -5, 4)) ** 2, axis=1)
    found = Tails(Bins(lower, upper, counts)).clipped(
        np.array([1]), np.array([4]), np.array([-5.0]), np.array([4.0])
    )
    assert found == pytest.approx(errors.sum(), rel=1e-6)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_mse_finds_the_best_range_of_a_fine_grid_of_ranges(kind: str, bits: int) -> None:
    values = KINDS[kind][::8]
    found = squared_error(values, *seen(Mse(bits), values), bits)
    shares = np.linspace(0.02, 1, 50)
    lows = [0.0] if values.min() >= 0 else values.min() * shares
    highs = [0.0] if values.max() <= 0 else values.max() * shares
    best = min(squared_error(values, low, high, bits) for low in lows for high in highs)
    assert found <= best * 1.01


def test_mse_finds_a_grid_that_the_values_lie_on() -> None:
    pixels = GENERATOR.integers(0, 256, (400, 49)).astype(np.float32) / 255
    assert squared_error(pixels, *seen(Mse(8), pixels), 8) < 1e-12


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("name", ["entropy", "mse"])
@pytest.mark.parametrize("kind", ["laplace", "normal"])
def test_clipping_pays_on_heavy_tails(kind: str, name: str, bits: int) -> None:
    values = KINDS[kind]
    clipped, whole = (seen(maker(each)(bits), values) for each in (name, "minmax"))
    assert squared_error(values, *clipped, bits) <= squared_error(values, *whole, bits)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_mse_is_never_worse_than_min_max(kind: str, bits: int) -> None:
    values = KINDS[kind]
    whole = squared_error(values, *seen(MinMax(), values), bits)
    assert squared_error(values, *seen(Mse(bits), values), bits) <= whole * 1.001


def divergence_by_definition(values: np.ndarray, edges: np.ndarray, threshold: float, bits: int) -> float:
    """Migacz, 2017, slide 38, on the levels of the affine grid: one loop over bins, one over levels."""
    low, high = max(float(values.min()), -threshold), min(float(values.max()), threshold)
    counts, _ = np.histogram(values, edges)
    middles = (edges[1:] + edges[:-1]) / 2
    used = [index for index in range(len(counts)) if counts[index] and low <= middles[index] <= high]
    beyond_low = sum(counts[index] for index in range(len(counts)) if middles[index] < low)
    beyond_high = sum(counts[index] for index in range(len(counts)) if middles[index] > high)
    total = counts.sum()
    if beyond_low + beyond_high and (len(used) < 2**bits or (beyond_low + beyond_high) * 2**bits > total):
        return math.inf
    scale, _ = affine_grid(low, high, bits)
    levels: dict[int, list[int]] = {}
    for index in used:
        levels.setdefault(round(middles[index] / scale), []).append(index)
    candidate = dict.fromkeys(used, 0.0)
    for members in levels.values():
        mass, width = (sum(per[index] for index in members) for per in (counts, np.diff(edges)))
        for index in members:
            candidate[index] = mass * (edges[index + 1] - edges[index]) / width
    reference = {index: float(counts[index]) for index in used}
    reference[used[0]] += beyond_low
    reference[used[-1]] += beyond_high
    inside = sum(candidate.values())
    return sum(
        reference[i] / total * math.log((reference[i] / total) / (candidate[i] / inside)) for i in used
    )


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("kind", ["laplace", "relu of laplace", "negative", "shifted"])
def test_entropy_finds_the_least_divergence_by_its_definition(kind: str, bits: int) -> None:
    values = KINDS[kind]
    low, high = seen(Entropy(bits), values)
    nonzero = values[values != 0]
    top = math.frexp(np.abs(values).max())[1]
    for sub in (2**power for power in range(10, -1, -1)):
        side = np.array(
            [2.0**octave * (1 + step / sub) for octave in range(top - OCTAVES, top) for step in range(sub)]
            + [2.0**top]
        )
        edges = np.concatenate([-side[::-1], side])
        if nonzero.size >= 128 * np.count_nonzero(np.histogram(nonzero, edges)[0]):
            break
    largest = float(np.abs(values).max())
    thresholds = [largest * 2 ** (-step / 16) for step in range(80)]
    divergences = [divergence_by_definition(nonzero, edges, each, bits) for each in thresholds]
    best = thresholds[int(np.argmin(divergences))]
    assert (low, high) == pytest.approx((max(values.min(), -best), min(values.max(), best)))


def test_entropy_clips_nothing_where_levels_abound() -> None:
    assert seen(Entropy(16), LAPLACE) == (LAPLACE.min(), LAPLACE.max())


def test_entropy_leaves_an_outlier_to_be_clipped() -> None:
    values = np.append(LAPLACE, np.full((1, 25), 1e6, np.float32), axis=0)
    assert seen(Entropy(8), values)[1] < 15


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("percentil", "there is no observer 'percentil'; did you mean 'percentile'"),
        ("minmax:3", "observer 'minmax:3' has a setting and minmax takes none; give 'minmax'"),
        ("percentile:high", "a number over 0, at most 100, as in 'percentile:99.9'"),
        ("percentile:", "observer 'percentile:' is not allowed"),
        ("percentile:0", "observer 'percentile:0' is not allowed"),
        ("percentile:100.1", "observer 'percentile:100.1' is not allowed"),
        ("percentile:nan", "observer 'percentile:nan' is not allowed"),
        ("moving_average:1.5", "the share of the old value that is kept is a number over 0, at most 1"),
    ],
)
def test_a_wrong_name_is_one_sentence(name: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        maker(name)


def test_a_setting_stands_behind_the_name() -> None:
    values = np.arange(1, 1001, dtype=np.float32)[:, None]
    low, high = seen(maker("percentile:80")(8), values)
    assert (low, high) == pytest.approx((100, 900), rel=2e-3)
