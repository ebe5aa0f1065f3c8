"""Calibration observers against numpy on the whole stream."""

from __future__ import annotations

import numpy as np
import pytest

from slimedge.compress.observers import OBSERVERS, MinMax, MovingAverage, Percentile


def stream(seed: int = 0, batches: int = 20, growth: float = 1.3) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.normal(0.3, growth**n, (64, 7)).astype(np.float32) for n in range(batches)]


@pytest.mark.parametrize("name", OBSERVERS)
def test_every_observer_gives_a_range_inside_what_it_saw(name: str) -> None:
    observer = OBSERVERS[name]()
    batches = stream()
    for batch in batches:
        observer.update(batch)
    low, high = observer.range()
    everything = np.concatenate([batch.ravel() for batch in batches])
    assert everything.min() <= low < high <= everything.max()


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("value", [0.0, 2.5, -1.0])
def test_every_observer_bears_a_constant(name: str, value: float) -> None:
    observer = OBSERVERS[name]()
    for _ in range(3):
        observer.update(np.full((4, 4), value, np.float32))
    low, high = observer.range()
    assert low == pytest.approx(value, abs=2e-3)
    assert high == pytest.approx(value, abs=2e-3)


@pytest.mark.parametrize("name", ["minmax", "percentile"])
def test_the_order_of_batches_does_not_matter(name: str) -> None:
    batches = stream(growth=1.0)
    forward, backward = OBSERVERS[name](), OBSERVERS[name]()
    for batch in batches:
        forward.update(batch)
    for batch in reversed(batches):
        backward.update(batch)
    np.testing.assert_allclose(forward.range(), backward.range(), rtol=2e-2)


def test_min_max_is_numpys() -> None:
    observer = MinMax()
    batches = stream()
    for batch in batches:
        observer.update(batch)
    assert observer.range() == (min(b.min() for b in batches), max(b.max() for b in batches))


def test_the_moving_average_has_its_closed_form() -> None:
    observer = MovingAverage(momentum=0.75)
    highs = [1.0, 3.0, 2.0, 8.0]
    for high in highs:
        observer.update(np.array([-high, high], np.float32))
    weights = [0.75**3, 0.25 * 0.75**2, 0.25 * 0.75, 0.25]
    expected = float(np.dot(weights, highs))
    assert observer.range() == pytest.approx((-expected, expected))


@pytest.mark.parametrize("percentile", [99.0, 99.9, 99.99])
def test_the_percentile_is_numpys_to_one_bin(percentile: float) -> None:
    observer = Percentile(percentile=percentile)
    batches = stream(growth=1.0, batches=60)
    for batch in batches:
        observer.update(batch)
    values = np.sort(np.concatenate([batch.ravel() for batch in batches]))
    cut = (1 - percentile / 100) / 2 * len(values)
    bin_width = 4 * np.abs(values).max() / 4096
    near = (
        [values[max(0, int(cut) - 1)], values[int(cut) + 1]],
        [values[-int(cut) - 2], values[min(-1, -int(cut))]],
    )
    for end, (below, above) in zip(observer.range(), near, strict=True):
        assert below - bin_width <= end <= above + bin_width


def test_the_histogram_stays_as_large_however_far_values_grow() -> None:
    observer = Percentile()
    for batch in stream(batches=40, growth=2.0):
        observer.update(batch)
    assert observer._counts.shape == (4096,)
    assert observer._counts.sum() == 40 * 64 * 7
