"""How much memory a TFLite file needs on a microcontroller: TFLite Micro's own count, on this machine.

The arena is one block that firmware hands to TFLite Micro. Its head holds the activations and scratch buffers, which
take turns; its tail holds what the interpreter and the kernels keep for as long as the model is loaded. The tail has
pointers of 64 bits here, which are half as long on most microcontrollers, and its kernels are the reference ones:
those of a vendor (CMSIS-NN, say) may ask for more scratch memory.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimedge.errors import ConversionError, RunError, UnavailableError
from slimedge.isolation import run_isolated
from slimedge.runtime.backends.mcu import BACKEND, TFLiteMicroModel, printed

_TOLD = re.compile(r"Arena allocation (head|tail) (\d+) bytes")


@dataclass(frozen=True, slots=True)
class Arena:
    """The tensor arena of one file.

    Attributes:
        head_bytes: for activations and scratch buffers (non-persistent).
        tail_bytes: for what is kept while the model is loaded (persistent).
        planning_bytes: what TFLite Micro needs beyond both while it plans them, found by trying; 0 but for the smallest
            models.
    """

    head_bytes: int
    tail_bytes: int
    planning_bytes: int

    @property
    def total_bytes(self) -> int:
        """Of the arena that firmware has to provide."""
        return self.head_bytes + self.tail_bytes + self.planning_bytes


def require() -> None:
    """Raise where TFLite Micro is not installed.

    Raises:
        UnavailableError: it is not.
    """
    if BACKEND.missing() is not None:
        raise UnavailableError(
            "the memory of a microcontroller is counted by TFLite Micro, which is not installed; pip install "
            "'slimedge[mcu]'."
        )


def arena(path: Path) -> Arena:
    """Give the tensor arena that a file needs in TFLite Micro, of 64-bit pointers as on this machine.

    Args:
        path: of a `.tflite` file.

    Raises:
        UnavailableError: TFLite Micro is not installed.
        RunError: it refuses the file: an operator that it does not have, most often.
    """
    return Arena(**_asked("told", path))


def arena_bytes(path: Path) -> int:
    """Give the bytes of the whole arena; see `arena`."""
    return arena(path).total_bytes


def counted(path: str) -> int:
    """Give the bytes of the whole arena in a process of its own, where `arena` is called by its name."""
    return arena_bytes(Path(path))


def smallest_arena_bytes(path: Path) -> int:
    """Find the smallest arena that a file runs in, by trying: a check of what `arena` tells.

    Each trial loads the file in a process of its own, runs it, and compares with what it gives in a large arena.

    Args:
        path: of a `.tflite` file.

    Raises:
        UnavailableError: TFLite Micro is not installed.
        RunError: it refuses the file however large the arena is.
    """
    found: int = _asked("smallest", path)["bytes"]
    return found


def _asked(what: str, path: Path) -> dict[str, Any]:
    require()
    name = Path(path).name
    try:
        answer: dict[str, Any] = run_isolated(
            f"{__name__}:{what}", {"path": str(path)}, label=f"TFLite Micro with {name}"
        ).result
    except ConversionError as error:  # it died, most often
        raise RunError(str(error)) from error
    if "refusal" in answer:
        raise RunError(
            f"TFLite Micro does not take {name} ({answer['refusal']}); export what it has operators for."
        )
    return answer


def told(path: str) -> Mapping[str, Any]:
    """Give what TFLite Micro prints of the arena, and what is missing in that; in a process of its own.

    It prints from C, and allocations are complete after a run only.
    """
    content = Path(path).read_bytes()
    try:
        model = TFLiteMicroModel(content)
        expected = _answers(model)
        with printed() as said:
            model.interpreter.print_allocations()
            found = {f"{part}_bytes": int(size) for part, size in _TOLD.findall(said())}
    except (ValueError, RuntimeError) as error:
        return {"refusal": str(error)}
    if len(found) != 2:
        return {"refusal": "it tells nothing of its memory"}
    kept = found["head_bytes"] + found["tail_bytes"]
    return {**found, "planning_bytes": _smallest(content, expected, at_least=kept) - kept}


def smallest(path: str) -> Mapping[str, Any]:
    """Search for the smallest arena; in a process of its own, of which each trial is a copy."""
    content = Path(path).read_bytes()
    try:
        return {"bytes": _smallest(content, _answers(TFLiteMicroModel(content)))}
    except (ValueError, RuntimeError) as error:
        return {"refusal": str(error)}


def _smallest(content: bytes, expected: bytes, *, at_least: int = 0) -> int:
    """Find the fewest bytes from `at_least` on in which a file runs, by doubling and then by halves."""
    if _runs(content, at_least, expected):
        return at_least
    too_small, enough = at_least, max(at_least * 2, 1024)
    while not _runs(content, enough, expected):
        too_small, enough = enough, enough * 2
    sizes = range(too_small, enough + 1)
    return sizes[bisect_left(sizes, True, key=lambda size: _runs(content, size, expected))]


def _runs(content: bytes, arena_bytes: int, expected: bytes) -> bool:
    """Tell whether a copy of this process ends well with such an arena; one that is far too small kills it."""
    copy = os.fork()
    if copy == 0:
        status = 1
        try:
            with printed():
                status = int(_answers(TFLiteMicroModel(content, arena_bytes)) != expected)
        finally:
            os._exit(status)
    return os.waitpid(copy, 0)[1] == 0


def _answers(model: TFLiteMicroModel) -> bytes:
    """Run seeded numbers and give the bytes of every output."""
    generator = np.random.default_rng(0)
    feeds = {}
    for spec in model.inputs:
        largest = 100 if np.dtype(spec["dtype"]).kind in "iu" else 1
        feeds[spec["name"]] = (generator.random(spec["shape"]) * largest).astype(spec["dtype"])
    return b"".join(output.tobytes() for output in model.bind(feeds)())
