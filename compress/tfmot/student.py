"""A model that was sent to the process of TFMOT, and its training there; only that process imports this."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from slimedge.compress.fitting.goals import Goal
from slimedge.compress.fitting.losses import FINISH
from slimedge.compress.fitting.schedule import cosine
from slimedge.compress.fitting.settings import FitSettings
from slimedge.compress.tfmot.tf_keras_model import check_same, rebuilt
from slimedge.isolation import tell

# How many of the examples that both Keras see tell whether the model is the same.
COMPARED = 32
BATCH = 128


class Student:
    """What `slimedge.compress.tfmot.sending.write` left in a folder.

    Args:
        folder: with `description.json`, `weights.npz`, and arrays in .npy files: `input_N` to train on, `label_N` for
            the goals that have labels, `few_N` (inputs of some examples) and `expected_N` (the float model's outputs
            for them).

    Attributes:
        description: of the graph.
        few: inputs of some examples.

    Raises:
        InputError: the model cannot be rebuilt, or computes something else.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.description = json.loads((folder / "description.json").read_text())
        self.few = arrays_of(folder, "few")
        self.network = self.rebuilt()
        compared = [array[:COMPARED] for array in self.few]
        expected = [array[:COMPARED] for array in arrays_of(folder, "expected")]
        check_same(self.description, outputs_of(self.network, compared), expected)

    def rebuilt(self) -> Any:
        """Give the float model once more, with variables of its own."""
        with np.load(self._folder / "weights.npz") as arrays:
            return rebuilt(self.description, arrays)

    def fit(
        self,
        trained: Any,
        settings: FitSettings,
        goals: Sequence[Goal],
        after_epoch: Callable[[], None] = lambda: None,
    ) -> list[float]:
        """Train a model in place, towards the outputs of `network` or labels.

        Args:
            trained: what TFMOT made of it.
            settings: checked.
            goals: one for each output.
            after_epoch: called after each.

        Returns:
            The mean loss of each epoch.

        Raises:
            CheckError: the loss became NaN or infinite.
        """
        inputs = arrays_of(self._folder, "input")
        labels = {
            goal.label: np.load(self._folder / f"label_{index}.npy", mmap_mode="r")
            for index, goal in enumerate(goals)
            if goal.label is not None
        }
        size = min(settings.batch_size, len(inputs[0]))
        steps = settings.epochs * (len(inputs[0]) // size)
        rate = cosine(tf_keras.optimizers.schedules, settings.learning_rate, steps)
        optimizer = tf_keras.optimizers.Adam(rate)
        network, variables = self.network, trained.trainable_variables
        losses_of = [goal.loss() for goal in goals]
        distilled = any(goal.label is None for goal in goals)

        @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator, unused-ignore]
        def step(feeds: list[Any], given: list[Any]) -> Any:
            exact = tf.nest.flatten(network(feeds, training=False)) if distilled else []
            targets = [
                given[index] if goal.label is not None else FINISH[goal.function](exact[index])
                for index, goal in enumerate(goals)
            ]
            with tf.GradientTape() as tape:
                made = tf.nest.flatten(trained(feeds, training=True))
                loss = tf.add_n(
                    [
                        loss_of(one, target)
                        for loss_of, one, target in zip(losses_of, made, targets, strict=True)
                    ]
                )
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return loss

        done, history = 0, []
        for epoch in range(settings.epochs):
            losses = []
            for rows in _batches(len(inputs[0]), size, (settings.seed, epoch)):
                feeds = [tf.convert_to_tensor(array[rows]) for array in inputs]
                given = [
                    tf.zeros(()) if goal.label is None else tf.convert_to_tensor(labels[goal.label][rows])
                    for goal in goals
                ]
                loss = float(step(feeds, given))
                done += 1
                if not math.isfinite(loss):
                    raise settings.diverged(f"the loss became {loss} in step {done} of {steps}")
                losses.append(loss)
                tell(
                    f"training with TFMOT, epoch {epoch + 1} of {settings.epochs}, loss {loss:.4f}",
                    done / steps,
                )
            history.append(float(np.mean(losses)))
            after_epoch()
        return history


def arrays_of(folder: Path, name: str) -> list[NDArray[Any]]:
    """Give the arrays of one name, in order."""
    count = len(list(folder.glob(f"{name}_*.npy")))
    return [np.load(folder / f"{name}_{index}.npy", mmap_mode="r") for index in range(count)]


def outputs_of(network: Any, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Give the outputs of a model of tf-keras for all inputs."""
    batches = [
        [
            np.asarray(array)
            for array in tf.nest.flatten(network([a[at : at + BATCH] for a in inputs], training=False))
        ]
        for at in range(0, len(inputs[0]), BATCH)
    ]
    return [np.concatenate(pieces) for pieces in zip(*batches, strict=True)]


def told_by(error: Exception) -> str:
    """Give what TFMOT says, without the names of its modules and what it advises."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.sub(r"Layer (\S+?):<class '[\w.]*?(\w+)'>", r"layer '\1' (\2)", text)
    text = re.sub(r"^.*in user code: .*?\b\w+Error: ", "", text)  # AutoGraph tells its way there first
    text = re.sub(r"Exception encountered when calling layer \S+ \(type \w+\)\. ", "", text)
    text = re.sub(r"<function (\w+) at \w+>", r"'\1'", text)
    return re.split(r"\.\s", text)[0][:200].rstrip(".")


def _batches(examples: int, size: int, seed: tuple[int, int]) -> Iterator[NDArray[np.int64]]:
    """Give the rows of whole batches, in the order of this epoch."""
    order = np.random.default_rng(seed).permutation(examples)
    for at in range(0, examples - size + 1, size):
        yield np.sort(order[at : at + size])
