"""Quantize a model for one target: try what may be fast there, measure, and keep only what is faster than float."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from slimedge.artifact import Step
from slimedge.benchmarks.bit_choice import choice_examples
from slimedge.benchmarks.fastest import Contender, Contest, decide, race
from slimedge.benchmarks.lost_answers import LostAnswers
from slimedge.compress.exclusions import exclusions
from slimedge.compress.quantization import STATIC_INT8, Quantize
from slimedge.compress.settings import Settings
from slimedge.errors import SlimedgeError
from slimedge.export.exporting import export_model
from slimedge.files import scratch_folder
from slimedge.integers import INTEGERS, NEVER_SATURATES_BITS, isa_here, kernel_bits, saturates
from slimedge.lineage import lineage_of, quantization_of, with_lineage
from slimedge.progress import Progress, silent
from slimedge.runtime.targets import formats_of, parse_target

if TYPE_CHECKING:
    import keras

    from slimedge.artifact import Artifact
    from slimedge.data import Data
    from slimedge.splitting import Splits

ONNX = "onnx"
DYNAMIC = "dynamic_wi8_afp32"
# Where the user names no budget, a file that may lose more than this is not the same model made faster.
LARGEST_DROP = 0.01


@dataclass(frozen=True, slots=True)
class Won:
    """What came out of the contest.

    Attributes:
        contest: what was tried.
        model: the quantized model that won, None where float did.
    """

    contest: Contest
    model: keras.Model | None


def quantize_for(
    model: keras.Model,
    parts: Splits,
    target: str,
    asked: Quantize,
    *,
    largest_drop: float = LARGEST_DROP,
    seed: int = 0,
    threads: int = 1,
    effort: str = "quick",
    progress: Progress = silent,
) -> Won:
    """Quantize a model in several ways, export each, and time all against float on a target.

    What is tried: what was asked for; in ONNX on a CPU whose 8-bit products may saturate, the same with 7-bit kernels;
    static int8 with depthwise convolutions, with the arithmetic between kernels, and with both left float; dynamic
    int8. In ONNX each static one has each pair of integer types that is exact on this CPU.

    Args:
        model: float, canonical.
        parts: of data that is bound to the model; accuracy is looked at where neither ranges nor scores are found.
        target: as `ort` or `litert`.
        asked: the settings that were asked for.
        largest_drop: share of accuracy that may be lost, one standard error included.
        seed: of the examples on which that is told.
        threads: of the runtime.
        effort: how long to time.
        progress: told what is being done.

    Raises:
        InputError: what was asked for cannot be done, or no such target.
    """
    place = parse_target(target)
    kind = formats_of(place)[0]
    with scratch_folder() as folder:
        progress("exporting the float model")
        (baseline,) = export_model(model, to=kind, folder=folder, name="float")
        models: dict[str, keras.Model] = {}
        files: dict[str, tuple[str, str | None, Artifact]] = {}
        contenders: dict[str, Contender] = {}
        for name, how in _ways(model, asked, kind).items():
            progress(f"quantizing: {name}")
            try:
                models[name] = how(model, parts.calibration)
            except SlimedgeError as error:
                if name == asked.scheme:
                    raise
                contenders[name] = Contender(name, failure=str(error))
                continue
            for integers in exact_integers(kind, models[name]):
                full = name if integers is None else f"{name}, {integers}"
                try:
                    (file,) = export_model(
                        models[name], to=kind, folder=folder, name=str(len(files)), integers=integers
                    )
                except SlimedgeError as error:
                    contenders[full] = Contender(full, failure=str(error))
                    continue
                files[full] = (name, integers, file)
                contenders[full] = Contender(full, file_bytes=file.path.stat().st_size)
        float_s, speedups = race(
            baseline,
            {name: file for name, (_, _, file) in files.items()},
            place,
            threads=threads,
            effort=effort,
            progress=progress,
        )
        tried = {name: models[name] for name, _, _ in files.values()}
        drops = _drops(model, tried, choice_examples(parts, seed), progress)
        measured = [
            replace(one, speedup=speedups.get(one.name), drop=drops.get(files[one.name][0]))
            if one.name in files
            else one
            for one in contenders.values()
        ]
    contest = decide(target, float_s, measured, largest_drop=largest_drop)
    if contest.winner is None:
        return Won(contest, None)
    name, integers, _ = files[contest.winner]
    return Won(contest, _noted(models[name], contest, integers))


def _noted(model: keras.Model, contest: Contest, integers: str | None) -> keras.Model:
    """The model with what it was chosen for in its lineage; its export takes the integers from there."""
    *before, step = lineage_of(model)
    won = next(one for one in contest.contenders if one.name == contest.winner)
    chosen = {
        "target": contest.target,
        **({"integers": integers} if integers else {}),
        **({"speedup": round(won.speedup.value, 3)} if won.speedup is not None else {}),
    }
    return with_lineage(model, (*before, Step(step.name, {**step.settings, "chosen_for": chosen})))


def _ways(model: keras.Model, asked: Quantize, kind: str) -> dict[str, Callable[[Any, Any], Any]]:
    """What is tried, the preferred ones first."""
    ways: dict[str, Callable[[Any, Any], Any]] = {asked.scheme: asked}
    static = replace(asked, scheme=STATIC_INT8)
    if asked.scheme in ("auto", STATIC_INT8):
        if kind == ONNX and not asked.bits and saturates("u8s8", isa_here()):
            static = replace(static, bits={"*": NEVER_SATURATES_BITS})
            ways[f"static int8, {NEVER_SATURATES_BITS}-bit kernels"] = static
        for name, layers in exclusions(model, Settings(exclude=frozenset(asked.exclude))).items():
            bits = {pattern: width for pattern, width in static.bits.items() if pattern not in layers}
            ways[f"static int8, {name}"] = replace(static, exclude=(*asked.exclude, *layers), bits=bits)
    if asked.scheme != DYNAMIC:
        ways[DYNAMIC] = Quantize(scheme=DYNAMIC, exclude=asked.exclude)
    return ways


def exact_integers(kind: str, quantized: keras.Model) -> tuple[str | None, ...]:
    """Give the integer types of a model's file that are exact on this CPU; None where it has no choice of them.

    Args:
        kind: format of the file.
        quantized: the model.
    """
    lineage = lineage_of(quantized)
    scheme = (quantization_of(lineage) or {}).get("scheme", "")
    if kind != ONNX or not str(scheme).startswith("static"):
        return (None,)
    isa, bits = isa_here(), kernel_bits(lineage)
    return tuple(integers for integers in INTEGERS if not saturates(integers, isa, bits))


def _drops(
    model: keras.Model, tried: Mapping[str, keras.Model], examples: Data, progress: Progress
) -> dict[str, float]:
    """What each model may lose against the float one, by name; nothing where answers are not classes."""
    from slimedge.benchmarks.quantizing import model_outputs

    lost = LostAnswers(model, examples)
    lost.exact = model_outputs(model, examples, lost.position, "scoring the float model", progress)
    if not lost.has_classes():
        return {}
    return {
        name: lost.likely_share_of(model_outputs(one, examples, lost.position, f"scoring: {name}", progress))
        for name, one in tried.items()
    }
