"""Train one of the bundled models: AdamW with a warm-up and a cosine, the last training examples held out."""

from __future__ import annotations

from collections.abc import Callable
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


def train(
    build: Callable[[], keras.Model],
    path: Path,
    train_data: tuple[Any, Any],
    test_data: tuple[Any, Any],
    seed: int,
) -> dict[str, Any]:
    """Train a classifier and write it; the test part is read once, at the end.

    Args:
        build: makes the untrained model.
        path: for the `.keras` file, which holds no optimizer slots.
        train_data: inputs (n, …) and classes (n,), in random order.
        test_data: likewise.
        seed: of weights and order.

    Returns:
        Its number of parameters, its settings, and its accuracy on the held-out and the test examples.
    """
    import keras

    keras.utils.set_random_seed(seed)
    model = build()
    inputs, labels = train_data
    kept = len(inputs) - HELD_OUT
    steps = EPOCHS * kept // BATCH
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - WARM_UP_STEPS, warmup_target=PEAK_LEARNING_RATE, warmup_steps=WARM_UP_STEPS
    )
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=0.01),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    held_out = (inputs[kept:], labels[kept:])
    model.fit(
        inputs[:kept], labels[:kept], batch_size=BATCH, epochs=EPOCHS, validation_data=held_out, verbose=2
    )
    accuracy = {
        part: round(float(model.evaluate(*data, verbose=0)[1]), 4)
        for part, data in (("held_out", held_out), ("test", test_data))
    }
    plain = build()  # without the optimizer's slots
    plain.set_weights(model.get_weights())
    save_model(plain, path, lineage=())
    return {"parameters": model.count_params(), "epochs": EPOCHS, "seed": seed, "accuracy": accuracy}
