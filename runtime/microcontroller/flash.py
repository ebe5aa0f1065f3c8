"""How much flash a TFLite file takes on a microcontroller, where it is run from as it lies there."""

from __future__ import annotations

from dataclasses import dataclass

# TFLite Micro reads weights in place and needs the file at an address that this divides.
ALIGNMENT_BYTES = 16
# The constant with the file's length beside it, an unsigned int.
LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Flash:
    """What the model takes in flash. The code of the runtime and its kernels comes on top and is not counted: it depends
    on the compiler, the chip's kernels and the operators that are linked.

    Attributes:
        model_bytes: of the file itself.
        c_array_bytes: of the read-only data that its C array compiles to: the file and a constant with its length.
        code_bytes: None, as it is not known here.
    """  # noqa: D205 - one thought

    model_bytes: int
    c_array_bytes: int
    code_bytes: int | None = None


def flash(model_bytes: int) -> Flash:
    """Count the flash for a file of so many bytes.

    Example:
        >>> flash(1001)
        Flash(model_bytes=1001, c_array_bytes=1005, code_bytes=None)
    """
    return Flash(model_bytes, model_bytes + LENGTH_BYTES)
