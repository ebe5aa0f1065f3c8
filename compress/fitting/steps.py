"""One compiled step of training: gradients, the optimizer, and what keepers do in between; on one device or several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from slimedge.compress.fitting.aims import Aim
from slimedge.compress.fitting.batches import Batch
from slimedge.compress.fitting.keepers import Keeper

Told = tuple[float, float | None]


class Steps:
    """Steps of one training.

    Args:
        model: it takes its inputs as a list, and gives what the aim compares.
        optimizer: built.
        aim: what is trained for.
        keepers: what is done around each step, in this order.
        strategy: whose devices each take a part of every batch; None for one device.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: Any,
        aim: Aim,
        keepers: Sequence[Keeper],
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        self._model, self._optimizer, self._aim = model, optimizer, aim
        self._keepers, self._strategy = tuple(keepers), strategy
        self._variables = model.trainable_variables
        self._compiled: dict[bool, Callable[..., Any]] = {}

    def __call__(self, batch: Batch, *, training: bool) -> Told:
        """Take a step.

        Args:
            batch: of all devices together.
            training: whether the model is called as in training.

        Returns:
            The loss before the step, and the share of right classes where there are some.
        """
        if training not in self._compiled:
            make = self._alone if self._strategy is None else self._together
            self._compiled = {training: make(training=training)}  # the other one does not come back
        loss, accuracy = self._compiled[training](batch)
        return float(loss), None if accuracy is None else float(accuracy)

    def _found(self, feeds: list[Any], taught: list[Any], labels: dict[str, Any], *, training: bool) -> Any:
        """Loss, accuracy, and the gradient of each variable; None where it has no part in the loss."""
        scaled = getattr(self._optimizer, "scale_loss", lambda loss: loss)
        with tf.GradientTape() as tape:
            made = [_single(one) for one in keras.tree.flatten(self._model(feeds, training=training))]
            loss = self._aim.loss(made, taught, labels)
            aimed_at = scaled(loss)
        accuracy = self._aim.accuracy(made, labels)
        found = tape.gradient(aimed_at, self._variables)
        # That of a table comes as the rows in use, as often as they are: Adam would square each of them alone.
        gradients = [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in found]
        return loss, accuracy, gradients

    def _apply(self, gradients: Sequence[Any]) -> None:
        pairs = [
            (self._kept(variable, gradient), variable)
            for gradient, variable in zip(gradients, self._variables, strict=True)
            if gradient is not None
        ]
        if pairs:  # ranges that stay have none, and they may be all that trains
            self._optimizer.apply(*map(list, zip(*pairs, strict=True)))

    def _project(self) -> None:
        for keeper in self._keepers:
            keeper.project()

    def _kept(self, variable: Any, gradient: Any) -> Any:
        for keeper in self._keepers:
            gradient = keeper.gradient(variable, gradient)
        return gradient

    def _alone(self, *, training: bool) -> Callable[[Batch], Any]:
        @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator, unused-ignore]
        def step(feeds: list[Any], taught: list[Any], labels: dict[str, Any]) -> Any:
            loss, accuracy, gradients = self._found(feeds, taught, labels, training=training)
            self._apply(gradients)
            self._project()
            return loss, accuracy

        return lambda batch: step(batch.feeds, batch.taught, batch.labels)

    def _together(self, *, training: bool) -> Callable[[Batch], Any]:
        """Each device finds the gradients of its part, and the mean of them moves the weights of all alike."""
        strategy = self._strategy
        assert strategy is not None  # noqa: S101 - for the type checker; see __call__
        devices = strategy.num_replicas_in_sync
        _leave_gradients_alone(self._optimizer)

        def local(part: Any) -> Any:
            loss, accuracy, gradients = self._found(*part, training=training)
            told = [loss] if accuracy is None else [loss, accuracy]
            there = [gradient for gradient in gradients if gradient is not None]
            context = tf.distribute.get_replica_context()
            means = context.all_reduce(tf.distribute.ReduceOp.MEAN, [*told, *there])
            common = iter(means[len(told) :])
            self._apply([None if gradient is None else next(common) for gradient in gradients])
            return tuple(means[: len(told)])

        @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator, unused-ignore]
        def step(parts: Any) -> Any:
            told = strategy.run(local, args=(parts,))
            self._project()
            return [strategy.experimental_local_results(one)[0] for one in told]

        def split(batch: Batch) -> Any:
            size = len(batch) // devices

            def part(context: Any) -> Any:
                rows = slice(
                    context.replica_id_in_sync_group * size, (context.replica_id_in_sync_group + 1) * size
                )
                cut = keras.tree.map_structure(
                    lambda array: tf.convert_to_tensor(array)[rows], (batch.feeds, batch.taught, batch.labels)
                )
                return tuple(cut)

            with strategy.scope():
                loss, *accuracy = step(strategy.experimental_distribute_values_from_function(part))
            return loss, (accuracy[0] if accuracy else None)

        return split


def _leave_gradients_alone(optimizer: Any) -> None:
    """Keep an optimizer from adding up the gradients of all devices: it gets their mean, and clips what one would."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    inner._all_reduce_sum_gradients = list  # noqa: SLF001 - Keras has no other way to tell it


def _single(made: Any) -> Any:
    """Losses are told in float32, whatever layers compute in."""
    return tf.cast(made, tf.float32) if made.dtype in (tf.float16, tf.bfloat16) else made
