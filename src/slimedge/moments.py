"""Mean and deviation of the channels of a tensor, as they follow from a formula."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_erf = np.vectorize(math.erf, otypes=[np.float64])


@dataclass(frozen=True, slots=True)
class Moments:
    """What is known of a tensor over all examples and positions.

    Attributes:
        mean: of each channel, float64, shape (channels,).
        deviation: standard deviation of each channel, likewise; None where it is not known.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64] | None

    def affine(self, gain: NDArray[np.float64], offset: NDArray[np.float64]) -> Moments:
        """Give the moments of `gain · x + offset`, each of shape (channels,) or one number."""
        spread = None if self.deviation is None else np.abs(gain) * self.deviation
        return Moments(gain * self.mean + offset, spread)

    def clipped(self, low: float, high: float) -> Moments | None:
        """Give the moments of min(max(x, low), high) where x is normal; None where its deviation is not known.

        With z = (end - mean) / deviation for both ends, φ the density and Φ the distribution of the normal,

            E = mean · (Φ(z_high) - Φ(z_low)) + deviation · (φ(z_low) - φ(z_high)) + low · Φ(z_low) + high · Φ(-z_high)

        (Nagel et al., 2019, "Data-free quantization through weight equalization and bias correction", appendix C).

        Args:
            low: lower end.
            high: upper end, perhaps infinite.

        Example:
            >>> relu = Moments(np.array([0.0]), np.array([1.0])).clipped(0.0, math.inf)
            >>> relu.mean.round(4), relu.deviation.round(4)  # 1/√(2π) and √(1/2 - 1/(2π))
            (array([0.3989]), array([0.5838]))
        """
        if self.deviation is None:
            return None
        mean, sigma = self.mean, np.maximum(self.deviation, 1e-30)
        first, square = np.zeros_like(mean), np.zeros_like(mean)
        inside = np.ones_like(mean)
        for end, sign in ((low, 1.0), (high, -1.0)):
            if math.isinf(end):
                continue
            # From 40 deviations on, the share outside is exactly 0 or 1; z² shall not overflow.
            z = np.clip((end - mean) / sigma, -40.0, 40.0)
            density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
            outside = (1 + _erf(sign * z / math.sqrt(2))) / 2
            inside -= outside
            first += sign * sigma * density + end * outside
            square += sign * sigma * (mean + end) * density + end**2 * outside
        first += mean * inside
        square += (mean**2 + sigma**2) * inside
        return Moments(first, np.sqrt(np.maximum(square - first**2, 0.0)))
