"""Pruning within a training of the user's own: a Keras callback."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras

from slimedge.compress.sparsity.masks import Growth, Masks
from slimedge.compress.sparsity.plan import SPARSITY, Plan
from slimedge.errors import InputError


class PruningCallback(keras.callbacks.Callback):
    """Prunes a model while `model.fit` trains it.

    After each batch what is pruned is set to 0 again, in the weights and in what the optimizer remembers of them
    (momentum and the like), so that it stays 0 whatever the optimizer. Weights that are 0 when training starts stay so.

    Args:
        sparsity: as of `slimedge.compress.pruning.prune`.
        pattern: likewise.
        ranking: likewise.
        schedule: likewise.
        layers: likewise.
        exclude: likewise.
        steps: batches of the whole training; None where `fit` knows it, as it does for arrays.

    Raises:
        InputError: as of `prune`, when training starts where it is about the model.

    Example:
        >>> import keras, numpy as np
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="dense")])
        >>> model.compile("adam", "mse")
        >>> pruning = PruningCallback(sparsity=0.75)
        >>> _ = model.fit(np.ones((64, 8)), np.ones((64, 4)), verbose=0, callbacks=[pruning])
        >>> float(np.mean(model.get_layer("dense").kernel.numpy() == 0))
        0.75
    """

    def __init__(
        self,
        sparsity: float = SPARSITY,
        *,
        pattern: str = "unstructured",
        ranking: str = "layer",
        schedule: str = "polynomial",
        layers: Collection[str] = (),
        exclude: Collection[str] = (),
        steps: int | None = None,
    ) -> None:
        super().__init__()
        self._plan = Plan(sparsity, pattern, ranking, schedule, tuple(layers), tuple(exclude))
        self._steps, self._done = steps, 0
        self._masks: Masks | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Find the weights, and what the optimizer remembers of each."""
        del logs
        steps, epochs = self.params.get("steps"), self.params.get("epochs")
        whole = self._steps or (steps * epochs if steps and epochs else None)
        if whole is None:
            raise InputError(
                "fit does not know how many batches the data has, and sparsity grows over them; give the callback "
                "steps=, the batches of all epochs together."
            )
        self._done = 0
        self._masks = self._plan.masks(self._plan.weights(self.model)[0])
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is not None:
            if not optimizer.built:
                optimizer.build(self.model.trainable_variables)
            self._masks.watch(optimizer, self.model.trainable_variables)
        self._growth = Growth(self._masks, self._plan.schedule_for(whole), self._plan.final, whole)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Grow the masks where it is time."""
        del batch, logs
        self._growth.before(self._done)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Set what is pruned to 0 again."""
        del batch, logs
        self._done += 1
        self._hold()

    def on_train_end(self, logs: Any = None) -> None:
        """Look whether all that is pruned is 0.

        Raises:
            CheckError: something is not.
        """
        del logs
        self._hold()
        if self._masks is not None:
            self._masks.check()

    def _hold(self) -> None:
        if self._masks is not None:
            self._masks.apply()
            self._masks.forget()
