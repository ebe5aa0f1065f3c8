"""Memory and time of calibrating both bundled nets on 10,000 images of Fashion-MNIST: `make calibration-cost`.

Memory: each calibration runs in a fresh process, on 100 and on 10,000 images. Time: in one process a net, in turns,
calibrations and plain passes: the same graph with the same tensors taken out, and no observer. Exits 1 where percentile
or entropy take over 150 MB more for 10,000 images than for 100, or over 1.5 times the time of the plain pass.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimedge.benchmarks.bundled import NETS, full_set, show, write_result
from slimedge.benchmarks.demo import FOLDER
from slimedge.benchmarks.export_cost import measured
from slimedge.compress.calibration import Watch, calibrate
from slimedge.compress.placement import Placement, place
from slimedge.compress.static import simplify
from slimedge.data import Data
from slimedge.graph import Graph
from slimedge.graph_reading import from_model

FEW, MANY = 100, 10_000
OBSERVERS = ("minmax", "percentile", "entropy")
JUDGED = ("percentile", "entropy")
LARGEST_GROWTH_BYTES = 150_000_000
LARGEST_RATIO = 1.5
PLAIN = "plain pass"


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of one net.

    Attributes:
        model: its name.
        tensors: that are observed.
        peak_bytes: of the process, by observer and number of images.
        seconds: for all images, one a round, by what was done.
        cpu_seconds: of all threads, likewise.
        ratio: median over the rounds of the time over that of the plain pass, by observer.
        missed: bars that were missed, one sentence each.
    """

    model: str
    tensors: int
    peak_bytes: dict[str, dict[str, int]]
    seconds: dict[str, list[float]]
    cpu_seconds: dict[str, list[float]]
    ratio: dict[str, float]
    missed: tuple[str, ...]


def opened(name: str, images: int) -> tuple[Graph, Placement, Data]:
    """Give a bundled net as it is calibrated, and so many images bound to it."""
    from slimedge.keras_file import input_specs, load_model

    model = load_model(FOLDER / f"{name}.keras")
    graph, _, _ = simplify(from_model(model))
    return graph, place(graph), full_set().bind(input_specs(model)).take(images)


def run_once(name: str, observer: str, images: int) -> None:
    """Calibrate once, for the memory that it takes."""
    graph, placement, data = opened(name, images)
    calibrate(graph, placement, data, observer=observer)


def run_in_turns(name: str, rounds: int) -> dict[str, Any]:
    """Time plain passes and calibrations on all images, forwards in one round and backwards in the next."""
    graph, placement, data = opened(name, MANY)
    watched = [value for value, group in placement.groups.items() if group not in placement.fixed]

    def plain() -> None:
        watch = Watch(graph, watched, compiled=True)
        for batch, _ in data.batches(watch.batch_size):
            watch.run(batch)

    def with_observer(observer: str) -> Callable[[], object]:
        return lambda: calibrate(graph, placement, data, observer=observer)

    turns: dict[str, Callable[[], object]] = {PLAIN: plain}
    turns |= {observer: with_observer(observer) for observer in OBSERVERS}
    seconds: dict[str, list[float]] = {what: [] for what in turns}
    cpu_seconds: dict[str, list[float]] = {what: [] for what in turns}
    for turn in range(rounds):
        for what in turns if turn % 2 == 0 else reversed(turns):
            started, used = time.perf_counter(), time.process_time()
            turns[what]()
            seconds[what].append(time.perf_counter() - started)
            cpu_seconds[what].append(time.process_time() - used)
    return {"tensors": len(watched), "seconds": seconds, "cpu_seconds": cpu_seconds}


def ratios(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Give the median over the rounds of each observer's time over that of the plain pass in its round."""
    plain = np.array(seconds[PLAIN])
    return {observer: float(np.median(np.array(seconds[observer]) / plain)) for observer in OBSERVERS}


def missed(
    name: str, peak_bytes: Mapping[str, Mapping[str, int]], ratio: Mapping[str, float]
) -> tuple[str, ...]:
    """Give a sentence for each bar that was missed."""
    sentences = []
    for observer in JUDGED:
        growth = peak_bytes[observer][str(MANY)] - peak_bytes[observer][str(FEW)]
        if growth > LARGEST_GROWTH_BYTES:
            sentences.append(f"{observer} of {name} takes {growth / 1e6:.0f} MB more for {MANY:,} images")
        if ratio[observer] > LARGEST_RATIO:
            sentences.append(f"{observer} of {name} takes {ratio[observer]:.2f} times the plain pass")
    return tuple(sentences)


def measure(name: str, rounds: int) -> Found:
    """Measure one net in fresh processes."""
    command = [sys.executable, "-m", "slimedge.benchmarks.calibration_cost", "--net", name]
    peak_bytes: dict[str, dict[str, int]] = {}
    for observer in OBSERVERS:
        peak_bytes[observer] = {
            str(images): measured(observer, [*command, "--once", observer, str(images)]).peak_bytes
            for images in (FEW, MANY)
        }
    done = subprocess.run([*command, "--rounds", str(rounds)], stdout=subprocess.PIPE, text=True, check=True)
    timed = json.loads(done.stdout.splitlines()[-1])
    ratio = ratios(timed["seconds"])
    return Found(
        model=name, peak_bytes=peak_bytes, ratio=ratio, missed=missed(name, peak_bytes, ratio), **timed
    )


def main() -> int:
    """Measure both nets, print and write what was found, and give the exit status."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each is timed, in turns")
    parser.add_argument("--net", choices=NETS, help=argparse.SUPPRESS)
    parser.add_argument("--once", nargs=2, metavar=("OBSERVER", "IMAGES"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        run_once(given.net, given.once[0], int(given.once[1]))
        return 0
    if given.net:
        sys.stdout.write(json.dumps(run_in_turns(given.net, given.rounds)) + "\n")
        return 0
    found = []
    for name in NETS:
        found.append(measure(name, given.rounds))
        show(asdict(found[-1]))
    path: Path = write_result(
        "calibration_cost", {"images": [FEW, MANY], "nets": [asdict(one) for one in found]}
    )
    sys.stdout.write(f"written to {path}\n")
    return int(any(one.missed for one in found))


if __name__ == "__main__":
    sys.exit(main())
