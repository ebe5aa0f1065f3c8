"""Methods that make post-training quantization more exact: each a file, and a line here.

A method may change the float graph before ranges are found, without changing what it computes, and it may choose
integers and biases after. Methods are applied in the order in which they are named, all of the first kind of work
before the second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimedge.compress.planning import Plan
from slimedge.graph import Graph
from slimedge.registry import Registry

if TYPE_CHECKING:
    from slimedge.data import Data

METHODS = Registry(
    "method",
    {
        "equalization": "slimedge.compress.equalization:EQUALIZATION",
        "bias_absorption": "slimedge.compress.bias_absorption:BIAS_ABSORPTION",
        "smoothing": "slimedge.compress.smoothing:SMOOTHING",
        "adaround": "slimedge.compress.adaround:ADAROUND",
        "adaround_blocks": "slimedge.compress.adaround_blocks:ADAROUND_BLOCKS",
        "gptq": "slimedge.compress.gptq:GPTQ",
        "bias_correction": "slimedge.compress.bias_correction:BIAS_CORRECTION",
        "bias_correction_analytic": "slimedge.compress.analytic_bias_correction:ANALYTIC_BIAS_CORRECTION",
    },
)


class Method:
    """A method; one that does nothing at one of the two places leaves it as it is here."""

    def prepare(self, graph: Graph, data: Data) -> Graph:
        """Give a float graph that computes the same and is rounded better.

        Args:
            graph: simplified, with BatchNorm folded.
            data: calibration examples, bound to the model.
        """
        del data
        return graph

    def refine(self, plan: Plan, data: Data) -> Plan:
        """Give a plan with other kernels or biases.

        Args:
            plan: with the ranges of all activations.
            data: calibration examples, bound to the model.
        """
        del data
        return plan
