"""What every scheme is told beside the model and the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from slimedge.compress.layer_bits import LayerBits

# Why a layer that could be rounded stays float.
EXCLUDED = "it was excluded"


@dataclass(frozen=True, slots=True)
class Settings:
    """Arguments of `slimedge.compress.quantization.quantize`, checked; a scheme takes of them what it has.

    Attributes:
        observer: a name in `slimedge.compress.observers.OBSERVERS`, with its setting where it has one.
        observers: likewise, by pattern of the names of tensors, first one first.
        exclude: names of layers that stay float, those inside of nested models included.
        methods: names in `slimedge.compress.methods.METHODS`, in their order.
        granularity: `per_channel` or `per_tensor` scales of kernels.
        progress: told the number of examples after each calibration batch.
        block_size: how many 4-bit weights share a scale; None for a scale for each output channel.
        bits: of the weights of single layers, or `float`, by pattern, first one first; see
            `slimedge.compress.layer_bits`.
    """

    observer: str = "minmax"
    observers: Mapping[str, str] = field(default_factory=dict)
    exclude: frozenset[str] = frozenset()
    methods: tuple[str, ...] = ()
    granularity: str = "per_channel"
    progress: Callable[[int], None] | None = None
    block_size: int | None = None
    bits: LayerBits = field(default_factory=dict)
