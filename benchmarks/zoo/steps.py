"""What is done to one model of the zoo, each step in a process of its own: arguments and results are JSON values."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.benchmarks.zoo.rows import build, row

if TYPE_CHECKING:
    import keras

# The float files are compared on so many inputs, rounded ones on more: a few can lie outside the calibrated ranges.
CHECKED, SCORED, CALIBRATION = 3, 32, 128
# Of the inputs of all calibration examples together.
MOST_NUMBERS = 10_000_000
MODEL, QUANTIZED = "model.keras", "quantized.keras"


def prepare(name: str, small: bool, folder: str) -> dict[str, Any]:
    """Build a row's model, save it as its user would, and write example inputs beside it.

    Returns:
        `file_bytes` of the model.
    """
    from slimedge.benchmarks.zoo.inputs import examples
    from slimedge.unfolding import unfolded

    model = build(row(name), small=small)
    path = Path(folder) / MODEL
    model.save(path)
    model = unfolded(model)
    numbers = sum(array.size for array in examples(model, 1).values())
    calibration = max(SCORED, min(CALIBRATION, MOST_NUMBERS // numbers))
    parts = {"checked": (CHECKED, 3), "scored": (SCORED, 2), "calibration": (calibration, 1)}
    for part, (count, seed) in parts.items():
        write(Path(folder) / f"{part}.npz", examples(model, count, seed))
    return {"file_bytes": path.stat().st_size}


def inspect(folder: str) -> dict[str, Any]:
    """Load the model as its user would, and look into it.

    Returns:
        `inputs` and `outputs` names in order, `parameters`, `macs` and `activation_bytes`.
    """
    from slimedge.benchmarks.inspecting import inspect as look

    found = look(_loaded(folder, MODEL))
    return {
        "inputs": [spec.name for spec in found.inputs],
        "outputs": [spec.name for spec in found.outputs],
        "parameters": found.parameters,
        "macs": found.macs,
        "activation_bytes": found.activation_bytes,
    }


def quantize(folder: str) -> dict[str, Any]:
    """Quantize the model by the scheme that suits it, and note what it and the float model answer.

    Returns:
        The `scheme`, why it was `chosen_because`, and the `float_layers`.
    """
    from slimedge.canonical import canonical
    from slimedge.compress.quantization import quantize as rounded
    from slimedge.data import Data
    from slimedge.export.worker import keras_outputs
    from slimedge.keras_file import input_specs, save_model
    from slimedge.lineage import lineage_of

    model = canonical(_loaded(folder, MODEL))
    path = Path(folder)
    data = Data.load(read(path / "calibration.npz")).bind(input_specs(model), checks="types")
    quantized = rounded(model, data, scheme="auto")
    save_model(quantized, path / QUANTIZED)
    for part in ("checked", "scored"):
        write(path / f"{part}_answers.npz", keras_outputs(model, read(path / f"{part}.npz")))
    settings = lineage_of(quantized)[-1].settings
    return {key: settings[key] for key in ("scheme", "chosen_because", "float_layers")}


def export(folder: str, model: str, to: str) -> dict[str, Any]:
    """Export a model of the folder to one format.

    Returns:
        `path` of the file.
    """
    from slimedge.export.exporting import export_model

    _register_classes()
    (artifact,) = export_model(Path(folder) / model, to=to, folder=folder)
    return {"path": str(artifact.path)}


def read(path: Path) -> dict[str, NDArray[Any]]:
    """Read arrays by name."""
    with np.load(path) as archive:
        return {key: archive[key] for key in archive.files}


def write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name."""
    from slimedge.runtime.agent import write_arrays

    write_arrays(str(path), dict(arrays))


def _loaded(folder: str, file: str) -> keras.Model:
    from slimedge.keras_file import load_model

    _register_classes()
    return load_model(Path(folder) / file)


def _register_classes() -> None:
    """Register the layers and models that the zoo defines, as a user's program has registered its own."""
    importlib.import_module("slimedge.benchmarks.zoo.layers")
