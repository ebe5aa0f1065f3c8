"""The training loop: a step that is compiled, a cosine schedule, and the moment when ranges stay."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from slimedge.compress.qat.constraints import Projection
from slimedge.compress.qat.goals import Goal
from slimedge.compress.qat.layers import TrainedNorm, TrainedRange
from slimedge.compress.qat.schedule import cosine
from slimedge.compress.qat.settings import Settings
from slimedge.errors import CheckError, InputError
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    from slimedge.data import Data


def fit(
    model: keras.Model,
    goals: Sequence[Goal],
    data: Data,
    settings: Settings,
    *,
    teach: Callable[[list[Any]], list[Any]],
    labels_of: Callable[[Data], Mapping[str, NDArray[Any]]],
    progress: Progress = silent,
) -> tuple[float, ...]:
    """Train a model in place.

    Args:
        model: of a `Training` graph; it takes its inputs as a list.
        goals: one for each of its outputs.
        data: bound to its inputs.
        settings: checked.
        teach: gives the float model's outputs for a list of inputs.
        labels_of: gives the labels of data by output name.
        progress: told the epoch, the loss, and the share of the steps that are done.

    Returns:
        The mean loss of each epoch.

    Raises:
        CheckError: the loss became NaN or infinite, or a constraint does not hold at the end.
        InputError: the model has no weight that trains.
    """
    variables = model.trainable_variables
    if not variables:
        raise InputError(
            f"no layer of model '{model.name}' is trainable, so there is nothing to train; set layer.trainable = True."
        )
    size = min(settings.batch_size, len(data))
    per_epoch = len(data) // size
    steps = settings.epochs * per_epoch
    optimizer = keras.optimizers.Adam(cosine(keras.optimizers.schedules, settings.learning_rate, steps))
    optimizer.build(variables)
    losses_of = [goal.loss() for goal in goals]
    held = _Held(model, settings)
    following = [layer for layer in model.layers if isinstance(layer, TrainedRange)]
    freezing = [layer for layer in model.layers if isinstance(layer, TrainedRange | TrainedNorm)]

    def compiled(*, frozen: bool) -> Any:
        @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator, unused-ignore]
        def step(feeds: list[Any], targets: list[Any]) -> Any:
            with tf.GradientTape() as tape:
                made = keras.tree.flatten(model(feeds, training=not frozen))
                loss = tf.add_n(
                    [
                        loss_of(one, target)
                        for loss_of, one, target in zip(losses_of, made, targets, strict=True)
                    ]
                )
            gradients = tape.gradient(loss, variables)
            pairs = [pair for pair in zip(gradients, variables, strict=True) if pair[0] is not None]
            if pairs:  # ranges that stay have none, and they may be all that trains
                optimizer.apply(*map(list, zip(*pairs, strict=True)))
            held.project()
            for layer in following:
                layer.follow()
            return loss

        return step

    def freeze() -> Any:
        for layer in freezing:
            layer.frozen = True
        return compiled(frozen=True)

    done, history = 0, []
    freeze_at = math.ceil(settings.freeze_after * steps)
    step = compiled(frozen=False)
    for epoch in range(settings.epochs):
        losses = []
        for feeds, labels in _batches(data, size, (settings.seed, epoch), labels_of):
            if done == freeze_at:
                step = freeze()
            exact = teach(feeds) if any(goal.position is not None for goal in goals) else []
            targets = [
                labels[str(goal.label)] if goal.position is None else exact[goal.position] for goal in goals
            ]
            loss = float(step(feeds, targets))
            done += 1
            if not math.isfinite(loss):
                raise settings.diverged(f"the loss became {loss} in step {done} of {steps}")
            losses.append(loss)
            progress(f"training, epoch {epoch + 1} of {settings.epochs}, loss {loss:.4f}", done / steps)
        history.append(float(np.mean(losses)))
    if not all(np.isfinite(variable.numpy()).all() for variable in variables):
        raise settings.diverged("the last step made weights that are not finite")
    held.check()
    return tuple(history)


def _batches(
    data: Data,
    size: int,
    seed: tuple[int, int],
    labels_of: Callable[[Data], Mapping[str, NDArray[Any]]],
) -> Iterator[tuple[list[Any], dict[str, NDArray[Any]]]]:
    """Give whole batches in the order of this epoch; what is left of it comes in another one."""
    order = int(np.random.SeedSequence(seed).generate_state(1)[0])
    shuffled = data.take(len(data), seed=order)
    labels = labels_of(shuffled)
    names = data.input_names
    for index, (inputs, _) in enumerate(shuffled.batches(size)):
        rows = slice(index * size, (index + 1) * size)
        feeds = [tf.convert_to_tensor(inputs[name]) for name in names]
        if len(feeds[0]) == size:
            yield feeds, {name: array[rows] for name, array in labels.items()}


class _Held:
    """The constraints on the weights of one model."""

    def __init__(self, model: keras.Model, settings: Settings) -> None:
        self._held: list[tuple[Any, NDArray[np.float32]]] = []
        self._projections: list[tuple[Any, Projection]] = []
        self._constraints = settings.constraints
        for variable in model.trainable_variables if settings.constraints else ():
            if len(variable.shape) < 2 or variable.name.endswith("_exponent"):
                continue
            start = variable.numpy().copy()
            self._held.append((variable, start))
            found = (constraint.projection(start) for constraint in settings.constraints)
            self._projections += [(variable, project) for project in found if project is not None]

    def project(self) -> None:
        """Put each weight back to what is allowed."""
        for variable, project in self._projections:
            variable.assign(project(variable.value))

    def check(self) -> None:
        """Compare each weight with what it was at the start.

        Raises:
            CheckError: a constraint does not hold.
        """
        for variable, start in self._held:
            for constraint in self._constraints:
                lost = constraint.broken(start, variable.numpy())
                if lost:
                    raise CheckError(
                        f"training changed what it had to keep: of weight '{variable.path}' {lost}; nothing was kept."
                    )
