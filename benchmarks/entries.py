"""Models as the user names them, each as a file on a target under a name that no other has."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slimedge.artifact import Artifact, TensorSpec
from slimedge.artifact_file import read_artifact
from slimedge.errors import InputError
from slimedge.runtime.targets import Target, measurer, opens, parse_target, target_for

if TYPE_CHECKING:
    import keras


HDF5_ENDINGS = frozenset((".h5", ".hdf5"))


@dataclass(frozen=True, slots=True)
class Entry:
    """One file to be looked at."""

    name: str
    artifact: Artifact
    target: Target


@contextmanager
def opened(
    groups: Sequence[Sequence[keras.Model | Artifact | Path | str]],
    targets: Collection[str] = (),
    *,
    trust: bool,
    on_every_target: bool = False,
) -> Iterator[list[list[Entry]]]:
    """Give every model as an entry; models in memory are files for as long as the block runs.

    Args:
        groups: Keras models, artifacts or paths.
        targets: names of targets; formats that none of them opens run on their usual runtime.
        trust: whether an `.h5` may be opened.
        on_every_target: whether a model that several targets open is an entry for each of them.

    Raises:
        InputError: a file that is no model, a target that is unknown, idle or given twice, or, where a model can be
            only one entry, several targets that open it.
    """
    with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
        named = [
            [
                _as_artifact(model, Path(folder, f"{row}_{column}"), trust=trust)
                for column, model in enumerate(group)
            ]
            for row, group in enumerate(groups)
        ]
        yield _entries(named, targets, on_every_target=on_every_target)


def _as_artifact(
    model: keras.Model | Artifact | Path | str, folder: Path, *, trust: bool
) -> tuple[str, Artifact]:
    if isinstance(model, Artifact):
        return model.path.name, model
    if isinstance(model, str | Path):
        path = Path(model)
        if path.suffix.lower() not in HDF5_ENDINGS:
            return path.name, read_artifact(path)
        from slimedge.keras_file import load_model

        name, model = path.name, load_model(path, trust=trust)
    else:
        name = str(getattr(model, "name", model))
    from slimedge.keras_file import save_model

    return name, save_model(model, folder / "model.keras")


def _entries(
    named: Sequence[Sequence[tuple[str, Artifact]]], targets: Collection[str], *, on_every_target: bool
) -> list[list[Entry]]:
    """Choose targets for every file, and a name that no other has."""
    # `cpu` is no backend: it is what every file runs on where nothing else is asked for.
    wanted = {name: parse_target(name) for name in targets if name.strip().lower() != "cpu"}
    used: set[str] = set()
    taken: set[str] = set()
    entries: list[list[Entry]] = []
    for group in named:
        entries.append([])
        for name, artifact in group:
            fitting = [given for given in wanted if opens(wanted[given], artifact.format)]
            if len(fitting) > 1 and not on_every_target:
                raise InputError(
                    f"{' and '.join(fitting)} both run .{artifact.format}; give one target a format, and compare "
                    "targets in two runs, or time one file on both with `slimedge benchmark`."
                )
            used.update(fitting)
            unique = _unique(name, artifact.path, taken)
            taken.add(unique)
            entries[-1] += [
                Entry(unique, artifact, target_for(artifact, given)) for given in (fitting or (None,))
            ]
    idle = sorted(set(wanted) - used)
    if idle:
        raise InputError(
            f"the target '{idle[0]}' runs none of the given files; leave it out, or add a file for it."
        )
    return entries


def _unique(name: str, path: Path, taken: Collection[str]) -> str:
    """Name a file by its folder, too, or by a number, where another has its name."""
    candidates = [name, f"{path.parent.name}/{name}"]
    candidates += [f"{name} ({number})" for number in range(2, len(taken) + 3)]
    return next(candidate for candidate in candidates if candidate not in taken)


def check_interfaces(entries: Sequence[Entry]) -> None:
    """Refuse models that cannot take the same examples, or do not give as many outputs."""
    first, *others = entries
    for other in others:
        for what, expected, given in (
            ("inputs", first.artifact.inputs, other.artifact.inputs),
            ("outputs", first.artifact.outputs, other.artifact.outputs),
        ):
            if len(expected) != len(given) or not all(map(_alike, expected, given)):
                raise InputError(
                    f"{other.name} has the {what} {_listed(given)} where {first.name} has {_listed(expected)}; "
                    "compare models that take and give the same."
                )


def check_device(entries: Sequence[Entry]) -> None:
    """Refuse targets that give no times to compare, and several devices, whose times would tell more of these."""
    first, *others = entries
    untimed = next((entry for entry in entries if measurer(entry.target) != "agents"), None)
    if untimed is not None:
        raise InputError(
            f"the target '{untimed.target}' gives nothing that could be compared; use `slimedge benchmark --target "
            f"{untimed.target}`, and compare on a target that runs litert or ort."
        )
    other = next((entry for entry in others if entry.target.device != first.target.device), None)
    if other is not None:
        raise InputError(
            f"{first.name} runs on {first.target} and {other.name} on {other.target}; compare models on one device, "
            "with a --target for each of their formats, or time them with `slimedge benchmark`."
        )


def _alike(one: TensorSpec, other: TensorSpec) -> bool:
    return len(one.shape) == len(other.shape) and all(
        None in sizes or sizes[0] == sizes[1] for sizes in zip(one.shape[1:], other.shape[1:], strict=True)
    )


def _listed(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"'{spec.name}' {spec.shape}" for spec in specs)
