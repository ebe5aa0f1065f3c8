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

from slimedge.errors import RunError, UnavailableError
from slimedge.isolation import run_isolated
from slimedge.runtime.backends.mcu import BACKEND, TFLiteMicroModel, interpreter, printed

_TOLD = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")


@dataclass(frozen=True, slots=True)
class Arena:
    """The tensor arena of one file.

    Attributes:
        total_bytes: of the arena.
        head_bytes: for activations and scratch buffers (non-persistent).
        tail_bytes: for what is kept while the model is loaded (persistent).
    """

    total_bytes: int
    head_bytes: int
    tail_bytes: int


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
    answer: dict[str, Any] = run_isolated(
        f"{__name__}:{what}", {"path": str(path)}, label=f"TFLite Micro with {Path(path).name}"
    ).result
    if "refusal" in answer:
        raise RunError(
            f"TFLite Micro does not take {Path(path).name} ({answer['refusal']}); export what it has operators for."
        )
    return answer


def told(path: str) -> Mapping[str, Any]:
    """Give what TFLite Micro prints of the arena after a run; in a process of its own, since it prints from C."""
    try:
        model = interpreter(Path(path).read_bytes())
        with printed() as said:
            model.invoke()
            model.print_allocations()
            sizes = {f"{part}_bytes": int(size) for part, size in _TOLD.findall(said())}
    except (ValueError, RuntimeError) as error:
        return {"refusal": str(error)}
    return sizes or {"refusal": "it tells nothing of its memory"}


def smallest(path: str) -> Mapping[str, Any]:
    """Search for the smallest arena, in a process of its own, of which each trial is a copy."""
    content = Path(path).read_bytes()
    try:
        expected = _answers(TFLiteMicroModel(content))
    except (ValueError, RuntimeError) as error:
        return {"refusal": str(error)}
    most = told(path)["total_bytes"] * 2

    def runs(size: int) -> bool:
        """Whether a copy of this process ends well: an arena that is far too small ends it otherwise."""
        copy = os.fork()
        if copy == 0:
            status = 1
            try:
                with printed():
                    got = _answers(TFLiteMicroModel(content, size))
                status = int(not all(map(np.array_equal, got, expected)))
            finally:
                os._exit(status)
        return os.waitpid(copy, 0)[1] == 0

    sizes = range(most + 1)
    return {"bytes": sizes[bisect_left(sizes, True, key=runs)]}


def _answers(model: TFLiteMicroModel) -> list[Any]:
    """Run seeded numbers and give every output."""
    generator = np.random.default_rng(0)
    feeds = {}
    for spec in model.inputs:
        integers = np.dtype(spec["dtype"]).kind in "iu"
        feeds[spec["name"]] = (generator.random(spec["shape"]) * (100 if integers else 1)).astype(
            spec["dtype"]
        )
    return list(model.bind(feeds)())
