"""Calibration observers: each sees a stream of batches and gives the range of one tensor.

All use constant memory, whatever the number of batches, and give the same range however the stream is cut into
batches. A new observer is a file with a class and a line in `OBSERVERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from numpy.typing import NDArray

from slimedge.errors import InputError
from slimedge.registry import Registry

OBSERVERS = Registry(
    "observer",
    {
        "minmax": "slimedge.compress.observers.minmax:MinMax",
        "moving_average": "slimedge.compress.observers.moving_average:MovingAverage",
        "percentile": "slimedge.compress.observers.percentile:Percentile",
        "entropy": "slimedge.compress.observers.entropy:Entropy",
        "mse": "slimedge.compress.observers.mse:Mse",
    },
)


class Observer(Protocol):
    """Sees batches of one tensor, then tells its range.

    A class in `OBSERVERS` is made with the bits of the integers, and with its setting where it has one.
    """

    setting: ClassVar[Setting | None]

    def update(self, batch: NDArray[Any]) -> None:
        """See one more batch (examples first; float32; at least one value, all of them finite)."""

    def range(self) -> tuple[float, float]:
        """Give the lowest and highest real value of the range; infinity and minus infinity before any batch."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The number that may stand behind an observer's name.

    Attributes:
        meaning: what it is, for messages.
        above: smallest value, not allowed itself.
        most: largest value, allowed.
        example: a usual one.
    """

    meaning: str
    above: float
    most: float
    example: float


def maker(given: str) -> Callable[[int], Observer]:
    """Give the function that makes an observer for integers of so many bits.

    Args:
        given: a name in `OBSERVERS`, with a setting behind a colon where the observer has one.

    Raises:
        InputError: no such observer, or a setting that it does not take.

    Example:
        >>> maker("percentile:99.9")(8)
        Percentile(bits=8, percentile=99.9)
    """
    name, colon, text = given.partition(":")
    kind: Callable[..., Observer] = OBSERVERS[name]
    if not colon:
        return kind
    value = _number(name, text, OBSERVERS[name].setting)
    return lambda bits: kind(bits, value)


def _number(name: str, text: str, setting: Setting | None) -> float:
    if setting is None:
        raise InputError(f"observer '{name}:{text}' has a setting and {name} takes none; give '{name}'.")
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not setting.above < value <= setting.most:
        raise InputError(
            f"observer '{name}:{text}' is not allowed; {setting.meaning} is a number over {setting.above:g}, at most "
            f"{setting.most:g}, as in '{name}:{setting.example:g}'."
        )
    return value
