"""Export a quantized model for targets: of each format the fastest file, and only where it is faster than float."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from slimedge.artifact import Artifact
from slimedge.artifact_file import read_artifact
from slimedge.benchmarks.fastest import Contender, Contest, decide, race
from slimedge.benchmarks.quantizing_for import exact_integers
from slimedge.errors import GoalError, InputError
from slimedge.export.exporting import export_model
from slimedge.files import atomic_path, scratch_folder
from slimedge.keras_file import load_model
from slimedge.lineage import lineage_of, quantization_of
from slimedge.progress import Progress, silent
from slimedge.runtime.targets import formats_of, parse_target


def export_for(
    model: Path | str,
    baseline: Path | str,
    targets: Collection[str],
    *,
    folder: Path | str = ".",
    name: str | None = None,
    io: str = "float32",
    dense: bool = False,
    effort: str = "quick",
    trust: bool = False,
    progress: Progress = silent,
) -> tuple[tuple[Artifact, Contest], ...]:
    """Export a quantized model file for each target, timed against the float model on it.

    In ONNX each pair of integer types that is exact on this CPU is tried.

    Args:
        model: a quantized `.keras` file.
        baseline: the float one.
        targets: one a format at most.
        folder: where the files are written.
        name: of the files, without ending; None for the model file's own.
        io: types of inputs and outputs of the quantized files.
        dense: as in `export_model`, of the quantized files.
        effort: how long to time.
        trust: whether an `.h5` may be opened.
        progress: told what is being done.

    Returns:
        The fastest file for each target, with what was tried.

    Raises:
        InputError: a file or target that cannot be used, or a model that is not quantized.
        GoalError: float is the fastest on one of the targets; nothing is written for any.
    """
    quantized = load_model(model, trust=trust)
    if quantization_of(lineage_of(quantized)) is None:
        raise InputError(
            f"{model} is not quantized, so there is nothing to choose for a target; export it without --target."
        )
    places = {target: parse_target(target) for target in targets}
    kinds = [formats_of(place)[0] for place in places.values()]
    if len(set(kinds)) < len(kinds):
        raise InputError(f"{', '.join(targets)} run files of one format; give one target a format.")
    found = []
    with scratch_folder() as scratch:
        for (target, place), kind in zip(places.items(), kinds, strict=True):
            progress(f"exporting the float model to {kind}")
            (float_file,) = export_model(baseline, to=kind, folder=scratch, name="float", trust=trust)
            files: dict[str, Artifact] = {}
            for integers in exact_integers(kind, quantized):
                what = integers or kind
                progress(f"exporting {what}")
                (files[what],) = export_model(
                    model,
                    to=kind,
                    folder=scratch / what,
                    name=name,
                    io=io,
                    integers=integers,
                    dense=dense,
                    trust=trust,
                )
            float_s, speedups = race(float_file, files, place, effort=effort, progress=progress)
            contest = decide(
                target,
                float_s,
                [
                    Contender(what, file_bytes=file.path.stat().st_size, speedup=speedups[what])
                    for what, file in files.items()
                ],
            )
            if contest.winner is None:
                raise GoalError(
                    f"{contest.reason.rstrip('.')}; nothing was written: deploy the float model there, or export "
                    "without --target for the smaller file."
                )
            found.append((files[contest.winner], contest))
        return tuple((_kept(file, Path(folder)), contest) for file, contest in found)


def _kept(file: Artifact, folder: Path) -> Artifact:
    with atomic_path((folder / file.path.name).absolute()) as temporary:
        shutil.copyfile(file.path, temporary)
    return read_artifact(folder / file.path.name)
