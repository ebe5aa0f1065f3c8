"""The engine of this package: Keras 3 in the user's process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimedge.compress.fitting.fine_tuning import fine_tuned
from slimedge.compress.sparsity.engines import Pruned
from slimedge.compress.sparsity.masks import MaskKeeper, Masks

if TYPE_CHECKING:
    import keras

    from slimedge.compress.fitting.settings import FitSettings
    from slimedge.compress.sparsity.places import Place
    from slimedge.compress.sparsity.plan import Plan
    from slimedge.data import Data
    from slimedge.progress import Progress


def prune(
    model: keras.Model,
    places: list[Place],
    data: Data,
    plan: Plan,
    settings: FitSettings,
    progress: Progress,
) -> Pruned:
    """Prune weights while a copy of the model trains; see `slimedge.compress.sparsity.engines.Engine`.

    Raises:
        InputError: there is nothing to train for.
        CheckError: the loss became NaN, or a pruned weight is not 0 at the end.
    """

    def masks_of(network: keras.Model) -> Masks:
        return plan.masks([place.within(network) for place in places])

    keeper = MaskKeeper(masks_of, plan.schedule_for, plan.final)
    done = fine_tuned(
        model,
        None if settings.loss is not None else model,
        data,
        settings,
        keepers_of=lambda _: (keeper,),
        progress=progress,
    )
    return Pruned(done.model, done.epoch_losses)
