"""Make a student of a teacher's file, and say how large both are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slimedge.artifact import Artifact
from slimedge.benchmarks.inspecting import Inspection
from slimedge.errors import InputError
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class MadeStudent:
    """A student that was written.

    Attributes:
        artifact: the file, with its lineage.
        before: what is in the teacher, as a file without an optimizer.
        after: what is in the student.
    """

    artifact: Artifact
    before: Inspection
    after: Inspection


def make_student(
    teacher: Path | str,
    out: Path | str,
    make: Callable[[keras.Model], keras.Model],
    *,
    trust: bool = False,
    progress: Progress = silent,
) -> MadeStudent:
    """Write the student of a model file.

    Args:
        teacher: a `.keras` file.
        out: the `.keras` file to write.
        make: from the teacher to the student.
        trust: whether an `.h5` may be opened.
        progress: told what is being done.

    Raises:
        InputError: a file or setting that cannot be used; nothing is written.
    """
    from slimedge.benchmarks.inspecting import inspect
    from slimedge.canonical import canonical
    from slimedge.files import scratch_folder
    from slimedge.keras_file import load_model, save_model

    if Path(out).exists() and Path(out).samefile(teacher):
        raise InputError(f"{out} is the teacher itself; write the student to another file.")
    progress("loading the teacher")
    network = canonical(load_model(teacher, trust=trust, compiled=False))
    progress("making the student")
    artifact = save_model(make(network), out)
    progress("weighing")
    with scratch_folder() as folder:
        before = inspect(save_model(network, folder / Path(teacher).with_suffix(".keras").name))
    return MadeStudent(artifact, before, inspect(artifact))
