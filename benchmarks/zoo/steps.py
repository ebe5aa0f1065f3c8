"""What is done to one model of the zoo, each step in a process of its own: arguments and results are JSON values."""

from __future__ import annotations

import importlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimedge.benchmarks.zoo.rows import build, row
from slimedge.errors import SlimedgeError
from slimedge.runtime.arrays import read_arrays, write_arrays

if TYPE_CHECKING:
    import keras

# The float files are compared on so many inputs, rounded ones on more: a few can lie outside the calibrated ranges.
CHECKED, SCORED, CALIBRATION = 3, 32, 128
# Of the inputs of all calibration examples together.
MOST_NUMBERS = 10_000_000
MODEL, QUANTIZED = "model.keras", "quantized.keras"


def prepare(name: str, small: bool, folder: str, ratio: float | None = None) -> dict[str, Any]:
    """Build a row's model, save it as its user would, and write example inputs beside it.

    Args:
        name: of the row.
        small: at the size for tests.
        folder: for the files.
        ratio: of its channels, that are removed before; None for the whole model.

    Returns:
        `file_bytes` of the model, whether it has `custom` classes, which its user's program registers, and what was
        `thinned`.
    """
    from slimedge.benchmarks.zoo.inputs import examples
    from slimedge.benchmarks.zoo.thinning import thinned
    from slimedge.unfolding import unfolded

    model = build(row(name), small=small)
    model, removed = (model, None) if ratio is None else thinned(model, ratio)
    path = Path(folder) / MODEL
    model.save(path)
    followed = unfolded(model)
    numbers = sum(array.size for array in examples(followed, 1).values())
    calibration = max(SCORED, min(CALIBRATION, MOST_NUMBERS // numbers))
    parts = {"checked": (CHECKED, 3), "scored": (SCORED, 2), "calibration": (calibration, 1)}
    for part, (count, seed) in parts.items():
        write_arrays(str(Path(folder) / f"{part}.npz"), examples(followed, count, seed))
    custom = any(type(layer).__module__.startswith("slimedge.") for layer in model._flatten_layers())
    told = asdict(removed) if removed is not None else {}
    return {"file_bytes": path.stat().st_size, "custom": custom, "thinned": told}


def study(folder: str, custom: bool) -> dict[str, Any]:
    """Load the model as its user would, look into it, and quantize it by the scheme that suits it.

    What float and quantized model answer to the examples is written beside them.

    Returns:
        `inputs` and `outputs` names in order, `parameters`, `macs` and `activation_bytes`; then `unquantized`, the
        reason why it could not be quantized, or the `scheme`, why it was `chosen_because`, and the `float_layers`.
    """
    from slimedge.benchmarks.inspecting import inspect
    from slimedge.keras_file import load_model

    if custom:
        _register_classes()
    model = load_model(Path(folder) / MODEL)
    found = inspect(model)
    told = {
        "inputs": [spec.name for spec in found.inputs],
        "outputs": [spec.name for spec in found.outputs],
        "parameters": found.parameters,
        "macs": found.macs,
        "activation_bytes": found.activation_bytes,
    }
    try:
        return told | _quantized(model, Path(folder))
    except SlimedgeError as error:
        return told | {"unquantized": str(error)}


def _quantized(model: keras.Model, folder: Path) -> dict[str, Any]:
    from slimedge.canonical import canonical
    from slimedge.compress.quantization import quantize
    from slimedge.data import Data
    from slimedge.export.worker import keras_outputs
    from slimedge.keras_file import input_specs, save_model
    from slimedge.lineage import lineage_of

    model = canonical(model)
    for part in ("checked", "scored"):
        given = read_arrays(str(folder / f"{part}.npz"))
        write_arrays(str(folder / f"{part}_answers.npz"), keras_outputs(model, given))
    data = Data.load(read_arrays(str(folder / "calibration.npz"))).bind(input_specs(model), checks="types")
    quantized = quantize(model, data, scheme="auto")
    save_model(quantized, folder / QUANTIZED)
    settings = lineage_of(quantized)[-1].settings
    return {key: settings[key] for key in ("scheme", "chosen_because", "float_layers")}


def export(folder: str, model: str, to: str, custom: bool) -> dict[str, Any]:
    """Export a model of the folder to one format.

    Returns:
        `path` of the file.
    """
    from slimedge.export.exporting import export_model

    if custom:
        _register_classes()
    (artifact,) = export_model(Path(folder) / model, to=to, folder=folder)
    return {"path": str(artifact.path)}


def _register_classes() -> None:
    """Register the layers and models that the zoo defines, as a user's program has registered its own."""
    importlib.import_module("slimedge.benchmarks.zoo.layers")
