"""Export a Keras model to files, each converted and checked in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slimedge import notes
from slimedge.artifact import Artifact, Format, Step
from slimedge.artifact_file import read_artifact
from slimedge.errors import InputError
from slimedge.export.c_array import HEADER_ENDING
from slimedge.export.exporters import DYNAMIC, FLOATS, IO_TYPES, PACKAGINGS, check_format
from slimedge.files import atomic_path, scratch_folder
from slimedge.integers import INTEGERS, WIDE_ACTIVATIONS, integers_for, isa_here, kernel_bits
from slimedge.isolation import DEFAULT_TIME_LIMIT_S, run_isolated
from slimedge.lineage import lineage_of, quantization_of
from slimedge.preloaded import Preloaded

if TYPE_CHECKING:
    import keras

# Not ONNX Runtime, whose import starts a thread.
_LIBRARIES = Preloaded(
    "tensorflow",
    "tensorflow.lite.python.lite",
    "keras",
    "tf2onnx",
    "ai_edge_litert.interpreter",
    "slimedge.export.to_onnx",
    "slimedge.export.to_tflite",
    "slimedge.export.worker",
)


def export_model(
    model: keras.Model | Path | str,
    *,
    to: str | Sequence[str] = ("onnx", "tflite"),
    folder: Path | str = ".",
    name: str | None = None,
    io: str = "float32",
    batch: int = 1,
    integers: str | None = None,
    dense: bool = False,
    compute: str = "float32",
    trust: bool = False,
    examples: Mapping[str, Any] | None = None,
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
    memory_limit_bytes: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> tuple[Artifact, ...]:
    """Export a model, float or quantized; a quantized one is lowered, never calibrated again.

    Each file is converted in a fresh process, checked, loaded in its runtime and compared with Keras before it
    appears under its name; one that computes something else is refused with the layer where it parts.

    Args:
        model: a Keras model, or the path of one; for `c-array` alone, the path of a `.tflite` file as well.
        to: formats, `onnx`, `tflite` and `c-array`, the TFLite file (its zeros stored as every other weight) as C++
            source and header for TFLite Micro.
        folder: where the files are written; made where it is missing.
        name: of the files, without ending; None for the model file's or the model's own.
        io: `float32`, or `int8` or `int16` for integer inputs and outputs of a quantized model.
        batch: fixed batch of the TFLite file; ONNX takes any.
        integers: types of a quantized ONNX file's activations and kernels, one of
            `slimedge.integers.INTEGERS`; None for those that were measured to be the fastest when the model was
            quantized for a target, else for those that suit this machine's CPU.
        dense: whether the TFLite file stores zeros of pruned kernels as every other weight, for runtimes without the
            operator DENSIFY (TFLite Micro, most delegates); else they are left out where that makes it smaller.
        compute: `float32`, or `float16` for an ONNX file of a float model whose operators compute in that, for GPUs;
            inputs and outputs stay float32. A TFLite file leaves it to whoever runs it.
        trust: whether an `.h5` may be loaded.
        examples: arrays by input name, first axis the examples, on which file and model are compared; None
            for seeded random ones.
        time_limit_s: for each file.
        memory_limit_bytes: for each file's process; None for nine tenths of the machine's.
        progress: told the name of each file before it is made.

    Returns:
        The artifacts, in the order of `to`.

    Raises:
        InputError: an unknown format or option, a model that cannot be read, a folder that cannot be written.
        ConversionError: a converter failed, died, or met a limit.
        CheckError: a file differs from Keras beyond tolerance.
    """
    formats = [to] if isinstance(to, str) else list(to)
    for item in formats:
        check_format(item)
    _check_option("io", io, tuple(IO_TYPES))
    _check_option("compute", compute, FLOATS)
    isa = isa_here()
    if integers is not None:
        _check_option("integers", integers, INTEGERS)
    if batch < 1:
        raise InputError(f"batch is {batch}, a TFLite file needs a fixed batch of 1 or more.")
    folder = Path(folder)
    if isinstance(model, (str, Path)) and Path(model).suffix.lower() == f".{Format.TFLITE}":
        return _packaged(Path(model), formats, folder, name)
    made: list[Artifact] = []
    with _as_file(model) as (path, lineage, modules), _as_npz(examples) as arrays:
        chosen = (quantization_of(lineage) or {}).get("chosen_for", {}).get("integers")
        integers = integers or chosen or integers_for(isa, kernel_bits(lineage))
        stem = name or (Path(model).stem if isinstance(model, (str, Path)) else model.name)
        for target in formats:
            if target in PACKAGINGS:
                with scratch_folder() as scratch:
                    (inside,) = export_model(
                        model,
                        to=Format.TFLITE,
                        folder=scratch,
                        name=stem,
                        io=io,
                        batch=batch,
                        dense=True,
                        trust=trust,
                        examples=examples,
                        time_limit_s=time_limit_s,
                        memory_limit_bytes=memory_limit_bytes,
                        progress=progress,
                    )
                    made += _packaged(inside.path, [target], folder, stem)
                continue
            out = folder / f"{stem}.{target}"
            if progress is not None:
                progress(out.name)
            settings: dict[str, Any] = {"to": target, "io": io}
            if target == Format.TFLITE:
                settings |= {"batch": batch} | ({"dense": True} if dense else {})
            elif compute != "float32":
                settings |= {"compute": compute}
            elif _computes_on_integers(lineage):
                settings |= {"integers": integers, "isa": list(isa)}
            steps = (*lineage, Step("export", settings))
            # The temporary file is this process's: the other one may be killed at any moment.
            with atomic_path(out.absolute()) as temporary:
                run_isolated(
                    "slimedge.export.worker:convert",
                    {
                        "model": str(path),
                        "to": target,
                        "out": str(temporary),
                        "name": out.name,
                        "io": io,
                        "batch": batch,
                        "integers": integers,
                        "trust": trust,
                        "examples": None if arrays is None else str(arrays),
                        "modules": modules,
                        "dense": dense,
                        "compute": "float32" if target == Format.TFLITE else compute,
                        "metadata": notes.to_dict(steps),
                    },
                    label=f"the export of {out.name}",
                    time_limit_s=time_limit_s,
                    memory_limit_bytes=memory_limit_bytes,
                    preloaded=_LIBRARIES,
                )
            made.append(read_artifact(out))
    return tuple(made)


def files_of(artifact: Artifact) -> tuple[Path, ...]:
    """Give all files of an export: of a C array, the header too."""
    if artifact.format is Format.C_ARRAY:
        return artifact.path, artifact.path.with_suffix(HEADER_ENDING)
    return (artifact.path,)


def _packaged(file: Path, formats: Sequence[str], folder: Path, name: str | None) -> tuple[Artifact, ...]:
    for item in formats:
        if item not in PACKAGINGS:
            raise InputError(
                f"{file.name} is a TFLite file, which can be exported to {', '.join(PACKAGINGS)}; {item} is made from "
                "the .keras file."
            )
    return tuple(PACKAGINGS[item](file, folder=folder, name=name) for item in formats)


def _computes_on_integers(lineage: Sequence[Step]) -> bool:
    """Whether ONNX Runtime does, on a CPU."""
    scheme = str((quantization_of(lineage) or {}).get("scheme", ""))
    static = scheme.startswith("static_") and not scheme.endswith(WIDE_ACTIVATIONS)
    return static or scheme == DYNAMIC


def _check_option(option: str, given: str, allowed: Sequence[str]) -> None:
    if given not in allowed:
        raise InputError(f"{option} is '{given}'; it can be {', '.join(allowed)}.")


@contextmanager
def _as_file(model: keras.Model | Path | str) -> Iterator[tuple[Path, tuple[Step, ...], list[str]]]:
    """Give a model's path, lineage and the modules of its custom layers; a model in memory is saved first."""
    if isinstance(model, (str, Path)):
        path = Path(model).absolute()
        yield path, read_artifact(path).lineage if path.suffix == ".keras" else (), _registered_modules()
        return
    from slimedge.keras_file import save_model
    from slimedge.unfolding import is_symbolic, unfolded

    if not is_symbolic(model) and model.built:
        model = unfolded(model)  # so that no process has to import the user's class
    with scratch_folder() as scratch:
        path = scratch / "model.keras"
        save_model(model, path, lineage=lineage_of(model))
        yield path, lineage_of(model), _custom_modules(model)


def _registered_modules() -> list[str]:
    """Modules whose classes this process has registered with Keras; a file's own classes are among them, if at all."""
    if "keras" not in sys.modules:
        return []
    from keras.saving import get_custom_objects

    found = {getattr(kind, "__module__", "") or "" for kind in get_custom_objects().values()}
    return sorted(name for name in found if name.split(".")[0] not in {"", "__main__", "keras"})


def _custom_modules(model: keras.Model) -> list[str]:
    """Modules that define the model's own layer classes, so that a fresh process can import them."""
    found = {type(layer).__module__ for layer in model._flatten_layers()}
    own = sorted(name for name in found if name.split(".")[0] != "keras")
    if "__main__" in own:
        kind = next(
            type(layer).__name__ for layer in model._flatten_layers() if type(layer).__module__ == "__main__"
        )
        raise InputError(
            f"layer class {kind} is defined in the running script, where a fresh process cannot import it; move it "
            "to a module of its own and register it with keras.saving.register_keras_serializable."
        )
    return [name for name in own if name in sys.modules]


@contextmanager
def _as_npz(examples: Mapping[str, Any] | None) -> Iterator[Path | None]:
    if examples is None:
        yield None
        return
    with scratch_folder() as scratch:
        path = scratch / "examples.npz"
        arrays: dict[str, Any] = {name: np.asarray(array) for name, array in examples.items()}
        np.savez(path, **arrays)
        yield path
