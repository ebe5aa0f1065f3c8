"""Whether a profile's ops add up to a run: `make profile-exactness`.

The two bundled nets, float and int8, in both formats, are each profiled in processes of their own, between runs without
the profiler. For each file stand here the sum of its ops over a run without the profiler, and by how much the profiler
lengthens an op. LiteRT's profiler costs nearly nothing: its sum may be 10 % above a run, and 10 % below it besides what
is cut off each op. ONNX Runtime's takes some microseconds an op: at most 15. And both runtimes should spend their time
in the same layers: of the four slowest, three. The run exits 1 where one of these is missed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from slimedge.benchmarks import statistics
from slimedge.benchmarks.bundled import NETS, conclude, make_files, show
from slimedge.benchmarks.demo import load
from slimedge.benchmarks.profiles.profiling import profile
from slimedge.benchmarks.profiles.times import ModelProfile
from slimedge.comparison import Speedup

LAUNCHES = 8
FILES = ("float onnx", "int8 onnx", "float tflite", "int8 tflite")
LARGEST_SHARE_APART = 0.10
MOST_ADDED_S = 15e-6
SLOWEST = 4
LEAST_IN_COMMON = 3


@dataclass(frozen=True, slots=True)
class Exactness:
    """A file's profiles beside its runs.

    Attributes:
        file: `float onnx` and so on.
        run_us: one run without the profiler, in microseconds; as all here, the median over the launches.
        ops_us: the sum of its ops under the profiler.
        cut_us: most that the runtime's clock cut off that sum.
        over_run: the sum over the run, with a 95 % interval.
        added_us: by how much the profiler lengthens an op at the least.
        slowest: the layers that take the longest.
    """

    file: str
    run_us: float
    ops_us: float
    cut_us: float
    over_run: Speedup
    added_us: float
    slowest: tuple[str, ...]


def exactness(file: str, profiles: Sequence[ModelProfile]) -> Exactness:
    """Put the profiles of a file, one a launch, beside its runs."""
    run_s = np.array([[each.run_s] for each in profiles])
    ops_s = np.array([[each.ops_s] for each in profiles])
    layers: dict[str, list[float]] = {}
    for each in profiles:
        for layer in each.layers:
            layers.setdefault(layer.layer, []).append(layer.seconds)
    by_time = sorted(layers, key=lambda name: -float(np.median(layers[name])))
    return Exactness(
        file=file,
        run_us=float(np.median(run_s)) * 1e6,
        ops_us=float(np.median(ops_s)) * 1e6,
        cut_us=float(np.median([each.cut_s for each in profiles])) * 1e6,
        over_run=statistics.speedup(ops_s, run_s),
        added_us=float(np.median([each.added_s for each in profiles])) * 1e6,
        slowest=tuple(by_time[:SLOWEST]),
    )


def missed(nets: Mapping[str, Sequence[Exactness]]) -> list[str]:
    """Name the bars that are missed, by net and file."""
    lines = []
    for net, found in nets.items():
        for each in found:
            share, cut = each.over_run, each.cut_us / each.run_us
            if share.high + cut < 1 - LARGEST_SHARE_APART:
                lines.append(
                    f"{net}, {each.file}: the ops are {share.high:.2f} of a run, and {cut:.2f} was cut off"
                )
            if "tflite" in each.file and share.low > 1 + LARGEST_SHARE_APART:
                lines.append(f"{net}, {each.file}: the ops are {share.low:.2f} of a run")
            if each.added_us > MOST_ADDED_S * 1e6:
                lines.append(f"{net}, {each.file}: the profiler lengthens an op by {each.added_us:.1f} µs")
        slowest = {each.file: set(each.slowest) for each in found}
        for precision in ("float", "int8"):
            common = slowest[f"{precision} onnx"] & slowest[f"{precision} tflite"]
            if len(common) < LEAST_IN_COMMON:
                lines.append(
                    f"{net}, {precision}: the runtimes share only {sorted(common)} of the slowest layers"
                )
    return lines


def measure(name: str, folder: Path) -> list[Exactness]:
    """Profile every file of a bundled net, the files in turns."""
    artifacts = make_files(name, load()[1], folder).artifacts()
    launches = [{file: profile(artifacts[file]) for file in FILES} for _ in range(LAUNCHES)]
    return [exactness(file, [launch[file] for launch in launches]) for file in FILES]


def main() -> int:
    """Measure, print and write what was found, and give the exit status."""
    nets = {}
    for name in NETS:
        with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
            nets[name] = measure(name, Path(folder))
        for each in nets[name]:
            show({"net": name, **asdict(each)})
    measured = {
        "launches": LAUNCHES,
        "nets": {name: {each.file: asdict(each) for each in found} for name, found in nets.items()},
    }
    return conclude("profile_exactness", measured, missed(nets))


if __name__ == "__main__":
    sys.exit(main())
