"""One model of the zoo through every column: loaded, exported, quantized, run, looked into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import Artifact
from slimedge.artifact_file import read_artifact
from slimedge.benchmarks.zoo import steps
from slimedge.benchmarks.zoo.rows import Row
from slimedge.errors import SlimedgeError
from slimedge.isolation import run_isolated
from slimedge.preloaded import Preloaded
from slimedge.runtime.arrays import read_arrays
from slimedge.runtime.backends import BACKENDS
from slimedge.runtime.ops import count_ops
from slimedge.runtime.targets import target_for

_LIBRARIES = Preloaded("tensorflow", "keras", steps.__name__)
FORMATS = ("onnx", "tflite")
# Of the output's range, and in dB against the float model.
LARGEST_ERROR = 1e-3
LEAST_SQNR_DB = {"static_wi8_ai8": 20.0, "weight_only_wi8_afp32": 25.0}


@dataclass(frozen=True, slots=True)
class File:
    """What became of one file.

    Attributes:
        made: whether it was.
        reason: why it was not, or does not pass; None where it passes.
        max_error: of a float file on three inputs, relative to the range of the output.
        sqnr_db: against the float model; None where nothing differs, or nothing was compared.
        heavy: convolutions, dense layers and the like that the runtime computes on integers, and all of them.
        file_bytes: its size.
        seconds: for making it.
        peak_bytes: memory of the processes that made it.
    """

    made: bool = False
    reason: str | None = None
    max_error: float | None = None
    sqnr_db: float | None = None
    heavy: tuple[int, int] | None = None
    file_bytes: int | None = None
    seconds: float | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one row.

    Attributes:
        row: its name.
        title: for a table.
        family: likewise.
        basic: among the rows that have to pass in all columns.
        file_bytes: of the Keras file.
        load: why the file cannot be loaded; None where it can.
        float_files: by format.
        quantized_files: by format.
        scheme: that was chosen, and why.
        chosen_because: the reason.
        float_layers: layers that stay float, with their kinds of reason.
        quantize_seconds: that loading, inspecting and quantizing took.
        quantize_peak_bytes: memory that they took.
        parameters: of the model.
        macs: for one example; None where a layer could not be counted.
        activation_bytes: for one example; None likewise.
        thinned: what removing channels did; see `slimedge.benchmarks.zoo.thinning.Thinned`. Empty where none were.
    """

    row: str
    title: str
    family: str
    basic: bool
    file_bytes: int | None = None
    load: str | None = None
    float_files: Mapping[str, File] = field(default_factory=dict)
    quantized_files: Mapping[str, File] = field(default_factory=dict)
    scheme: str | None = None
    chosen_because: str | None = None
    float_layers: Mapping[str, str] = field(default_factory=dict)
    quantize_seconds: float | None = None
    quantize_peak_bytes: int | None = None
    parameters: int | None = None
    macs: int | None = None
    activation_bytes: int | None = None
    thinned: Mapping[str, Any] = field(default_factory=dict)


def measure(row: Row, folder: Path, *, small: bool = False, ratio: float | None = None) -> Outcome:
    """Take a row through every column; what fails is a reason in its cell.

    Args:
        row: of the zoo.
        folder: empty; the files stay in it.
        small: at the size for tests.
        ratio: of the channels, that are removed before; None for the whole model.
    """
    found: dict[str, Any] = {
        "row": row.name,
        "title": row.title,
        "family": row.family,
        "basic": row.basic,
    }
    place = str(folder)
    asked = {"name": row.name, "small": small, "folder": place, "ratio": ratio}
    made = _step("prepare", asked, row.name)
    found |= {name: made.result[name] for name in ("file_bytes", "thinned")}
    custom = made.result["custom"]
    try:
        studied = _step("study", {"folder": place, "custom": custom}, row.name)
    except SlimedgeError as error:
        return Outcome(**found, load=str(error))
    told = studied.result
    names = (told.pop("inputs"), told.pop("outputs"))
    if "unquantized" in told:
        unmade = File(reason=told.pop("unquantized"))
        return Outcome(**found, **told, quantized_files=dict.fromkeys(FORMATS, unmade))
    found |= told | {"quantize_seconds": studied.seconds, "quantize_peak_bytes": studied.peak_rss_bytes}
    answers = {part: read_arrays(str(folder / f"{part}_answers.npz")) for part in ("checked", "scored")}
    source = _Source(folder, names, custom)
    found["float_files"] = {to: _file(source, steps.MODEL, to, answers["checked"], None) for to in FORMATS}
    found["quantized_files"] = {
        to: _file(source, steps.QUANTIZED, to, answers["scored"], told["scheme"]) for to in FORMATS
    }
    return Outcome(**found)


def _step(step: str, arguments: Mapping[str, Any], name: str) -> Any:
    return run_isolated(
        f"{steps.__name__}:{step}", arguments, label=f"the {step} step of {name}", preloaded=_LIBRARIES
    )


Names = tuple[list[str], list[str]]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class _Source:
    """The folder of a row's models, the names that their files must have, and whether they have custom classes."""

    folder: Path
    names: Names
    custom: bool


def _file(source: _Source, model: str, to: str, expected: Arrays, scheme: str | None) -> File:
    from slimedge.export.verify import fidelity

    facts: dict[str, Any] = {}
    try:
        done = _step(
            "export",
            {"folder": str(source.folder), "model": model, "to": to, "custom": source.custom},
            f"{model} to {to}",
        )
        artifact = read_artifact(Path(done.result["path"]))
        facts = {"made": True, "file_bytes": artifact.path.stat().st_size}
        facts |= {"seconds": done.seconds, "peak_bytes": done.peak_rss_bytes}
        reason = _named(artifact, source.names)
        inputs = read_arrays(str(source.folder / ("checked.npz" if scheme is None else "scored.npz")))
        measured = fidelity(expected, _answers(artifact, inputs))
        if scheme is None:
            facts["max_error"] = measured.max_error
            if measured.max_error > LARGEST_ERROR:
                reason = f"its error is {measured.max_error:.2g} of the output's range"
            return File(**facts, reason=reason)
        facts["sqnr_db"] = measured.sqnr_db
        heavy = count_ops(artifact).heavy
        facts["heavy"] = (sum(op.integer for op in heavy), len(heavy))
        return File(**facts, reason=reason or _shortfall(scheme, measured.sqnr_db, facts["heavy"]))
    except SlimedgeError as error:
        return File(**facts, reason=str(error))


def _named(artifact: Artifact, names: Names) -> str | None:
    """Whether a file has Keras' names in Keras' order."""
    found = ([spec.name for spec in artifact.inputs], [spec.name for spec in artifact.outputs])
    return None if found == names else f"its names are {found}, those of the model {names}"


def _answers(artifact: Artifact, inputs: Arrays) -> Arrays:
    """Run a file one example at a time, and an ONNX file also in batches of three, which must give the same.

    Raises:
        SlimedgeError: it cannot be run.
    """
    backend = BACKENDS[target_for(artifact).backend]
    count = len(next(iter(inputs.values())))
    with backend.open(artifact, threads=1) as session:
        each = [
            session.predict({name: array[index : index + 1] for name, array in inputs.items()})
            for index in range(min(count, steps.CHECKED))
        ]
        rest = {name: array[len(each) :] for name, array in inputs.items()}
        if count > len(each):
            each.append(session.predict(rest))
        found = {name: np.concatenate([answer[name] for answer in each]) for name in each[0]}
        if artifact.format == "onnx":
            batch = session.predict({name: array[: steps.CHECKED] for name, array in inputs.items()})
            for name, array in batch.items():
                np.testing.assert_allclose(array, found[name][: steps.CHECKED], rtol=1e-3, atol=_slack(array))
    return found


def _slack(array: NDArray[Any]) -> float:
    """What may differ between batch sizes: kernels sum in another order."""
    return 1e-3 * float(np.ptp(array) or 1.0)


def _shortfall(scheme: str, sqnr_db: float | None, heavy: tuple[int, int]) -> str | None:
    """Why a quantized file does not pass, None where it does."""
    least = LEAST_SQNR_DB[scheme]
    if sqnr_db is not None and sqnr_db < least:
        return f"its SQNR is {sqnr_db:.1f} dB, at least {least:.0f} are wanted"
    if scheme.startswith("static") and (heavy[0] < heavy[1] or not heavy[1]):
        return f"{heavy[0]} of {heavy[1]} convolutions and dense layers run on integers"
    return None
