"""Bias correction: the mean error that rounding makes in each channel of an output is taken out of the bias."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from slimedge.compress.methods import Method
from slimedge.compress.planning import Kernel, Plan
from slimedge.compress.walking import Visit, walk

if TYPE_CHECKING:
    from slimedge.data import Data


@dataclass(frozen=True, slots=True)
class BiasCorrection(Method):
    """Empirical bias correction (Nagel et al., 2019, "Data-free quantization", section 4.2 and appendix D).

    b' = b + E y - E y', with y a layer's output in the float model and y' in the quantized one, whose layers before
    it are corrected already.
    """

    def refine(self, plan: Plan, data: Data) -> Plan:
        """Correct the bias of each layer that has one, in the order of the graph."""

        def choose(visit: Visit, output: Callable[[Kernel], Any]) -> Kernel:
            if visit.kernel.bias is None:
                return visit.kernel
            axes = tuple(range(np.ndim(visit.target) - 1))
            error = np.mean(
                np.asarray(visit.target) - np.asarray(output(visit.kernel)), axis=axes, dtype=np.float64
            )
            return replace(visit.kernel, bias=(visit.kernel.bias + error).astype(np.float32))

        return walk(plan, data, choose)


BIAS_CORRECTION = BiasCorrection()
