"""Instructions of one inference on the emulated arm64 board, and whether it answers as this machine: `make emulated`.

The bundled ResNet-8 and depthwise-separable net, float and int8, in both formats, on two processors (with and without
the dot product of 8-bit integers), on two boots of each. Exits 1 where two boots differ by more than 0.5 %, or where
the board answers something else than this machine: int8 files bit for bit, float files but for the order of sums.

The int8 ONNX files have the integer types that are exact on every CPU (`slimedge.integers.PORTABLE`); with others this
machine may be the one that is wrong.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import Artifact
from slimedge.benchmarks.bundled import NETS, conclude, make_files
from slimedge.benchmarks.demo import FOLDER, SAMPLE
from slimedge.data import Data
from slimedge.integers import PORTABLE
from slimedge.runtime.devices.board.booting import CPUS, booted, qemu_version
from slimedge.runtime.devices.board.building import build
from slimedge.runtime.devices.board.counting import STEP, instructions
from slimedge.runtime.devices.board.device import over_ssh
from slimedge.runtime.devices.local import Local
from slimedge.runtime.jobs import load_request
from slimedge.runtime.protocols import Device, Job
from slimedge.runtime.sessions import AgentSession
from slimedge.runtime.targets import target_for

BOOTS = 2
RUNS = 31
IMAGES = 100
LARGEST_SPREAD = 0.005
# Both machines add the same products of 32-bit floats in another order. A sum of the most that a unit here adds, 576
# (3 x 3 x 64), is off by 576 units of 2^-24 at the worst, 3.4e-5 (Higham, Accuracy and Stability of Numerical
# Algorithms, 2002, eq. 3.5), and by their root, 1.4e-6, as a rule. The outputs are shares in 0...1.
LARGEST_FLOAT_ERROR = 1e-5
LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of one file on one device.

    Attributes:
        samples_ns: of single runs, by the device's clock.
        outputs: (n, …) float32, of the images.
    """

    samples_ns: tuple[int, ...]
    outputs: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Row:
    """One file on one processor of the board.

    Attributes:
        model: name of the net.
        file: `float onnx`, `int8 tflite` and so on.
        cpu: that was emulated.
        instructions: of one inference, by boot.
        identical: whether the board answers bit for bit as this machine, on every boot.
        largest_error: between the board's outputs and this machine's.
        same_classes: share of the images.
    """

    model: str
    file: str
    cpu: str
    instructions: tuple[float, ...]
    identical: bool
    largest_error: float
    same_classes: float

    @property
    def spread(self) -> float:
        """How far the boots lie apart, as a share of the least."""
        return max(self.instructions) / min(self.instructions) - 1


def images(count: int = IMAGES) -> NDArray[np.float32]:
    """Give the first pictures of the bundled sample, pixels in 0…1."""
    (pixels,) = sample().arrays()[0].values()
    return np.asarray(pixels[:count], np.float32)


def sample() -> Data:
    """Give the bundled part of Fashion-MNIST."""
    return Data.load(FOLDER / SAMPLE, scale="1/255")


def run_all(device: Device, files: Mapping[str, Artifact], pixels: NDArray[np.float32]) -> dict[str, Ran]:
    """Time files on a device and let them answer, one process for each runtime.

    Args:
        device: where.
        files: with one input each, by name.
        pixels: (n, …) inputs.
    """
    found: dict[str, Ran] = {}
    for backend, group in itertools.groupby(
        sorted(files, key=lambda name: target_for(files[name]).backend),
        key=lambda name: target_for(files[name]).backend,
    ):
        with (
            device.start(backend, limit_s=LIMIT_S) as agent,
            tempfile.TemporaryDirectory(prefix="slimedge-") as folder,
        ):
            for name in group:
                job = Job(files[name], target_for(files[name]))
                told = agent.ask("load", **load_request(job, timed=True))
                agent.ask("warm", window_s=0.005, warm_limit_s=0.1, tolerance=0.02)
                samples = agent.ask("time", settle_s=0.0, seconds=0.0, runs=RUNS)["samples_ns"]
                session = AgentSession(agent, told, files[name], Path(folder))
                shape = [size or 1 for size in session.inputs[0].shape[1:]]
                answers = session.predict({session.inputs[0].name: pixels.reshape(-1, *shape)})
                found[name] = Ran(tuple(samples), answers[session.outputs[0].name])
    return found


def row(model: str, file: str, cpu: str, here: Ran, boots: Sequence[Ran]) -> Row:
    """Compare what came of a file on boots of the board, and here."""
    exact = here.outputs
    same = [ran.outputs.argmax(axis=1) == exact.argmax(axis=1) for ran in boots]
    return Row(
        model,
        file,
        cpu,
        tuple(instructions(ran.samples_ns) for ran in boots),
        identical=all(np.array_equal(ran.outputs, exact) for ran in boots),
        largest_error=max(float(np.abs(ran.outputs - exact).max()) for ran in boots),
        same_classes=float(np.mean(same)),
    )


def missed(rows: Sequence[Row]) -> list[str]:
    """Give a sentence for each bar that is missed."""
    found = []
    for each in rows:
        name = f"{each.file} of {each.model} on {each.cpu}"
        if each.spread > LARGEST_SPREAD:
            found.append(
                f"{name} differs by {each.spread:.2%} between boots, {LARGEST_SPREAD:.1%} is allowed"
            )
        if each.file.startswith("int8") and not each.identical:
            found.append(f"{name} does not answer bit for bit as here, it is off by {each.largest_error:.2g}")
        if each.largest_error > LARGEST_FLOAT_ERROR or each.same_classes < 1:
            found.append(
                f"{name} is off by {each.largest_error:.2g}, {LARGEST_FLOAT_ERROR:g} is allowed, and gives the same "
                f"class for {each.same_classes:.2%}"
            )
    return found


def ratios(rows: Sequence[Row]) -> dict[str, float]:
    """Give the instructions of each float file over those of its int8 file, by processor, net and format."""
    median = {(r.cpu, r.model, *r.file.split()): float(np.median(r.instructions)) for r in rows}
    return {
        f"{cpu} {model} {kind}": round(value / median[cpu, model, "int8", kind], 3)
        for (cpu, model, precision, kind), value in median.items()
        if precision == "float"
    }


def main() -> int:
    """Measure, print and write what was found, and give the exit status."""
    argparse.ArgumentParser(description=str(__doc__).splitlines()[0]).parse_args()
    image, pixels, rows = build(), images(), []
    with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
        files = {
            f"{net} {kind}": artifact
            for net in NETS
            for kind, artifact in make_files(net, sample(), Path(folder), integers=PORTABLE)
            .artifacts()
            .items()
            if not kind.endswith("keras")
        }
        here = run_all(Local(), files, pixels)
        for cpu in CPUS:
            boots = []
            for _ in range(BOOTS):
                with booted(image, cpu) as board:
                    boots.append(run_all(over_ssh(board), files, pixels))
            for name in files:
                model, _, kind = name.partition(" ")
                rows.append(row(model, kind, cpu, here[name], [boot[name] for boot in boots]))
                sys.stdout.write(f"{rows[-1]}\n")
    measured = {
        "board": {"qemu": qemu_version(), **image.versions},
        "runs": RUNS,
        "images": IMAGES,
        "clock_step_instructions": STEP,
        "largest_spread": max(each.spread for each in rows),
        "rows": [_as_json(each) for each in rows],
        "float_over_int8": ratios(rows),
    }
    return conclude("emulated", measured, missed(rows))


def _as_json(each: Row) -> dict[str, Any]:
    values = {name: getattr(each, name) for name in Row.__slots__}
    return {**values, "spread": each.spread}


if __name__ == "__main__":
    sys.exit(main())
