"""Arrays as a model's file takes and gives them: their types and shapes, the grids of integers, the batch.

Travels with the agent: standard library and numpy only, from Python 3.8 on.

A spec is a dict with the fields of `slimedge.artifact.TensorSpec`: `name`, `shape` (the batch first, None for any
size), `dtype`, and `scale` and `zero_point`, which are None where numbers are not on a grid.
"""

from __future__ import annotations

import zipfile
from typing import Any, Dict, Iterator, List, Mapping, Optional

import numpy as np


def quantize(array: Any, spec: Dict[str, Any]) -> Any:
    """Give numbers as an input takes them: q = clip(round(x / scale) + zero_point).

    Example:
        >>> quantize([-9.0, 0.0, 0.6], {"name": "x", "dtype": "int8", "scale": 0.0625, "zero_point": 3}).tolist()
        [-128, 3, 13]

    Raises:
        ValueError: the input takes whole numbers in a range, and these are others.
    """
    dtype = np.dtype(spec["dtype"])
    if dtype.kind not in "iu":
        return np.ascontiguousarray(array, dtype=dtype)
    limits = np.iinfo(dtype)
    if spec.get("scale") is None:
        if not np.array_equal(array, np.clip(np.rint(array), limits.min, limits.max)):
            raise ValueError(
                "input '{}' takes whole numbers in {}...{} and the file names no scale to quantize others with; "
                "give such numbers, or export the model again.".format(spec["name"], limits.min, limits.max)
            )
        return np.ascontiguousarray(array, dtype=dtype)
    steps = np.rint(np.asarray(array, np.float32) / np.float32(spec["scale"])) + spec["zero_point"]
    return np.ascontiguousarray(np.clip(steps, limits.min, limits.max).astype(dtype))


def dequantize(array: Any, spec: Dict[str, Any]) -> Any:
    """Give an output's numbers as float32: x = scale · (q - zero_point); integers without a scale stay as they are."""
    if spec.get("scale") is None:
        return array.astype(np.float32) if array.dtype == np.float16 else array
    return (array.astype(np.float32) - np.float32(spec["zero_point"])) * np.float32(spec["scale"])


def with_grids(specs: List[Dict[str, Any]], grids: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Fill in the scale and zero point of integers, which an ONNX file only tells by its nodes.

    Args:
        specs: of inputs or outputs.
        grids: [scale, zero point] by name; a spec that has a scale keeps it.
    """
    return [
        dict(spec, scale=grids[spec["name"]][0], zero_point=grids[spec["name"]][1])
        if spec["name"] in grids and spec["scale"] is None and np.dtype(spec["dtype"]).kind in "iu"
        else spec
        for spec in specs
    ]


def fixed_batch(specs: List[Dict[str, Any]]) -> Optional[int]:
    """Give the batch that a file is fixed to; None where it takes any."""
    return next((spec["shape"][0] for spec in specs if spec["shape"]), None)


def native_feeds(arrays: Dict[str, Any], specs: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Check arrays against the inputs and give them as the file takes them.

    Args:
        arrays: (batch, …) by name.
        specs: of the inputs.

    Raises:
        ValueError: one is missing, its shape does not fit, it cannot be quantized, or there are not as many examples
            of each.
    """
    feeds = {}
    for spec in specs:
        name, shape = spec["name"], spec["shape"]
        if name not in arrays:
            raise ValueError(
                "input '{}' is missing; the model takes {} and was given {}.".format(
                    name,
                    ", ".join("'{}'".format(spec["name"]) for spec in specs),
                    ", ".join(sorted(arrays)) or "nothing",
                )
            )
        array = arrays[name]
        fits = array.ndim == len(shape) and all(
            size in (None, given) for size, given in zip(shape[1:], array.shape[1:])
        )
        if not fits or not len(array):
            raise ValueError(
                "input '{}' takes the shape {} and was given {}.".format(
                    name, ("batch", *shape[1:]), array.shape
                )
            )
        feeds[name] = quantize(array, spec)
    if len({len(array) for array in feeds.values()}) > 1:
        raise ValueError(
            "the inputs must have as many examples each; they have {}.".format(
                ", ".join("{} {}".format(name, len(array)) for name, array in feeds.items())
            )
        )
    return feeds


def random_arrays(specs: List[Dict[str, Any]], batch: int, seed: int) -> Dict[str, Any]:
    """Give numbers in [0, 1) for each input; 0 or 1 where they are indices, say, which any embedding has."""
    generator = np.random.default_rng(seed)
    arrays = {}
    for spec in specs:
        shape = (batch, *(size or 1 for size in spec["shape"][1:]))
        on_a_scale = np.dtype(spec["dtype"]).kind == "f" or spec.get("scale") is not None
        arrays[spec["name"]] = (
            generator.random(shape, dtype=np.float32) if on_a_scale else generator.integers(0, 2, shape)
        )
    return arrays


def repeated(arrays: Dict[str, Any], batch: int) -> Dict[str, Any]:
    """Give as many examples as a batch has: the first ones, from the start again where there are too few."""
    return {name: np.resize(array, (batch, *array.shape[1:])) for name, array in arrays.items()}


def batches(feeds: Dict[str, Any], size: Optional[int]) -> Iterator[Dict[str, Any]]:
    """Cut examples to batches of a size, or leave them together; the last one is filled up with its last example.

    Example:
        >>> [batch["x"].tolist() for batch in batches({"x": np.arange(5)}, 3)]
        [[0, 1, 2], [3, 4, 4]]
    """
    rows = len(next(iter(feeds.values())))
    size = size or rows
    for start in range(0, rows, size):
        missing = max(0, start + size - rows)
        yield {
            name: np.pad(array[start : start + size], [(0, missing), *[(0, 0)] * (array.ndim - 1)], "edge")
            for name, array in feeds.items()
        }


def joined_outputs(pieces: List[Dict[str, Any]], specs: List[Dict[str, Any]], rows: int) -> Dict[str, Any]:
    """Give what batches answered as one array each, in float32 and without what the last batch was filled up with.

    Args:
        pieces: of each batch, by name, as the file gives them.
        specs: of the outputs.
        rows: examples that there were.

    Raises:
        ValueError: an output has no batch.
    """
    outputs = {}
    for spec in specs:
        name = spec["name"]
        if any(piece[name].ndim == 0 for piece in pieces):
            raise ValueError("output '{}' has no batch: its first size must be the batch's.".format(name))
        outputs[name] = dequantize(np.concatenate([piece[name] for piece in pieces])[:rows], spec)
    return outputs


def read_arrays(path: str) -> Dict[str, Any]:
    """Read an `.npz` file."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def write_arrays(path: str, arrays: Mapping[str, Any]) -> None:
    """Write an `.npz` file with arrays of any name; for numpy's own `savez`, one named `file` is the file."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(name + ".npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
