"""Train the bundled models on Fashion-MNIST and cut the bundled sample: `make train-demo`.

Five epochs of AdamW with a warm-up and a cosine; the last 5,000 training images are held out for watching, the
test set is read once, at the end. Needs Debian's package dataset-fashion-mnist, or any folder with the
four IDX files.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from slimedge.benchmarks import models
from slimedge.benchmarks.demo import DEBIAN_FOLDER, FOLDER, SAMPLE
from slimedge.data import Data
from slimedge.keras_file import save_model

MODELS = ("resnet8", "depthwise_separable")
EPOCHS = 5
BATCH = 128
HELD_OUT = 5_000
PEAK_LEARNING_RATE = 4e-3
WARM_UP_STEPS = 200
SAMPLE_TRAIN, SAMPLE_TEST = 1_000, 2_000


def train(name: str, train_data: tuple[Any, Any], test_data: tuple[Any, Any], seed: int) -> dict[str, Any]:
    """Train one model and write it into the demo folder; give its accuracies and settings."""
    import keras

    keras.utils.set_random_seed(seed)
    model = getattr(models, name)()
    images, labels = train_data
    kept = len(images) - HELD_OUT
    steps = EPOCHS * kept // BATCH
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - WARM_UP_STEPS, warmup_target=PEAK_LEARNING_RATE, warmup_steps=WARM_UP_STEPS
    )
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=0.01),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    held_out = (images[kept:], labels[kept:])
    model.fit(
        images[:kept], labels[:kept], batch_size=BATCH, epochs=EPOCHS, validation_data=held_out, verbose=2
    )
    accuracy = {
        part: round(float(model.evaluate(*data, verbose=0)[1]), 4)
        for part, data in (("held_out", held_out), ("test", test_data))
    }
    plain = getattr(models, name)()  # without the optimizer's slots
    plain.set_weights(model.get_weights())
    save_model(plain, FOLDER / f"{name}.keras", lineage=())
    return {"parameters": model.count_params(), "epochs": EPOCHS, "seed": seed, "accuracy": accuracy}


def cut_sample(train_data: tuple[Any, Any], test_data: tuple[Any, Any], seed: int) -> None:
    """Write a seeded sample of both parts, as bytes, into the demo folder."""
    generator = np.random.default_rng(seed)
    arrays = {}
    for part, (images, labels), count in (
        ("train", train_data, SAMPLE_TRAIN),
        ("test", test_data, SAMPLE_TEST),
    ):
        rows = np.sort(generator.choice(len(images), count, replace=False))
        arrays[f"image_{part}"] = np.rint(images[rows] * 255).astype(np.uint8)
        arrays[f"y_{part}"] = labels[rows].astype(np.uint8)
    np.savez_compressed(FOLDER / SAMPLE, **arrays)


def main() -> None:
    """Train, cut, and write what came out beside the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DEBIAN_FOLDER, help="folder with the IDX files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", nargs="*", default=MODELS, choices=MODELS)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/train_demo.json"))
    given = parser.parse_args()
    parts = []
    for part in ("train", "test"):
        inputs, labels = Data.load(given.data, part=part, scale="1/255").arrays()
        (images,) = inputs.values()
        parts.append((images.reshape(-1, *models.IMAGE_SHAPE).astype(np.float32), labels))
    cut_sample(parts[0], parts[1], given.seed)
    results = {name: train(name, parts[0], parts[1], given.seed) for name in given.models}
    given.results.parent.mkdir(parents=True, exist_ok=True)
    given.results.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
