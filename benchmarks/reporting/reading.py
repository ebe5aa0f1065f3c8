"""Read what `slimedge.benchmarks.reporting.json` wrote: a file in, a `Report` out, or a sentence that says why not."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from slimedge.artifact import Step
from slimedge.benchmarks.judging import GoalOutcome
from slimedge.benchmarks.reporting.json import REPORT_SCHEMA
from slimedge.benchmarks.reporting.packing import unpack
from slimedge.benchmarks.reporting.report import Report
from slimedge.comparison import SCHEMA, Comparison, Evaluation, Variant
from slimedge.errors import InputError

_AGAIN = "write it again with `slimedge compare --json`"
_MOST = (1 << 63) - 1


class _DamagedError(Exception):
    """A report that says what it is and does not hold what it must: where and why."""


@dataclass(frozen=True, slots=True)
class _Packed:
    """An `Evaluation` as it stands in the file."""

    fingerprint: str
    n: int
    truth: str | None
    answers: Mapping[str, str]


def read(path: Path) -> Report:
    """Read a report.

    Args:
        path: of a JSON file with one comparison or several.

    Returns:
        The comparisons, each model once in each, with goals and lineage. What an older report lacks is None.

    Raises:
        InputError: there is no such file, it is no JSON, no report, one of a schema that is not known here, or a field
            is missing or holds something else; the field is named.
    """
    document = _json(path)
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(schema, str) or not schema.startswith("slimedge/"):
        raise InputError(f"{path} is no report of slimedge; {_AGAIN}.")
    if schema not in {SCHEMA, REPORT_SCHEMA}:
        raise InputError(
            f"{path} has the schema {schema!r}, and this version reads {SCHEMA} and {REPORT_SCHEMA}; {_AGAIN}, or "
            "update slimedge."
        )
    try:
        return _report(document, path)
    except _DamagedError as error:
        raise InputError(f"{path} is damaged: {error}; {_AGAIN}.") from error


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes(), parse_constant=_finite, parse_float=_finite, parse_int=_whole)
    except FileNotFoundError as error:
        raise InputError(f"there is no report {path}; {_AGAIN} {path}.") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{path} could not be read: {reason}; name a JSON file.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON; {_AGAIN}.") from error


def _finite(text: str) -> float:
    """Read a number; NaN, Infinity and what is as large as that are none."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _whole(text: str) -> int:
    value = int(text)
    if abs(value) > _MOST:
        raise ValueError(text)
    return value


def _report(document: Mapping[str, Any], path: Path) -> Report:
    comparisons: tuple[Comparison, ...]
    if document["schema"] == SCHEMA:
        comparisons = (_comparison(document, ""),)
    else:
        listed = document.get("comparisons")
        if not isinstance(listed, list) or not listed:
            raise _DamagedError("comparisons must be a list with something in it")
        comparisons = tuple(_comparison(one, f"comparisons[{number}].") for number, one in enumerate(listed))
    goals: tuple[GoalOutcome, ...] = _typed("goals", document.get("goals", []), "goals")
    lineage: dict[str, tuple[Step, ...]] = _typed("lineage", document.get("lineage", {}), "lineage")
    title = document.get("title")
    return Report(title if isinstance(title, str) else path.name, comparisons, goals, lineage)


def _comparison(document: Any, place: str) -> Comparison:
    if not isinstance(document, dict):
        raise _DamagedError(f"{place.rstrip('.')} must be an object")
    if document.get("schema") != SCHEMA:
        raise _DamagedError(f"{place}schema must be {SCHEMA}")
    evaluation = document.get("evaluation")
    found: Comparison = _typed("comparison", {**document, "evaluation": None}, place)
    _check(found, place)
    if evaluation is None:
        return found
    return replace(found, evaluation=_evaluation(evaluation, found, f"{place}evaluation"))


def _evaluation(document: Any, comparison: Comparison, place: str) -> Evaluation:
    packed: _Packed = _typed("evaluation", document, place)
    if packed.n < 1:
        raise _DamagedError(f"{place}.n must be 1 or more")
    names = {each.name for each in _models(comparison)}
    stray = next((name for name in packed.answers if name not in names), None)
    if stray is not None:
        raise _DamagedError(f"{place}.answers has {stray!r}, which is none of the models")
    truth = None if packed.truth is None else _unpacked(packed.truth, packed.n, f"{place}.truth")
    answers = {
        name: _unpacked(text, packed.n, f"{place}.answers[{name!r}]") for name, text in packed.answers.items()
    }
    return Evaluation(packed.fingerprint, packed.n, truth, answers)


def _unpacked(text: str, n: int, place: str) -> tuple[int, ...]:
    try:
        return unpack(text, n)
    except ValueError as error:
        raise _DamagedError(f"{place} {error}") from error


def _check(comparison: Comparison, place: str) -> None:
    """Refuse figures that have the right type and cannot have been measured."""
    models = _models(comparison)
    names = [each.name for each in models]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise _DamagedError(f"{place}variants has {twice!r} twice")
    for number, model in enumerate(models):
        where = f"{place}variants[{number - 1}]" if number else f"{place}baseline"
        wrong = next(_impossible(model), None)
        if wrong is not None:
            raise _DamagedError(f"{where}.{wrong}")


def _impossible(model: Variant) -> Iterator[str]:
    if model.file_bytes is not None and model.file_bytes < 1:
        yield "file_bytes must be 1 or more"
    for field, share in (("accuracy", model.accuracy), ("agreement", model.agreement)):
        if share is not None and (share.n < 1 or not 0.0 <= share.value <= 1.0):
            yield f"{field} must be a share in 0…1 of 1 example or more"
    speedup, latency = model.speedup, model.latency_s
    if speedup is not None and not 0.0 < speedup.low <= speedup.value <= speedup.high:
        yield "speedup must be over 0 and in its interval"
    if latency is not None and latency.p50 <= 0.0:
        yield "latency_s.p50 must be over 0"
    turns = None if latency is None else latency.turns
    if turns is not None and (len(turns) < 2 or not turns[0] or len({len(launch) for launch in turns}) > 1):
        yield "latency_s.turns must have two launches or more, each with as many turns"
    if turns is not None and any(median <= 0.0 for launch in turns for median in launch):
        yield "latency_s.turns must be over 0"


def _models(comparison: Comparison) -> tuple[Variant, ...]:
    return (comparison.baseline, *comparison.variants)


@cache
def _adapters() -> dict[str, Any]:
    from pydantic import TypeAdapter

    return {
        "comparison": TypeAdapter(Comparison),
        "evaluation": TypeAdapter(_Packed),
        "goals": TypeAdapter(tuple[GoalOutcome, ...]),
        "lineage": TypeAdapter(dict[str, tuple[Step, ...]]),
    }


def _typed(kind: str, value: Any, place: str) -> Any:
    from pydantic import ValidationError

    try:
        return _adapters()[kind].validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = place if not place or place.endswith(".") else f"{place}."
        field = (place + _field(first["loc"])).replace(".[", "[").rstrip(".")
        problem = (
            "is missing" if first["type"] in {"missing", "missing_argument"} else f"is wrong ({first['msg']})"
        )
        raise _DamagedError(f"{field} {problem}") from error


def _field(location: Sequence[str | int]) -> str:
    """Write where something stands as one would reach it: `variants[0].latency_s.p50`."""
    steps = (f".{step}" if str(step).isidentifier() else f"[{step!r}]" for step in location)
    return "".join(steps).lstrip(".")
