"""What runs in the fresh process of one export: load, convert, check, try, compare, write."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slimedge.errors import CheckError
from slimedge.export.exporters import DYNAMIC, EXPORTERS, Settings
from slimedge.export.trial import Trial
from slimedge.export.verify import (
    Fidelity,
    example_inputs,
    fidelity,
    first_difference,
    is_close,
    output_steps,
)
from slimedge.lineage import lineage_of, quantization_of
from slimedge.weight_rounding import NARROW_BITS

if TYPE_CHECKING:
    import keras


def convert(
    *,
    model: str,
    to: str,
    out: str,
    name: str,
    io: str,
    batch: int,
    integers: str,
    trust: bool,
    examples: str | None,
    modules: Sequence[str],
    metadata: Mapping[str, Any],
    dense: bool = False,
    compute: str = "float32",
) -> dict[str, Any]:
    """Convert one model to one format; arguments and result are JSON values.

    Args:
        model: path of a Keras file.
        to: a name in `slimedge.export.exporters.EXPORTERS`.
        out: path of the new file, which is written when every check has passed.
        name: of the file, for messages.
        io: `float32`, `int8` or `int16`.
        batch: fixed batch of a TFLite file.
        integers: types of an ONNX file's activations and kernels.
        trust: whether an `.h5` may be loaded.
        examples: path of an `.npz` with inputs by name, or None.
        modules: to import first, for the user's own layers.
        metadata: for the file.
        dense: whether a TFLite file stores zeros as every other weight.
        compute: what an ONNX file of a float model computes in.

    Returns:
        `max_error` and `sqnr_db` against Keras, and the number of `examples`.

    Raises:
        CheckError: the file does not compute what the model computes; the first layer is named.
    """
    from slimedge.canonical import canonical
    from slimedge.keras_file import load_model

    for module in modules:
        importlib.import_module(module)
    with _without_random_weights():
        network = canonical(load_model(Path(model), trust=trust, compiled=False, sized=False))
    metadata = _with_raw_inputs(metadata, network)
    given = None
    if examples is not None:
        with np.load(examples) as arrays:
            given = {name: arrays[name] for name in arrays.files}
    inputs = example_inputs(network, given)
    expected = keras_outputs(network, inputs)
    bits = {layer.bits for layer in network._flatten_layers() if type(layer).__name__ == "FakeQuant"}
    quantization = quantization_of(lineage_of(network)) or {}
    scheme = quantization.get("scheme")
    settings = Settings(
        io=io,
        batch=batch,
        integers=integers,
        metadata=metadata,
        scheme=scheme,
        block_size=quantization.get("block_size"),
        dense=dense,
        compute=compute,
    )
    content, trial = EXPORTERS[to](network, settings)
    measured = fidelity(expected, trial.run(inputs), output_steps(network))
    kind = {
        "quantized": bool(bits),
        "dynamic": scheme == DYNAMIC,
        "wide": bool(bits) and min(bits) > NARROW_BITS,
        "half": compute == "float16",
    }
    if not is_close(measured, **kind):
        raise _parting(network, inputs, trial, measured, kind, name)
    Path(out).write_bytes(content)
    return {
        "examples": measured.examples,
        "max_error": measured.max_error,
        "sqnr_db": measured.sqnr_db,
    }


@contextmanager
def _without_random_weights() -> Iterator[None]:
    """Let layers begin at zero while a model is loaded, whose weights are read right after.

    Drawing random numbers takes a third of the time. For the whole process, which has only this to do.
    """
    from keras.initializers import VarianceScaling, Zeros

    drawn = VarianceScaling.__call__
    VarianceScaling.__call__ = Zeros.__call__
    try:
        yield
    finally:
        VarianceScaling.__call__ = drawn


def _with_raw_inputs(metadata: Mapping[str, Any], network: keras.Model) -> dict[str, Any]:
    """Note which inputs take raw pixels, which the exported file no longer shows: its data must not be scaled."""
    from slimedge.preprocessing import starts_with_preprocessing

    raw = sorted(starts_with_preprocessing(network))
    lineage = [dict(step) for step in metadata["lineage"]]
    if raw and lineage:
        lineage[-1]["settings"] = {**lineage[-1]["settings"], "raw_inputs": raw}
    return {**metadata, "lineage": lineage}


def keras_outputs(network: keras.Model, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Give what Keras answers to examples by name, by output name."""
    import keras

    from slimedge.keras_file import input_specs, input_structure, output_specs

    given = [inputs[spec.name] for spec in input_specs(network)]
    structure = keras.tree.pack_sequence_as(input_structure(network), given)
    outputs = keras.tree.flatten(network.predict_on_batch(structure))
    names = [spec.name for spec in output_specs(network)]
    return dict(zip(names, map(np.asarray, outputs), strict=True))


def _parting(
    network: keras.Model,
    inputs: Mapping[str, Any],
    trial: Trial,
    measured: Fidelity,
    kind: Mapping[str, bool],
    name: str,
) -> CheckError:
    try:
        layer = first_difference(network, inputs, lambda layers: trial.inside(inputs, layers), **kind)
    except Exception:  # noqa: BLE001 - where it parts is a help; that it parts has to be said anyway
        layer = None
    where = f"from layer '{layer}' on" if layer else "at a layer that the file does not show"
    level = "" if measured.sqnr_db is None else f", SQNR {measured.sqnr_db:.1f} dB"
    return CheckError(
        f"{name} does not compute what the Keras model computes, {where} (largest error "
        f"{measured.max_error:.2g} of the output range{level}); it was not kept."
    )
