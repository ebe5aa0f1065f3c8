"""The training loop: compiled steps, keepers around them, and an end that can be gone back to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.fitting import checkpoints, machines, strategies
from slimedge.compress.fitting.batches import Batches
from slimedge.compress.fitting.held_out import HeldOut
from slimedge.compress.fitting.optimizers import optimizer_of
from slimedge.compress.fitting.steps import Steps
from slimedge.errors import InputError
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras

    from slimedge.compress.fitting.aims import Aim
    from slimedge.compress.fitting.keepers import Keeper
    from slimedge.compress.fitting.settings import FitSettings
    from slimedge.data import Data


@dataclass(frozen=True, slots=True)
class Fitted:
    """How a training went.

    Attributes:
        epoch_losses: the mean loss of each epoch.
        step_losses: the loss before each step.
        held_out_losses: after each epoch, on the examples that were held out; empty without.
        best_epoch: whose weights were kept, from 1; the last one where nothing was held out.
    """

    epoch_losses: tuple[float, ...]
    step_losses: tuple[float, ...]
    held_out_losses: tuple[float, ...] = ()
    best_epoch: int = 0

    def told(self) -> dict[str, Any]:
        """Give what a lineage says of it."""
        held_out = {"held_out_losses": list(self.held_out_losses), "best_epoch": self.best_epoch}
        return {"epoch_losses": list(self.epoch_losses), **(held_out if self.held_out_losses else {})}


def fit(
    model: keras.Model,
    aim: Aim,
    data: Data,
    settings: FitSettings,
    *,
    keepers: Sequence[Keeper] = (),
    progress: Progress = silent,
) -> Fitted:
    """Train a model in place.

    Within `slimedge.compress.fitting.checkpoints.kept_in`, a training that was stopped goes on where it was.

    Args:
        model: it takes its inputs as a list, and gives what the aim compares; made within
            `slimedge.compress.fitting.strategies.within` of the settings' strategy.
        aim: what it is trained for.
        data: bound to its inputs.
        settings: checked.
        keepers: what is done around each step, in this order.
        progress: told the epoch, the loss and the accuracy, and the share of the steps that are done.

    Returns:
        How it went.

    Raises:
        CheckError: the loss became NaN or infinite, or a keeper says that something is lost.
        InputError: the model has no weight that trains, or the batch cannot be shared among the devices.
    """
    if not model.trainable_variables:
        raise InputError(
            f"no layer of model '{model.name}' is trainable, so there is nothing to train; set layer.trainable = True."
        )
    return _Training(model, aim, data, settings, keepers, progress).run()


class _Training:
    """One call of `fit`."""

    def __init__(
        self,
        model: keras.Model,
        aim: Aim,
        data: Data,
        settings: FitSettings,
        keepers: Sequence[Keeper],
        progress: Progress,
    ) -> None:
        self._model, self._settings, self._keepers, self._progress = model, settings, tuple(keepers), progress
        self._strategy = strategy = strategies.for_settings(settings)
        trained, held_out = _parted(data, settings)
        self._batches = Batches(trained, settings.batch_size, aim, seed=settings.seed, epochs=settings.epochs)
        _check_size(min(settings.batch_size, len(trained)), strategy)
        self._held_out = None
        if held_out is not None:
            batches = Batches(
                held_out, settings.batch_size, aim, seed=settings.seed, epochs=settings.epochs + 1
            )
            self._held_out = HeldOut(model, aim, batches, settings.patience, strategy)
        self._count = settings.epochs * len(self._batches)
        with strategies.scope(strategy):
            self._optimizer = optimizer_of(settings, self._count)
            self._optimizer.build(model.trainable_variables)
            for keeper in self._keepers:
                keeper.start(model)
                keeper.optimizing(self._optimizer)
        self._steps = Steps(model, self._optimizer, aim, self._keepers, strategy)
        self._losses: list[float] = []
        self._done = 0
        self._checkpoint = _checkpoint(model, data, settings, self._keepers)

    def run(self) -> Fitted:
        with machines.watched(self._strategy):
            self._run()
        per_epoch = len(self._batches)
        if not all(np.isfinite(np.asarray(one)).all() for one in self._model.trainable_variables):
            raise self._settings.diverged("the last step made weights that are not finite")
        for keeper in self._keepers:
            keeper.check()
        means = [
            float(np.mean(self._losses[start : start + per_epoch]))
            for start in range(0, len(self._losses), per_epoch)
        ]
        held_out = self._held_out
        return Fitted(
            tuple(means),
            tuple(self._losses),
            () if held_out is None else tuple(held_out.losses),
            len(means) if held_out is None else held_out.best + 1,
        )

    def _run(self) -> None:
        if not self._resume():
            for epoch in range(self._done // len(self._batches), self._settings.epochs):
                if self._held_out is not None and not self._held_out.patient:
                    break
                self._epoch(epoch)
            self._write(finished=True)
        if self._held_out is not None:
            self._held_out.restore()

    def _epoch(self, epoch: int) -> None:
        per_epoch = len(self._batches)
        of_all = f"training, epoch {epoch + 1} of {self._settings.epochs}"
        right: list[float] = []
        for batch in self._batches.epoch(epoch, self._done - epoch * per_epoch):
            for keeper in self._keepers:
                keeper.before(self._done, self._count)
            loss, accuracy = self._steps(batch, training=all(keeper.training for keeper in self._keepers))
            self._done += 1
            if not math.isfinite(loss):
                raise self._settings.diverged(f"the loss became {loss} in step {self._done} of {self._count}")
            self._losses.append(loss)
            right += [] if accuracy is None else [accuracy]
            shown = f", accuracy {100 * np.mean(right[-per_epoch:]):.1f} %" if right else ""
            self._progress(f"{of_all}, loss {loss:.4f}{shown}{self._last_look()}", self._done / self._count)
            if self._checkpoint is not None and self._checkpoint.due and self._done % per_epoch:
                self._write()
        if self._held_out is not None:
            self._held_out.look()
        if self._checkpoint is not None and self._done < self._count:
            self._write()

    def _last_look(self) -> str:
        seen = [] if self._held_out is None else self._held_out.losses
        return f", held-out loss {seen[-1]:.4f}" if seen else ""

    def _write(self, *, finished: bool = False) -> None:
        if self._checkpoint is None or not machines.is_first(self._strategy):
            return
        state: dict[str, NDArray[Any]] = {
            "done": np.asarray(self._done),
            "finished": np.asarray(finished),
            "losses": np.asarray(self._losses),
        }
        state |= {f"model_{index}": np.asarray(one) for index, one in enumerate(self._model.variables)}
        state |= {
            f"optimizer_{index}": np.asarray(one) for index, one in enumerate(self._optimizer.variables)
        }
        for index, keeper in enumerate(self._keepers):
            state |= _prefixed(f"keeper_{index}_", keeper.state())
        if self._held_out is not None:
            state |= _prefixed("held_out_", self._held_out.state())
        self._checkpoint.write(state)

    def _resume(self) -> bool:
        """Take up what was written before; whether that was the end."""
        if self._checkpoint is None:
            return False
        state = machines.of_first(self._strategy, self._checkpoint.read())
        if state is None:
            return False
        for kind, variables in (("model", self._model.variables), ("optimizer", self._optimizer.variables)):
            for index, variable in enumerate(variables):
                variable.assign(state[f"{kind}_{index}"])
        self._done, self._losses = int(state["done"]), [float(loss) for loss in state["losses"]]
        for index, keeper in enumerate(self._keepers):
            keeper.set_state(_unprefixed(f"keeper_{index}_", state))
        if self._held_out is not None:
            self._held_out.set_state(_unprefixed("held_out_", state))
        return bool(state["finished"])


def _parted(data: Data, settings: FitSettings) -> tuple[Data, Data | None]:
    """Give what is trained on and what is held out."""
    if not settings.validation:
        return data, None
    parts = data.split(seed=settings.seed, calibration=0, evaluation=float(settings.validation))
    if not len(parts.training) or not len(parts.evaluation):
        raise InputError(
            f"of {len(data)} examples validation={settings.validation:g} holds out {len(parts.evaluation)}, and "
            f"{len(parts.training)} are left to train on; give another share, or more examples."
        )
    return parts.training, parts.evaluation


def _check_size(size: int, strategy: Any) -> None:
    devices = 1 if strategy is None else strategy.num_replicas_in_sync
    if size % devices:
        raise InputError(
            f"a batch of {size} examples cannot be shared evenly among {devices} devices; give a batch_size that is a "
            f"multiple of {devices}."
        )


def _checkpoint(
    model: keras.Model, data: Data, settings: FitSettings, keepers: Sequence[Keeper]
) -> checkpoints.Checkpoint | None:
    kept = checkpoints.current()
    if kept is None:
        return None
    plain = {each.name: getattr(settings, each.name) for each in fields(settings)}
    start = {
        **{name: value for name, value in plain.items() if isinstance(value, str | int | float | None)},
        **settings.told(),
        "keepers": [type(keeper).__name__ for keeper in keepers],
        "data": data.fingerprint,
    }
    return kept.next(start, [np.asarray(variable) for variable in model.variables])


def _prefixed(prefix: str, state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {prefix + name: array for name, array in state.items()}


def _unprefixed(prefix: str, state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}


KeepersOf = Callable[["keras.Model"], Sequence["Keeper"]]
