"""Times of ops and layers from the runs of a profile; pure arithmetic.

Runtimes tell times in whole microseconds, cut down. So every figure is the mean of the middle half of the runs: what an
interrupted run took does not count, and parts of a microsecond come back where an op takes now more, now less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from slimedge.benchmarks import statistics
from slimedge.runtime.profiling import OpEvent, Profile

_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class Place:
    """What an op of a profile is in the file.

    Attributes:
        name: of the op in the file, or as the runtime has it where the file has none.
        kind: its type, likewise.
        layer: Keras layer that it counts for, in a file that was exported here; else its own name; of what a runtime
            put in by itself, `ONNX Runtime: ` or `XNNPACK: ` and what that is.
        fused: other layers that run as parts of it.
    """

    name: str
    kind: str
    layer: str
    fused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OpTime:
    """Time of one op.

    Attributes:
        name: as in `Place`.
        kind: as in `Place`.
        layer: as in `Place`.
        provider: execution provider or delegate that ran it.
        kernels: names of what the runtime ran for it, where they are others than its own.
        seconds: for one run.
        share: of the sum over all ops, in 0…1.
    """

    name: str
    kind: str
    layer: str
    provider: str
    kernels: tuple[str, ...]
    seconds: float
    share: float


@dataclass(frozen=True, slots=True)
class LayerTime:
    """Time of one layer.

    Attributes:
        layer: as in `Place`.
        seconds: for one run, all its ops together.
        share: of the sum over all layers, in 0…1.
        fused: other layers whose time is in it.
        cut_s: most that was cut off, a step of the runtime's clock for each op.
    """

    layer: str
    seconds: float
    share: float
    fused: tuple[str, ...] = ()
    cut_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """Where the time of one file goes on one target.

    Attributes:
        layers: in the order in which their first ops run.
        ops: likewise.
        run_s: one run without the profiler, inputs written and outputs read.
        profiled_run_s: one run under it.
        runs: how many were profiled.
        cut_s: most by which the ops together are too short, since the runtime cuts each time down to whole
            microseconds.
        raw: what the runtime told.
        places: what each op of that is.
    """

    layers: tuple[LayerTime, ...]
    ops: tuple[OpTime, ...]
    run_s: float
    profiled_run_s: float
    runs: int
    cut_s: float
    raw: Profile
    places: tuple[Place, ...]

    @property
    def ops_s(self) -> float:
        """All ops together."""
        return sum(op.seconds for op in self.ops)

    @property
    def added_s(self) -> float:
        """By how much the profiler lengthens an op at the least: what all take beyond a whole run, shared equally."""
        return max(0.0, self.ops_s - self.run_s) / max(1, len(self.raw.ops))


def model_profile(raw: Profile, places: Sequence[Place]) -> ModelProfile:
    """Sum a profile by op of the file and by layer, run by run.

    Args:
        raw: with at least one run.
        places: one for each op of it.
    """
    counts = np.array(
        [np.bincount([e.op for e in run.events], minlength=len(raw.ops)) for run in raw.runs]
    ).max(axis=0)
    own = np.array([_own_ns(run.events, len(raw.ops)) for run in raw.runs]).reshape(-1, len(raw.ops))
    ops = tuple(
        (place.name, place.kind, place.layer, op.provider) for place, op in zip(places, raw.ops, strict=True)
    )
    layers = tuple(place.layer for place in places)
    kernels: dict[tuple[str, str, str, str], list[str]] = {}
    fused: dict[str, list[str]] = {}
    for key, place, op in zip(ops, places, raw.ops, strict=True):
        kernels.setdefault(key, []).extend([op.name] if op.name != place.name else [])
        fused.setdefault(place.layer, []).extend(place.fused)
    op_s, layer_s = _summed_s(own, ops), _summed_s(own, layers)
    all_ops, all_layers = sum(op_s.values()), sum(layer_s.values())
    return ModelProfile(
        layers=tuple(
            LayerTime(
                layer,
                each,
                _share(each, all_layers),
                tuple(dict.fromkeys(name for name in fused[layer] if name != layer)),
                raw.resolution_s * float(sum(counts[np.array(layers) == layer])),
            )
            for layer, each in layer_s.items()
        ),
        ops=tuple(
            OpTime(*key, tuple(kernels[key]), each, _share(each, all_ops)) for key, each in op_s.items()
        ),
        run_s=statistics.midmean(raw.samples_s),
        profiled_run_s=statistics.midmean([run.duration_ns / 1e9 for run in raw.runs]),
        runs=len(raw.runs),
        cut_s=raw.resolution_s * float(counts.sum()),
        raw=raw,
        places=tuple(places),
    )


def _summed_s(own_ns: NDArray[np.float64], keys: Sequence[_Key]) -> dict[_Key, float]:
    """Sum the columns of each key in every run, and give the middle of the runs in seconds."""
    columns: dict[_Key, list[int]] = {}
    for column, key in enumerate(keys):
        columns.setdefault(key, []).append(column)
    return {key: statistics.midmean(own_ns[:, those].sum(axis=1)) / 1e9 for key, those in columns.items()}


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _own_ns(events: Sequence[OpEvent], ops: int) -> NDArray[np.float64]:
    """Give what each op took in one run without the ops inside of it, which a loop has."""
    own = np.zeros(ops)
    around: list[OpEvent] = []
    for event in events:
        own[event.op] += event.duration_ns
        end = event.start_ns + event.duration_ns
        while around and event.start_ns >= around[-1].start_ns + around[-1].duration_ns:
            around.pop()
        if around and end <= around[-1].start_ns + around[-1].duration_ns:
            own[around[-1].op] -= event.duration_ns
        around.append(event)
    return own
