"""Examples that are held out of a training: the loss on them after each epoch, and the weights of the best one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.fitting import machines
from slimedge.compress.fitting.aims import Aim
from slimedge.compress.fitting.batches import Batches

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


class HeldOut:
    """Looks at a model after each epoch, and keeps the weights of the best one.

    Args:
        model: that trains.
        aim: what for.
        batches: of the examples that are held out.
        patience: epochs without a smaller loss after which `patient` is false; None for never.
        strategy: whose machines all look, and agree on what they see; None for one device.

    Attributes:
        losses: after each epoch.
        best: place of the least of them.
    """

    def __init__(
        self,
        model: keras.Model,
        aim: Aim,
        batches: Batches,
        patience: int | None,
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        self._model, self._aim, self._batches, self._patience = model, aim, batches, patience
        self._strategy = strategy
        self._call = self._compiled()
        self._kept: list[NDArray[Any]] = []
        self.losses: list[float] = []

    @property
    def best(self) -> int:
        """The epoch with the least loss, from 0."""
        return int(np.argmin(self.losses))

    @property
    def patient(self) -> bool:
        """Whether it is worth to go on."""
        return self._patience is None or not self.losses or len(self.losses) - 1 - self.best < self._patience

    def look(self) -> tuple[float, float | None]:
        """Give the loss now, and the share of right classes where there are some."""
        sums, seen = np.zeros(2), 0
        accuracy: Any = None
        for batch in self._batches.in_order():
            loss, accuracy = self._call(batch.feeds, batch.taught, batch.labels)
            sums += len(batch) * np.asarray([float(loss), 0.0 if accuracy is None else float(accuracy)])
            seen += len(batch)
        found = sums / seen
        self.losses.append(machines.agreed(self._strategy, float(found[0])))
        if self.best == len(self.losses) - 1:
            self._kept = [np.asarray(variable) for variable in self._model.variables]
        return self.losses[-1], None if accuracy is None else float(found[1])

    def restore(self) -> None:
        """Give the model the weights of the best epoch."""
        for variable, array in zip(self._model.variables, self._kept, strict=True):
            variable.assign(array)

    def state(self) -> dict[str, NDArray[Any]]:
        """Give what has to be known to go on later."""
        kept = {f"best_{index}": array for index, array in enumerate(self._kept)}
        return {"held_out_losses": np.asarray(self.losses), **kept}

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Go on from there."""
        self.losses = [float(loss) for loss in state["held_out_losses"]]
        count = sum(name.startswith("best_") for name in state)
        self._kept = [state[f"best_{index}"] for index in range(count)]

    def _compiled(self) -> Any:
        import keras
        import tensorflow as tf

        @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator, unused-ignore]
        def call(feeds: list[Any], taught: list[Any], labels: dict[str, Any]) -> Any:
            made = [
                tf.cast(one, tf.float32) if one.dtype in (tf.float16, tf.bfloat16) else one
                for one in keras.tree.flatten(self._model(feeds, training=False))
            ]
            return self._aim.loss(made, taught, labels), self._aim.accuracy(made, labels)

        return call
