"""What an engine of pruning is: who prunes and trains, and what of the plan it leaves no choice in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import keras

    from slimedge.compress.fitting.settings import FitSettings
    from slimedge.compress.sparsity.places import Place
    from slimedge.compress.sparsity.plan import Plan
    from slimedge.data import Data
    from slimedge.progress import Progress


@dataclass(frozen=True, slots=True)
class Pruned:
    """What pruning gave.

    Attributes:
        model: with the inputs, outputs and names of the one that was given.
        epoch_losses: the mean loss of each epoch of fine-tuning.
        left_dense: by the path of each weight that could not be pruned, the reason.
        told: what else the lineage shall say, as JSON values.
    """

    model: keras.Model
    epoch_losses: tuple[float, ...] = ()
    left_dense: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """Prunes weights of a canonical float model while it is fine-tuned towards its own outputs or labels."""

    def __call__(
        self,
        model: keras.Model,
        places: list[Place],
        data: Data,
        plan: Plan,
        settings: FitSettings,
        progress: Progress,
        /,
    ) -> Pruned:
        """Give a new model; the data is bound to the one that was given, which stays as it is."""
