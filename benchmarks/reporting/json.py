"""Comparisons as JSON: the fields of `slimedge.comparison`, null for what was not measured."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any

from slimedge.benchmarks.reporting.packing import pack
from slimedge.benchmarks.reporting.report import Report
from slimedge.comparison import Comparison, Evaluation, Variant

REPORT_SCHEMA = "slimedge/report/1"
# An indented list of numbers only; no string can look so, since JSON writes its line breaks as \n.
_NUMBERS = re.compile(r"\[\n\s+[-+.\de]+(?:,\n\s+[-+.\de]+)*\n\s*\]")


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """Give a comparison as plain dicts, lists, strings and numbers."""
    return {
        "schema": comparison.schema,
        "environment": {**asdict(comparison.environment), "isa": list(comparison.environment.isa)},
        "baseline": _variant(comparison.baseline),
        "variants": [_variant(variant) for variant in comparison.variants],
        "evaluation": None if comparison.evaluation is None else _evaluation(comparison.evaluation),
    }


def _variant(variant: Variant) -> dict[str, Any]:
    return {**asdict(variant), "sparsity": variant.sparsity}


def _evaluation(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "fingerprint": evaluation.fingerprint,
        "n": evaluation.n,
        "truth": None if evaluation.truth is None else pack(evaluation.truth),
        "answers": {name: pack(answers) for name, answers in evaluation.answers.items()},
    }


def render(report: Report) -> str:
    """Write a report: one comparison is its own document, several are listed under `comparisons`.

    Args:
        report: any; `goals`, `stages` and `lineage` are added where there are some.

    Returns:
        Strict JSON (no NaN, no Infinity) that ends in a newline.
    """
    if len(report.comparisons) == 1:
        document = as_dict(report.comparisons[0])
    else:
        comparisons = [as_dict(comparison) for comparison in report.comparisons]
        document = {"schema": REPORT_SCHEMA, "title": report.title, "comparisons": comparisons}
    if report.goals:
        document["goals"] = [asdict(goal) for goal in report.goals]
    if report.stages:
        document["stages"] = [asdict(stage) for stage in report.stages]
    if report.lineage:
        document["lineage"] = {
            name: [{"name": step.name, "settings": dict(step.settings)} for step in steps]
            for name, steps in report.lineage.items()
        }
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return _NUMBERS.sub(_in_one_line, text) + "\n"


def _in_one_line(numbers: re.Match[str]) -> str:
    return f"[{' '.join(numbers.group()[1:-1].split())}]"
