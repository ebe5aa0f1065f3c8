"""Whether exports, targets, goals and stages of a recipe go together; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from slimedge.errors import InputError
from slimedge.export.exporters import IO_TYPES
from slimedge.recipes.contents import Exports
from slimedge.recipes.problems import Problem
from slimedge.runtime.targets import Target, formats_of, parse_target, usual_target
from slimedge.weight_rounding import HALF

if TYPE_CHECKING:
    from slimedge.recipes.contents import DataSettings, Goals
    from slimedge.recipes.stages import NamedStage

# Settings of the exports that only one format has.
ONLY_FOR = {"integers": "onnx", "dense": "tflite", "compute": "onnx"}
# The bits of activations, by the stage that quantizes and what it says; schemes that compute in float have none.
TRAINED_BITS = 8
QUANTIZING = frozenset({"quantize", "quantize-for", "train"})


def export_problems(exports: Exports, stages: Sequence[NamedStage]) -> Iterator[Problem]:
    """Find settings of the exports that say nothing about the files, or that the stages do not lead to."""
    for format_ in dict.fromkeys(exports.to):
        if exports.to.count(format_) > 1:
            yield Problem(("exports", "to"), f"'{format_}' stands there twice; name each format once.")
    usual = Exports(exports.to)
    for setting, format_ in ONLY_FOR.items():
        if getattr(exports, setting) != getattr(usual, setting) and format_ not in exports.to:
            yield Problem(
                ("exports", setting), f"{setting} is for {format_}, which is not exported; leave it out."
            )
    last = next((each for each in reversed(stages) if each.name in QUANTIZING), None)
    if exports.compute != "float32" and last is not None and last.settings.get("scheme") != HALF:
        yield Problem(
            ("exports", "compute"),
            f"a model cannot compute in {exports.compute} that {last.name} has put on integers; leave that stage out "
            f"or quantize with the scheme {HALF}, or give compute: float32.",
        )
    if (wanted := IO_TYPES[exports.io]) is not None:
        yield from _integer_problems(exports, last, wanted)


def _integer_problems(exports: Exports, last: NamedStage | None, wanted: int) -> Iterator[Problem]:
    """Find that inputs and outputs of so many bits cannot be had of what the last quantizing stage makes."""
    scheme = "static_wi8_ai16" if exports.io == "int16" else "static_wi8_ai8"
    if last is None:
        yield Problem(
            ("exports", "io"),
            f"{exports.io} inputs and outputs need integers inside, and no stage quantizes; add quantize with the "
            f"scheme {scheme}, or give io: float32.",
        )
    elif (bits := activation_bits(last)) not in (None, wanted):
        inside = f"activations of {bits} bits" if bits else "floats"
        yield Problem(
            ("exports", "io"),
            f"{exports.io} inputs and outputs cannot be had of a model that computes with {inside}, as {last.name} "
            f"makes it; quantize with the scheme {scheme}, or give io: float32.",
        )


def activation_bits(stage: NamedStage) -> int | None:
    """Give the bits of the activations that a stage leads to: 0 for floats, None where only the model tells."""
    if stage.name == "train":
        return TRAINED_BITS
    if stage.name == "quantize-for":
        return None
    scheme = str(stage.settings["scheme"])
    if scheme == "auto":
        return None
    tail = scheme.rpartition("_ai")[2] if scheme.startswith("static_") else "0"
    return int(tail)


def targets_for(names: Sequence[str], exports: Exports) -> tuple[tuple[str, ...], list[Problem]]:
    """Read the names of targets, and find those that run nothing which is exported.

    Args:
        names: as the recipe has them; none for the usual ones.
        exports: what they run.

    Returns:
        The targets, and the problems.
    """
    if not names:
        return tuple(str(usual_target(format_)) for format_ in exports.to), []
    found: dict[str, Target] = {}
    problems: list[Problem] = []
    for index, name in enumerate(names):
        place = ("targets", index)
        try:
            target = parse_target(name)
        except InputError as error:
            problems.append(Problem(place, str(error)))
            continue
        formats = formats_of(target)
        shared = [format_ for format_ in formats if format_ in found]
        if not set(formats) & set(exports.to):
            problems.append(
                Problem(
                    place,
                    f"the target '{target}' runs .{', .'.join(formats)} and exported are .{', .'.join(exports.to)}; "
                    "export that format too, or name another target.",
                )
            )
        elif shared:
            problems.append(
                Problem(
                    place,
                    f"the targets '{found[shared[0]]}' and '{target}' both run .{shared[0]}; give one for each format, "
                    "and run the recipe once more for the other.",
                )
            )
        found |= dict.fromkeys(formats, target)
    return tuple(dict.fromkeys(str(target) for target in found.values())), problems


def goal_problems(goals: Goals, exports: Exports) -> Iterator[Problem]:
    """Find goals that nothing can be measured for."""
    if goals.max_arena_bytes is not None and "tflite" not in exports.to:
        yield Problem(
            ("goals", "max-arena-bytes"),
            "max-arena-bytes is of the TFLite file, which is not exported; add tflite to exports, or leave it out.",
        )


def training_problems(data: DataSettings, stages: Sequence[NamedStage]) -> Iterator[Problem]:
    """Find stages that train where no example is for that."""
    if data.training != 0 or isinstance(data.training, float):
        return
    for index, each in enumerate(stages):
        if each.settings.get("epochs"):
            yield Problem(
                ("data", "training"),
                f"0 examples are for training, and stage {index + 1}, {each.name}, trains on some; give more, or "
                "epochs: 0 where a stage can do without.",
            )
            return
