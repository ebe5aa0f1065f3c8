"""The training loop: a step that is compiled, a cosine schedule, and keepers around both."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from slimedge.compress.fitting.goals import Goal
from slimedge.compress.fitting.keepers import Keeper
from slimedge.compress.fitting.schedule import cosine
from slimedge.compress.fitting.settings import FitSettings
from slimedge.compress.fitting.teaching import Teach
from slimedge.errors import InputError
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    from slimedge.data import Data


def fit(
    model: keras.Model,
    goals: Sequence[Goal],
    data: Data,
    settings: FitSettings,
    *,
    teach: Teach,
    labels_of: Callable[[Data], Mapping[str, NDArray[Any]]],
    keepers: Sequence[Keeper] = (),
    progress: Progress = silent,
) -> tuple[float, ...]:
    """Train a model in place.

    Args:
        model: it takes its inputs as a list, and gives what the losses compare.
        goals: one for each of its outputs.
        data: bound to its inputs.
        settings: checked.
        teach: gives the float model's outputs for a list of inputs.
        labels_of: gives the labels of data by output name.
        keepers: what is done around each step, in this order.
        progress: told the epoch, the loss, and the share of the steps that are done.

    Returns:
        The mean loss of each epoch.

    Raises:
        CheckError: the loss became NaN or infinite, or a keeper says that something is lost.
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
    for keeper in keepers:
        keeper.start(model)

    def compiled(*, training: bool) -> Any:
        @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator, unused-ignore]
        def step(feeds: list[Any], targets: list[Any]) -> Any:
            with tf.GradientTape() as tape:
                made = keras.tree.flatten(model(feeds, training=training))
                loss = tf.add_n(
                    [
                        loss_of(one, target)
                        for loss_of, one, target in zip(losses_of, made, targets, strict=True)
                    ]
                )
            gradients = tape.gradient(loss, variables)
            pairs = [
                (_kept(keepers, variable, gradient), variable)
                for gradient, variable in zip(gradients, variables, strict=True)
                if gradient is not None
            ]
            if pairs:  # ranges that stay have none, and they may be all that trains
                optimizer.apply(*map(list, zip(*pairs, strict=True)))
            for keeper in keepers:
                keeper.project()
            return loss

        return step

    done, history = 0, []
    training, step = True, compiled(training=True)
    for epoch in range(settings.epochs):
        losses = []
        for feeds, labels in _batches(data, size, (settings.seed, epoch), labels_of):
            for keeper in keepers:
                keeper.before(done, steps)
            if training != all(keeper.training for keeper in keepers):
                training = not training
                step = compiled(training=training)
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
    for keeper in keepers:
        keeper.check()
    return tuple(history)


def _kept(keepers: Sequence[Keeper], variable: Any, gradient: Any) -> Any:
    for keeper in keepers:
        gradient = keeper.gradient(variable, gradient)
    return gradient


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
