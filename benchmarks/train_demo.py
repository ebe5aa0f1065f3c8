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
from slimedge.benchmarks.training import CLASSIFY, RECONSTRUCT, train
from slimedge.data import Data

SAMPLE_TRAIN, SAMPLE_TEST = 1_000, 2_000


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
    parser.add_argument("--models", nargs="*", default=models.FASHION_MNIST, choices=models.FASHION_MNIST)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/train_demo.json"))
    given = parser.parse_args()
    parts = []
    for part in ("train", "test"):
        inputs, labels = Data.load(given.data, part=part, scale="1/255").arrays()
        (images,) = inputs.values()
        parts.append((images.reshape(-1, *models.IMAGE_SHAPE).astype(np.float32), labels))
    cut_sample(parts[0], parts[1], given.seed)
    results = json.loads(given.results.read_text()) if given.results.exists() else {}
    for name in given.models:
        reconstructs = name in models.AUTOENCODERS
        train_data, test_data = (
            (images, images if reconstructs else labels) for images, labels in (parts[0], parts[1])
        )
        results[name] = train(
            models.FASHION_MNIST[name],
            FOLDER / f"{name}.keras",
            train_data,
            test_data,
            given.seed,
            RECONSTRUCT if reconstructs else CLASSIFY,
        )
    given.results.parent.mkdir(parents=True, exist_ok=True)
    given.results.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
