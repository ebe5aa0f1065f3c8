"""A student distilled by two workers beside one, each a process on this machine: `make two-workers`.

A fresh ResNet-8 learns from the bundled one for 20 steps, first by one process and then by two that share every batch
of 128 over the loopback. Both see the same examples in the same order, so they have to tell the same losses, but for
the rounding of sums in another order. How much that is, one worker tells that starts a millionth off. Exits 1 where the
loss of a step differs by more than 0.1 % between one worker and two, or where the two end with other weights.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from slimedge.benchmarks.bundled import conclude, show
from slimedge.benchmarks.demo import FOLDER, SAMPLE
from slimedge.isolation import run_isolated

if TYPE_CHECKING:
    import keras

MODEL = "resnet8"
EXAMPLES, BATCH_SIZE, EPOCHS = 640, 128, 4
LARGEST_DIFFERENCE = 1e-3
# Rounding grows with the steps, as numbers at the kink of a ReLU go to either side of it; how fast, the shift tells.
RECIPE: dict[str, Any] = {"optimizer": "adam", "learning_rate": 1e-3}
SHIFT = 1e-6
WORKERS = 2
STRATEGY = "multi-worker"
TIME_LIMIT_S = 900.0


def configurations(workers: int) -> list[dict[str, str]]:
    """Give the variables with which processes on this machine find each other, one for each.

    Args:
        workers: how many.
    """
    addresses = [f"127.0.0.1:{port}" for port in free_ports(workers)]
    return [
        {
            "TF_CONFIG": json.dumps(
                {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            )
        }
        for index in range(workers)
    ]


def free_ports(count: int) -> list[int]:
    """Give ports of the loopback that nothing listens at now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def run_together(
    target: str, arguments: Sequence[Mapping[str, Any]], *, time_limit_s: float = TIME_LIMIT_S
) -> list[Any]:
    """Call a function in processes that TF_CONFIG makes one cluster, and give what came of each.

    Args:
        target: as of `slimedge.isolation.run_isolated`.
        arguments: for each process.
        time_limit_s: for each.

    Returns:
        The result of each, or the error that it ended with.
    """

    def run(place: int, given: Mapping[str, Any], environment: Mapping[str, str]) -> Any:
        try:
            return run_isolated(
                target, given, label=f"worker {place}", time_limit_s=time_limit_s, environment=environment
            ).result
        except Exception as error:  # noqa: BLE001 - whoever asked looks at it
            return error

    with ThreadPoolExecutor(len(arguments)) as pool:
        return list(pool.map(run, range(len(arguments)), arguments, configurations(len(arguments))))


def trained(shift: float) -> dict[str, Any]:
    """Distill the student in this process, one of those that TF_CONFIG names.

    Args:
        shift: how far the weights are off at the start, relatively.

    Returns:
        The loss in front of each step, the seconds of each but the first, and a digest of the weights at the end.
    """
    from slimedge.compress.fitting import strategies

    strategies.start(STRATEGY)
    import keras

    from slimedge.benchmarks.models import resnet8
    from slimedge.compress.distilling.settings import Shares
    from slimedge.compress.distilling.training import trained as distilled
    from slimedge.compress.fitting.settings import DeviceSettings
    from slimedge.data import Data
    from slimedge.keras_file import input_specs, load_model, output_specs

    teacher = load_model(FOLDER / f"{MODEL}.keras", compiled=False)
    keras.utils.set_random_seed(0)
    student, generator = resnet8(), np.random.default_rng(0)
    off = [1 + shift * generator.standard_normal(array.shape, np.float32) for array in student.get_weights()]
    student.set_weights([array * each for array, each in zip(student.get_weights(), off, strict=True)])
    data = Data.load(FOLDER / SAMPLE, scale="1/255").bind(input_specs(student), outputs=output_specs(student))
    settings = DeviceSettings(
        epochs=EPOCHS, batch_size=BATCH_SIZE, loss="labels", strategy=STRATEGY, **RECIPE
    )
    ends: list[float] = []

    def progress(doing: str, share: float | None = None, /) -> None:
        del doing, share
        ends.append(time.perf_counter())

    done = distilled(
        student,
        [teacher],
        data.split(calibration=0).training.take(EXAMPLES),
        settings,
        Shares(),
        progress=progress,
    )
    return {
        "losses": list(done.fitted.step_losses),
        "step_s": [later - sooner for sooner, later in itertools.pairwise(ends)],
        "weights": digest(done.model),
    }


def digest(model: keras.Model) -> str:
    """Give the SHA-256 of a model's weights."""
    found = hashlib.sha256()
    for array in model.get_weights():
        found.update(array.tobytes())
    return found.hexdigest()


def differences(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """Give the relative difference at each step."""
    exact = np.asarray(one)
    return [float(each) for each in np.abs(np.asarray(other) - exact) / np.abs(exact)]


def missed(largest: float, weights: Sequence[str]) -> list[str]:
    """Give a sentence for each bar that is missed."""
    found = []
    if not largest <= LARGEST_DIFFERENCE:
        found.append(
            f"the losses of one worker and of {len(weights)} differ by {largest:.2e} of the loss, at most "
            f"{LARGEST_DIFFERENCE:g} is allowed"
        )
    if len(set(weights)) > 1:
        found.append("the workers end with other weights than each other")
    return found


def main() -> int:
    """Train by one and by two, print and write what was found, and give the exit status."""
    argparse.ArgumentParser(description=str(__doc__).splitlines()[0]).parse_args()
    target = "slimedge.benchmarks.two_workers:trained"
    alone, shifted, *both = [
        found
        for workers, shift in ((1, 0.0), (1, SHIFT), (WORKERS, 0.0))
        for found in run_together(target, [{"shift": shift}] * workers)
    ]
    for found in (alone, shifted, *both):
        if isinstance(found, Exception):
            raise found
    largest = max(differences(alone["losses"], both[0]["losses"]))
    measured = {
        "model": MODEL,
        "examples": EXAMPLES,
        "batch_size": BATCH_SIZE,
        "recipe": RECIPE,
        "steps": len(alone["losses"]),
        "losses": {"one worker": alone["losses"], "two workers": both[0]["losses"]},
        "largest_difference": largest,
        "shift": SHIFT,
        "largest_difference_of_a_shift": max(differences(alone["losses"], shifted["losses"])),
        "same_weights": len({found["weights"] for found in both}) == 1,
        "step_s": {"one worker": alone["step_s"], "two workers": both[0]["step_s"]},
        "median_step_s": {
            "one worker": float(np.median(alone["step_s"])),
            "two workers": float(np.median(both[0]["step_s"])),
        },
    }
    shown = ("steps", "largest_difference", "largest_difference_of_a_shift", "same_weights", "median_step_s")
    show({name: measured[name] for name in shown})
    return conclude("two_workers", measured, missed(largest, [found["weights"] for found in both]))


if __name__ == "__main__":
    sys.exit(main())
