"""Train one of the bundled models: AdamW with a warm-up and a cosine, the last training examples held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimedge.keras_file import save_model

if TYPE_CHECKING:
    import keras

EPOCHS = 5
BATCH = 128
HELD_OUT = 5_000
PEAK_LEARNING_RATE = 4e-3
WARM_UP_STEPS = 200


@dataclass(frozen=True, slots=True)
class Task:
    """What a model is trained for.

    Attributes:
        loss: Keras' name of what is made small.
        metric: Keras' name of what is watched.
    """

    loss: str
    metric: str


CLASSIFY = Task("sparse_categorical_crossentropy", "accuracy")
RECONSTRUCT = Task("mean_squared_error", "mean_squared_error")


def train(
    build: Callable[[], keras.Model],
    path: Path,
    train_data: tuple[Any, Any],
    test_data: tuple[Any, Any],
    seed: int,
    task: Task = CLASSIFY,
) -> dict[str, Any]:
    """Train a model and write it; the test part is read once, at the end.

    Args:
        build: makes the untrained model.
        path: for the `.keras` file, which holds no optimizer slots.
        train_data: inputs (n, …) and what they should give (classes (n,), or pictures), in random order.
        test_data: likewise.
        seed: of weights and order.
        task: loss and metric.

    Returns:
        Its number of parameters, its settings, and its metric on the held-out and the test examples.
    """
    import keras

    keras.utils.set_random_seed(seed)
    model = build()
    inputs, targets = train_data
    kept = len(inputs) - HELD_OUT
    steps = EPOCHS * kept // BATCH
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - WARM_UP_STEPS, warmup_target=PEAK_LEARNING_RATE, warmup_steps=WARM_UP_STEPS
    )
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=0.01),
        task.loss,
        metrics=[task.metric],
    )
    held_out = (inputs[kept:], targets[kept:])
    model.fit(
        inputs[:kept], targets[:kept], batch_size=BATCH, epochs=EPOCHS, validation_data=held_out, verbose=2
    )
    metric = {
        part: round(float(model.evaluate(*data, verbose=0)[1]), 4)
        for part, data in (("held_out", held_out), ("test", test_data))
    }
    plain = build()  # without the optimizer's slots
    plain.set_weights(model.get_weights())
    save_model(plain, path, lineage=())
    return {"parameters": model.count_params(), "epochs": EPOCHS, "seed": seed, task.metric: metric}
