"""How much memory a TFLite file needs on a microcontroller: TFLite Micro's own count, on this machine."""

from __future__ import annotations

import os
import re
import tempfile
from importlib.util import find_spec
from pathlib import Path

from slimedge.errors import RunError, UnavailableError
from slimedge.isolation import run_isolated

PACKAGE = "tflite_micro"
_TOTAL = re.compile(r"Arena allocation total (\d+) bytes")


def require() -> None:
    """Raise where TFLite Micro is not installed.

    Raises:
        UnavailableError: it is not.
    """
    if find_spec(PACKAGE) is None:
        raise UnavailableError(
            "the memory of a microcontroller is counted by TFLite Micro, which is not installed; pip install "
            "'slimedge[mcu]'."
        )


def arena_bytes(path: Path) -> int:
    """Give the bytes of the tensor arena that a file needs in TFLite Micro, of 64-bit pointers as on this machine.

    Args:
        path: of a `.tflite` file with a fixed batch.

    Raises:
        UnavailableError: TFLite Micro is not installed.
        RunError: it refuses the file: an operator that it does not have, most often.
    """
    require()
    told = run_isolated(
        "slimedge.runtime.arena:allocated", {"path": str(path)}, label=f"TFLite Micro with {path.name}"
    ).result
    found = _TOTAL.search(told)
    if found is None:
        reason = " ".join(told.split())[:200] or "it says nothing"
        raise RunError(
            f"TFLite Micro does not take {path.name} ({reason}); export what it has operators for."
        )
    return int(found[1])


def allocated(path: str) -> str:
    """Give what TFLite Micro prints of its allocations; runs in a process of its own, since it prints from C."""
    from tflite_micro.python.tflite_micro import runtime

    with tempfile.TemporaryFile() as told:
        before = os.dup(2)
        os.dup2(told.fileno(), 2)
        try:
            runtime.Interpreter.from_bytes(Path(path).read_bytes()).print_allocations()
        except Exception as error:  # noqa: BLE001 - what it refuses is told by its text
            os.write(2, f" {error}".encode())
        finally:
            os.dup2(before, 2)
            os.close(before)
        told.seek(0)
        return told.read().decode(errors="replace")
