"""Keras models in and out: `.keras` files, checked before Keras sees them, and `.h5` on request.

Only Keras 3 loads them, in safe mode: tf-keras runs code from an `.h5` file whatever it is told.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimedge import keras_archive, keras_config, notes
from slimedge.artifact import Artifact, Format, Step, TensorSpec
from slimedge.depth import any_depth
from slimedge.errors import InputError
from slimedge.files import atomic_path, sha256_of
from slimedge.keras_archive import weights_summary
from slimedge.lineage import lineage_of, with_lineage
from slimedge.naming import unique
from slimedge.sniffing import Content, sniff
from slimedge.unfolding import is_symbolic, unfolded

if TYPE_CHECKING:
    import keras

__all__ = ["input_specs", "load_model", "output_specs", "read", "save_model", "weights_summary"]

# What an optimizer keeps per weight (four slots at most) and the weight itself, at 8 bytes a number.
_BYTES_PER_PARAMETER = 5 * 8
# HDF5 headers, some 2 KB a layer; and weights of nothing but a few numbers.
_OVERHEAD_BYTES = 64 << 20


def load_model(
    path: Path | str, *, trust: bool = False, compiled: bool = True, sized: bool = True
) -> keras.Model:
    """Open a trained Keras model without running anything that is in the file.

    Args:
        path: a `.keras` file, or an `.h5` file with `trust`.
        trust: take an `.h5` file, which holds no proof of where it comes from; for files of your own.
        compiled: restore optimizer, loss and metrics as well, where Keras can.
        sized: rebuild the architecture without weights first, and compare what it needs with what the file holds
            before memory is taken for either; a process with a memory limit of its own can do without.

    Returns:
        A built Keras 3 model, a subclassed one as the functional graph of its call (`slimedge.unfolding`);
        `slimedge.lineage.lineage_of` tells the steps that the file names.

    Raises:
        InputError: not a Keras model, cut off, oversized, made by a Keras that this one cannot read, with a
            layer that runs code, with a class that is not registered, or never built.
    """
    path = Path(path)
    if sniff(path) is Content.HDF5 and path.suffix != ".keras":
        return _load_hdf5(path, trust=trust, compiled=compiled)
    with keras_archive.opened(path) as archive:
        config = keras_archive.read_json(archive, keras_archive.CONFIG, path)
        metadata = keras_archive.read_json(archive, keras_archive.METADATA, path)
        needs, compiled = _check(config, path, compiled=compiled)
        held = _elements(archive, path) if sized else 0
        weights_bytes = archive.getinfo(keras_archive.WEIGHTS).file_size
    for name in needs.layers:
        _ = keras_config.LAYERS[name]  # importing registers it
    if sized:
        _check_size(_architecture(config, needs, path, metadata), needs, held, weights_bytes, path)
    model = _load(path, compiled=compiled, saved_by=metadata.get("keras_version"))
    return with_lineage(_built(model, path), notes.from_dict(metadata.get(notes.KEY)).lineage)


def read(path: Path | str) -> Artifact:
    """Describe a `.keras` file from its config; Keras is imported only where that does not tell the outputs.

    Args:
        path: a `.keras` file.

    Raises:
        InputError: as `load_model`, as far as the weights need not be read for it.
    """
    path = Path(path)
    with keras_archive.opened(path) as archive:
        config = keras_archive.read_json(archive, keras_archive.CONFIG, path)
        metadata = keras_archive.read_json(archive, keras_archive.METADATA, path)
    needs, _ = _check(config, path, compiled=False)
    found = keras_config.specs(config)
    if found is None:
        model = _architecture(config, needs, path, metadata) or load_model(path, compiled=False)
        found = (input_specs(model), output_specs(model))
    return Artifact(
        path=path,
        format=Format.KERAS,
        sha256=sha256_of(path),
        inputs=found[0],
        outputs=found[1],
        lineage=notes.from_dict(metadata.get(notes.KEY)).lineage,
    )


def save_model(model: keras.Model, path: Path | str, *, lineage: Sequence[Step] | None = None) -> Artifact:
    """Write a model as a `.keras` file that any Keras 3 opens; whole, or not at all.

    Args:
        model: built.
        path: ends in `.keras`; a file that is there is replaced.
        lineage: the steps that led here, oldest first; by default those noted for the model.

    Returns:
        The file.

    Raises:
        InputError: another ending, a model that is not built or cannot be saved, or no room.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise InputError(f"a Keras model is saved as .keras, and '{path.name}' ends otherwise; name it so.")
    inputs, outputs = input_specs(model), output_specs(model)
    steps = tuple(lineage_of(model) if lineage is None else lineage)
    facts = notes.to_dict(
        steps, inputs=[spec.name for spec in inputs], outputs=[spec.name for spec in outputs]
    )
    with atomic_path(path) as temporary:
        plain = temporary.with_name("plain.keras")
        try:
            model.save(plain)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise InputError(f"model '{model.name}' cannot be saved as .keras: {_reason(error)}.") from error
        _copy_with_notes(plain, temporary, facts)
        plain.unlink()
    return Artifact(path, Format.KERAS, sha256_of(path), inputs, outputs, steps)


def input_specs(model: keras.Model) -> tuple[TensorSpec, ...]:
    """Give a model's inputs by the names of their Keras input layers, in Keras order.

    Raises:
        InputError: the model was never built, or is a subclass without symbolic inputs.
    """
    return tuple(
        TensorSpec(name, _sizes(tensor), str(tensor.dtype))
        for name, tensor in zip(*_named(model, "inputs"), strict=True)
    )


def output_specs(model: keras.Model) -> tuple[TensorSpec, ...]:
    """Give a model's outputs by the names of the layers that make them, in Keras order.

    A second output of one layer is numbered: `lstm`, `lstm_1`.

    Raises:
        InputError: the model was never built, or is a subclass without symbolic outputs.
    """
    return tuple(
        TensorSpec(name, _sizes(tensor), str(tensor.dtype))
        for name, tensor in zip(*_named(model, "outputs"), strict=True)
    )


def input_structure(model: keras.Model) -> Any:
    """Give a model's symbolic inputs as its call takes them: a tensor, a list or a dict."""
    return _structure(model, "input")


def output_structure(model: keras.Model) -> Any:
    """Give a model's symbolic outputs as its call gives them."""
    return _structure(model, "output")


def settle(model: keras.Model) -> None:
    """Let Keras make the weights that it makes at a model's first call only: those of an activation that is a layer."""
    import keras
    import numpy as np

    inner = [getattr(layer, "activation", None) for layer in model._flatten_layers()]
    if all(activation.built for activation in inner if isinstance(activation, keras.layers.Layer)):
        return
    shapes = [[size or 1 for size in spec.shape] for spec in input_specs(model)]
    zeros = [np.zeros(shape, spec.dtype) for shape, spec in zip(shapes, input_specs(model), strict=True)]
    model(keras.tree.pack_sequence_as(input_structure(model), zeros), training=False)


def _structure(model: keras.Model, which: str) -> Any:
    import keras

    if isinstance(model, keras.Sequential):  # has no `input` until it is called
        return getattr(model, f"{which}s")[0]
    return getattr(model, which)


def _named(model: keras.Model, which: str) -> tuple[tuple[str, ...], list[Any]]:
    tensors = list(getattr(_built(model, None), which))
    # A tensor of an unnamed Input has a name of its own until the model is saved; its layer's name stays.
    return unique([tensor._keras_history.operation.name for tensor in tensors]), tensors


def _sizes(tensor: Any) -> tuple[int | None, ...]:
    return tuple(None if size is None else int(size) for size in tensor.shape)


def _built(model: Any, path: Path | None) -> keras.Model:
    """Give the model back (a subclassed one as its graph), or say how to build it."""
    import keras

    given = f"the model in {path}" if path else f"model '{getattr(model, 'name', model)}'"
    if not isinstance(model, keras.Model):
        raise InputError(f"{given} is a {type(model).__name__}, not a keras.Model; pass a Keras 3 model.")
    if is_symbolic(model):
        return model
    if isinstance(model, keras.Sequential):
        raise InputError(
            f"{given} was never built, so its input shape is not known; start it with keras.Input(shape) or call "
            "model.build((None, ...)), and save it again."
        )
    return unfolded(model, origin=given)


def _elements(archive: zipfile.ZipFile, path: Path) -> int:
    with keras_archive.opened_weights(archive, path) as weights:
        return keras_archive.count_elements(weights, path)


def _check(config: dict[str, Any], path: Path, *, compiled: bool) -> tuple[keras_config.Needs, bool]:
    """Check what a config names; a loss or metric that is not Keras's only costs the compilation."""
    if "class_name" not in config:
        raise InputError(f"{path} has a config.json that describes no model; save the model again.")
    compilation = config.pop("compile_config", None)
    needs = keras_config.check(config, path)
    if compiled:
        try:
            keras_config.check(compilation, path)
        except InputError:
            compiled = False
    return needs, compiled and bool(compilation)


def _architecture(
    config: dict[str, Any], needs: keras_config.Needs, path: Path, metadata: dict[str, Any]
) -> keras.Model | None:
    """Rebuild a model without memory for its weights, whatever shapes the file asks for.

    Returns:
        A model whose variables have shapes and no values; None where a class of the caller's makes
        its variables in a way that needs values.
    """
    import keras

    for name in needs.layers:
        _ = keras_config.LAYERS[name]  # importing registers it
    done: dict[str, Any] = {}

    def rebuild() -> None:
        try:
            with any_depth(), keras.StatelessScope(initialize_variables=False):
                done["model"] = keras.saving.deserialize_keras_object(config, safe_mode=True)
        except Exception as error:  # noqa: BLE001 - a hostile config makes Keras raise anything
            done["error"] = error

    # Keras lists variables without a value per thread, and fills them later; the list ends with the thread.
    thread = threading.Thread(target=rebuild, name="slimedge-architecture", daemon=True)
    thread.start()
    thread.join()
    if "error" not in done:
        return _built(done["model"], path)
    if needs.custom:
        return None
    raise _not_rebuilt(path, done["error"], metadata.get("keras_version"))


def _check_size(
    model: keras.Model | None, needs: keras_config.Needs, held: int, weights_bytes: int, path: Path
) -> None:
    """Compare what an architecture needs with what the file holds, before memory is taken for either."""
    if model is None:
        return
    needed = sum(math.prod(tuple(weight.shape)) for weight in model.weights)
    if needed > held and not needs.custom:
        raise InputError(
            f"{path} describes a model of {needed:,} parameters and holds weights for {held:,}; "
            "save the model again with model.save('model.keras')."
        )
    allowed = _OVERHEAD_BYTES + needed * _BYTES_PER_PARAMETER
    if weights_bytes > allowed:
        raise InputError(
            f"{path} has an oversized member '{keras_archive.WEIGHTS}' ({weights_bytes:,} bytes, and the model of "
            f"{needed:,} parameters needs at most {allowed:,}); save the model again with model.save('model.keras')."
        )


def _load(path: Path, *, compiled: bool, saved_by: Any = None) -> keras.Model:
    import keras

    try:
        with any_depth():
            return keras.saving.load_model(path, compile=compiled, safe_mode=True)
    except Exception as error:
        if compiled:  # a loss or metric by a name that Keras does not know
            return _load(path, compiled=False, saved_by=saved_by)
        raise _not_rebuilt(path, error, saved_by) from error


def _load_hdf5(path: Path, *, trust: bool, compiled: bool) -> keras.Model:
    if not trust:
        raise InputError(
            f"{path} is an HDF5 file, which may hold code; pass --trust (trust=True in Python) if you made it "
            "yourself, or save the model as .keras where it was made."
        )
    with keras_archive.opened_hdf5(path, path.stat().st_size, path) as file:
        text = file.attrs.get("model_config")
        saved_by = file.attrs.get("keras_version")
    if text is None:
        raise InputError(
            f"{path} holds weights and no model; build the model in Python, call model.load_weights('{path.name}') "
            "and save it as .keras."
        )
    try:
        config = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path} has a model config that is not JSON; save the model again.") from error
    if not isinstance(config, dict):
        raise InputError(f"{path} has a model config that describes no model; save the model again.")
    needs, _ = _check(config, path, compiled=False)
    for name in needs.layers:
        _ = keras_config.LAYERS[name]
    return _built(_load(path, compiled=compiled, saved_by=saved_by), path)


def _not_rebuilt(path: Path, error: Exception, saved_by: Any) -> InputError:
    import keras

    version = saved_by.decode() if isinstance(saved_by, bytes) else saved_by
    origin = f" (saved by Keras {version})" if isinstance(version, str) else ""
    return InputError(
        f"{path}{origin} cannot be rebuilt by Keras {keras.__version__}: {_reason(error)}; "
        "open it where it was made, and save it as .keras with Keras 3."
    )


def _reason(error: Exception) -> str:
    """Give the first words of a library's message in one line."""
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())
    return (text if len(text) <= 240 else f"{text[:240]}…").rstrip(".") or type(error).__name__


def _copy_with_notes(source: Path, target: Path, facts: dict[str, Any]) -> None:
    """Copy an archive with slimedge's notes added to its metadata, and without the time: one model has one file."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.infolist():
            fresh = zipfile.ZipInfo(member.filename)  # of 1980
            fresh.compress_type, fresh.external_attr = member.compress_type, member.external_attr
            if member.filename == keras_archive.METADATA:
                metadata = {**json.loads(old.read(member)), notes.KEY: facts}
                metadata.pop("date_saved", None)
                new.writestr(fresh, json.dumps(metadata))
                continue
            with old.open(member) as packed, new.open(fresh, "w", force_zip64=True) as copy:
                shutil.copyfileobj(packed, copy, 1 << 20)
