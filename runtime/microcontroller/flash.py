"""How much flash a TFLite file takes on a microcontroller, which reads it in place."""

from __future__ import annotations

from dataclasses import dataclass

# The constant with the file's length beside it, an unsigned int.
LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Flash:
    """What a model takes in flash.

    The code of the runtime and its kernels comes on top and is not counted: it depends on the compiler, the chip's
    kernels and the operators that are linked.

    Attributes:
        model_bytes: of the file itself.
        c_array_bytes: of what its C array compiles to, the file and a constant with its length; a compiler may add some
            bytes between them.
        code_bytes: None, as it is not known here.
    """

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
