"""How the sparsity grows while a model trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from slimedge.errors import InputError

# Share of the steps at whose end a growing sparsity is where it shall be; the rest makes up for it.
GROWN_AT = 0.5
ALLOWED = (
    "'polynomial' (or with a power, 'polynomial:2'), 'cubic', 'constant' (or from a share of the steps on, "
    "'constant:0.2'), or 'one_shot'"
)


class Schedule(Protocol):
    """From a step to the sparsity that it trains with."""

    def at(self, step: int) -> float:
        """Give the sparsity of a step, the first one being 0."""


@dataclass(frozen=True, slots=True)
class Constant:
    """Dense until `begin`, then at once as sparse as it shall be (TFMOT's ConstantSparsity)."""

    sparsity: float
    begin: int = 0

    def at(self, step: int) -> float:
        """Give the sparsity of a step."""
        return self.sparsity if step >= self.begin else 0.0


@dataclass(frozen=True, slots=True)
class Polynomial:
    """Fast at first, then slower; TFMOT's PolynomialDecay.

    final + (initial - final) · (1 - p)^power, where p goes from 0 at `begin` to 1 at `end`.

    Reference: Zhu and Gupta, 2017, "To prune, or not to prune", equation 1, where the power is 3.
    """

    initial: float
    final: float
    begin: int
    end: int
    power: float = 3.0

    def at(self, step: int) -> float:
        """Give the sparsity of a step.

        Example:
            >>> [round(Polynomial(0.0, 0.8, 0, 4).at(step), 4) for step in (0, 1, 2, 4, 9)]
            [0.0, 0.4625, 0.7, 0.8, 0.8]
        """
        grown = self.end - self.begin
        past = (step - self.begin) / grown if grown > 0 else float(step >= self.begin)
        left = 1 - min(max(past, 0.0), 1.0)
        return self.final + (self.initial - self.final) * float(left**self.power)


def check_schedule(name: str) -> None:
    """Refuse a name that is none of a schedule.

    Raises:
        InputError: it is not.
    """
    schedule_of(name, 0.5, 1)


def schedule_of(name: str, sparsity: float, steps: int, *, initial: float = 0.0) -> Schedule:
    """Give a schedule by its name.

    Args:
        name: `one_shot`, `constant` with the share of the steps before it, `cubic`, or `polynomial` with its power.
        sparsity: at the end.
        steps: of the whole training.
        initial: where a growing sparsity starts.

    Raises:
        InputError: there is none of it.

    Example:
        >>> schedule_of("constant:0.2", 0.5, 10)
        Constant(sparsity=0.5, begin=2)
    """
    kind, _, setting = name.partition(":")
    try:
        number = float(setting) if setting else None
    except ValueError:
        number = -1.0
    if name == "one_shot":
        return Constant(sparsity)
    if kind == "constant" and (number is None or 0 <= number < 1):
        return Constant(sparsity, int((number or 0.0) * steps))
    if name == "cubic" or (kind == "polynomial" and (number is None or 0 < number < float("inf"))):
        return Polynomial(initial, sparsity, 0, round(GROWN_AT * steps), number or 3.0)
    raise InputError(f"schedule={name!r} is not allowed; give {ALLOWED}.")
