"""How the samples of a latency lie: counts between edges that all models of a comparison share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from slimedge.benchmarks import statistics

BINS = 64
# Samples beyond the highest of the models' 99th percentiles are told, not drawn: one interrupt would shrink all else.
_SHOWN = 0.99
_LEAST_S = 1e-9


@dataclass(frozen=True, slots=True)
class Distribution:
    """Samples of one model's latency.

    Attributes:
        edges_s: of the bins, one more than there are bins, at equal ratios.
        counts: samples in each bin.
        above: samples beyond the last edge.
        p50_s: median of all samples.
        p90_s: 90th percentile of all samples.
    """

    edges_s: tuple[float, ...]
    counts: tuple[int, ...]
    above: int
    p50_s: float
    p90_s: float

    @property
    def n(self) -> int:
        """Number of samples."""
        return sum(self.counts) + self.above


def distributions(samples_s: Mapping[str, Sequence[float]], *, bins: int = BINS) -> dict[str, Distribution]:
    """Count samples in bins that the models share.

    The bins reach from the smallest sample to the highest 99th percentile of any model.

    Args:
        samples_s: latencies by the name of the model; one without samples is left out.
        bins: number of them.

    Example:
        >>> distributions({"a": [1.0, 1.0, 3.0], "b": [16.0]}, bins=2)["a"].counts
        (3, 0)
    """
    arrays = {
        name: np.maximum(np.asarray(values, float), _LEAST_S) for name, values in samples_s.items() if values
    }
    if not arrays:
        return {}
    low = min(float(values.min()) for values in arrays.values())
    high = max(float(np.quantile(values, _SHOWN)) for values in arrays.values())
    edges = np.geomspace(low, max(high, 1.2 * low), bins + 1)
    edges[0] = low  # exactly, whatever the logarithm rounded to
    found = {}
    for name, values in arrays.items():
        counts, _ = np.histogram(values, edges)
        told = statistics.latency(values)
        found[name] = Distribution(
            edges_s=tuple(edges.tolist()),
            counts=tuple(counts.tolist()),
            above=len(values) - int(counts.sum()),
            p50_s=told.p50,
            p90_s=float(np.quantile(values, 0.9)),
        )
    return found
