"""Layers of a student beside the layers of a teacher whose features they learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slimedge.compress.distilling import features
from slimedge.compress.distilling.settings import Shares
from slimedge.errors import InputError
from slimedge.graph import Graph

Loss = Callable[[Any, Any], Any]
Shape = Sequence[int | None]

# Which weight of `Shares` each kind has, and what it makes small.
KINDS: Mapping[str, tuple[str, Loss]] = {
    "hints": ("hint_weight", features.hint),
    "attention": ("attention_weight", features.attention),
    "relations": ("relation_weight", features.relations),
}
WITH_PLACES = 3  # axes of (k, places, channels)
MAP = 4  # of (k, height, width, channels)


@dataclass(frozen=True, slots=True)
class Pair:
    """One layer of the student and one of a teacher.

    Attributes:
        kind: a name in `KINDS`.
        ours: the student's layer.
        theirs: the teacher's.
        teacher: place of the teacher.
        place: among the layers of that teacher that are asked for.
        weight: of the loss.
    """

    kind: str
    ours: str
    theirs: str
    teacher: int
    place: int
    weight: float

    @property
    def loss(self) -> Loss:
        """What is made small, of (made, taught)."""
        return KINDS[self.kind][1]

    def check(self, made: Shape, taught: Shape) -> None:
        """Refuse features that cannot be compared.

        Raises:
            InputError: they have other axes, places that cannot be brought together, or none that attention needs, or
                hints from channels whose number is open.
        """
        if self.kind == "attention" and min(len(made), len(taught)) < WITH_PLACES:
            raise InputError(
                f"layer '{self.ours}' of the student gives {tuple(made)} and layer '{self.theirs}' of the teacher "
                f"{tuple(taught)}, and attention needs places, as height and width; name other layers, or hints."
            )
        maps = len(made) == len(taught) == MAP
        same = len(made) == len(taught) and tuple(made[1:-1]) == tuple(taught[1:-1])
        open_channels = self.kind == "hints" and None in {made[-1], taught[-1]}
        if self.kind != "relations" and (open_channels or not (maps or same)):
            raise InputError(
                f"layer '{self.ours}' of the student gives {tuple(made)} and layer '{self.theirs}' of the teacher "
                f"{tuple(taught)}, which {self.kind} cannot compare; name layers with as many axes and places."
            )


def pairs_of(shares: Shares, teachers: Sequence[Graph]) -> list[Pair]:
    """Give the pairs that were named, each with the first teacher that has the layer.

    Args:
        shares: with names.
        teachers: their graphs.

    Raises:
        InputError: there are no teachers.
    """
    named = [
        (kind, getattr(shares, weight), ours, theirs)
        for kind, (weight, _) in KINDS.items()
        for ours, theirs in getattr(shares, kind).items()
    ]
    if named and not teachers:
        raise InputError(
            "layers of a teacher were named, and there is no teacher; give one, or leave them out."
        )
    known = [{name for node in graph.nodes for name in (node.layer.name, node.source)} for graph in teachers]
    found: list[Pair] = []
    for kind, weight, ours, theirs in named:
        owner = next((place for place, names in enumerate(known) if theirs in names), 0)
        place = sum(pair.teacher == owner for pair in found)
        found.append(Pair(kind, ours, theirs, owner, place, weight))
    return found
