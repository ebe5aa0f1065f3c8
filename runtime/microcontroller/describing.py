"""All that is known of a TFLite file for a microcontroller, before there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slimedge.errors import RunError, UnavailableError
from slimedge.micro_operators import NPU_OPERATOR, operators, resolver_methods, unsupported
from slimedge.runtime.microcontroller.arena import Arena, arena
from slimedge.runtime.microcontroller.flash import Flash, flash


@dataclass(frozen=True, slots=True)
class Description:
    """What a file needs on a microcontroller with TFLite Micro.

    Attributes:
        arena: memory that it runs in; None where it was not counted.
        no_arena: why it was not: operators that are missing, what TFLite Micro says against the file, or how to
            install it; None where it was.
        flash: that it takes.
        operators: names to how often they come.
        unsupported: those of them that TFLite Micro does not have.
        resolver_methods: that add the others to a `MicroMutableOpResolver`.
    """

    arena: Arena | None
    no_arena: str | None
    flash: Flash
    operators: Mapping[str, int]
    unsupported: tuple[str, ...]
    resolver_methods: tuple[str, ...]


def describe(path: Path | str) -> Description:
    """Describe a `.tflite` file for a microcontroller.

    Args:
        path: the file.

    Raises:
        InputError: not a TFLite model, cut off, or damaged.
    """
    path = Path(path)
    found = operators(path)
    lacking = unsupported(found)
    memory, reason = None, None
    if NPU_OPERATOR in found:
        reason = "it is compiled for an NPU, whose operator TFLite Micro runs on the chip only"
    elif lacking:
        reason = f"TFLite Micro does not have {', '.join(lacking)}"
    else:
        try:
            memory = arena(path)
        except (RunError, UnavailableError) as error:
            reason = str(error)
    return Description(
        arena=memory,
        no_arena=reason,
        flash=flash(path.stat().st_size),
        operators=found,
        unsupported=lacking,
        resolver_methods=resolver_methods(found),
    )
