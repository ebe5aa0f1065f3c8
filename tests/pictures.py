"""Small pictures whose neighbouring pixels are alike, as in real ones, and the folders they can come in."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
HOW_TO_GET_IT = "needs the full Fashion-MNIST set: apt-get install dataset-fashion-mnist (Debian, non-free)"


def pictures(n: int, height: int = 28, width: int = 28) -> np.ndarray:
    """Give n different ramps, (n, height, width) uint8 in 0…255."""
    slope = np.linspace(0.2, 1.0, n)[:, None, None]
    y, x = np.linspace(0, 1, height)[None, :, None], np.linspace(0, 1, width)[None, None, :]
    return (255 * (slope * x + (1 - slope) * y)).round().astype(np.uint8)


def classes(n: int, count: int = 3) -> np.ndarray:
    """Give n labels 0, 1, …, count - 1, 0, …"""
    return (np.arange(n) % count).astype(np.int64)


def idx(array: np.ndarray, kind: int = 0x08) -> bytes:
    """Give an array in the IDX format."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.tobytes()


def write_idx(
    folder: Path, part: str, images: np.ndarray, labels: np.ndarray, *, packed: bool = True
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("images-idx3", images), ("labels-idx1", labels.astype(np.uint8))):
        path = folder / f"{part}-{name}-ubyte{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    return folder


def write_images(
    folder: Path, images: np.ndarray, labels: np.ndarray, names: str, ending: str = "png"
) -> Path:
    """Write each image into the subfolder of its class; names[c] is the folder of class c."""
    from PIL import Image

    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / names[label] / f"{index:04d}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return folder
