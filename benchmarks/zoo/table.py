"""The zoo's outcomes as a Markdown page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from slimedge.benchmarks.zoo.measuring import FORMATS, File, Outcome

YES = "yes"
HEADINGS = (
    "model",
    "loads",
    "float ONNX",
    "float TFLite",
    "scheme",
    "int8 ONNX",
    "int8 TFLite",
    "parameters",
    "MACs",
    "activations",
    "peak memory",
    "seconds",
)


class _Notes:
    """Reasons, numbered in the order in which they come up."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def mark(self, reason: str) -> str:
        if reason not in self.lines:
            self.lines.append(reason)
        return f"[{self.lines.index(reason) + 1}]"


def page(outcomes: Sequence[Outcome], environment: str, minutes: float) -> str:
    """Give the page: how it was made, the table, and the reason for each cell that is not a yes.

    Args:
        outcomes: of all rows.
        environment: of the machine, a line.
        minutes: that the whole run took.
    """
    notes = _Notes()
    rows = [_row(outcome, notes) for outcome in outcomes]
    body = "\n".join(f"| {' | '.join(cells)} |" for cells in (HEADINGS, ("---",) * len(HEADINGS), *rows))
    reasons = "\n".join(f"{number}. {reason}" for number, reason in enumerate(notes.lines, 1))
    passed = sum(not failures(outcome) for outcome in outcomes)
    return _PAGE.format(
        passed=passed,
        total=len(outcomes),
        minutes=f"{minutes:.0f}",
        environment=environment,
        table=body,
        reasons=reasons or "Every cell is a yes.",
    )


def failures(outcome: Outcome) -> list[str]:
    """Give what of a row does not pass, a sentence each."""
    if outcome.load:
        return [f"{outcome.row} cannot be loaded: {outcome.load}"]
    found = []
    for kind, files in (("float", outcome.float_files), ("quantized", outcome.quantized_files)):
        for to in FORMATS:
            file = files.get(to)
            if file is None or file.reason:
                reason = "it was not made" if file is None else file.reason
                found.append(f"{kind} {to} of {outcome.row}: {reason}")
    return found


def as_json(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Give outcomes as JSON values."""
    return [asdict(outcome) for outcome in outcomes]


def from_json(told: Mapping[str, Any]) -> Outcome:
    """Read an outcome that `as_json` gave."""
    files = {
        kind: {to: _file_from_json(file) for to, file in told[kind].items()}
        for kind in ("float_files", "quantized_files")
    }
    return Outcome(**{**told, **files})


def _file_from_json(told: Mapping[str, Any]) -> File:
    return File(**{**told, "heavy": None if told["heavy"] is None else tuple(told["heavy"])})


def _row(outcome: Outcome, notes: _Notes) -> tuple[str, ...]:
    files = [*outcome.float_files.values(), *outcome.quantized_files.values()]
    peak = max([file.peak_bytes or 0 for file in files] + [outcome.quantize_peak_bytes or 0])
    seconds = sum(file.seconds or 0 for file in files) + (outcome.quantize_seconds or 0)
    return (
        outcome.title,
        f"no {notes.mark(outcome.load)}" if outcome.load else YES,
        *(_float_cell(outcome.float_files.get(to), notes) for to in FORMATS),
        "–" if outcome.scheme is None else outcome.scheme.partition("_wi8")[0].replace("_", "-"),
        *(_quantized_cell(outcome.quantized_files.get(to), notes) for to in FORMATS),
        _number(outcome.parameters),
        _number(outcome.macs),
        "–" if outcome.activation_bytes is None else f"{outcome.activation_bytes / 1e3:,.0f} kB",
        f"{peak / 1e9:.2f} GB" if peak else "–",
        f"{seconds:.0f}" if seconds else "–",
    )


def _float_cell(file: File | None, notes: _Notes) -> str:
    if file is None or not file.made:
        return f"no {notes.mark((file and file.reason) or 'it was not made')}"
    shown = "" if file.max_error is None else f" {file.max_error:.0e}"
    return f"no{shown} {notes.mark(file.reason)}" if file.reason else f"{YES}{shown}"


def _quantized_cell(file: File | None, notes: _Notes) -> str:
    if file is None or not file.made:
        return f"no {notes.mark((file and file.reason) or 'it was not made')}"
    level = "exact" if file.sqnr_db is None else f"{file.sqnr_db:.1f} dB"
    ops = "" if not file.heavy or not file.heavy[0] else f", {file.heavy[0]}/{file.heavy[1]}"
    return f"no, {level}{ops} {notes.mark(file.reason)}" if file.reason else f"{YES}, {level}{ops}"


def _number(value: int | None) -> str:
    if value is None:
        return "–"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return str(value)


_PAGE = """# The zoo

Each model family through every column: {passed} of {total} rows pass in all of them. `make zoo` writes this page and
[zoo.json](../benchmarks/results/zoo.json); the whole run took {minutes} minutes.

{environment}

{table}

**loads**: the `.keras` file opens, inputs and outputs have their Keras names in Keras order. **float**: largest error
against Keras on three seeded inputs, relative to the output's range, at most 1e-3; run on ONNX Runtime at batch 1 and
batch 3, and on LiteRT at batch 1. **scheme**: what `--scheme auto` chose; static int8 for convolutional and dense
nets, weight-only int8 for recurrent and attention ones. **int8**: SQNR against the float model on 32 other inputs, at
least 20 dB for static and 25 dB for weight-only rows, and for static rows how many convolutions and dense layers the
runtime computes on integers, of how many; run as the float files are. **activations**: what `slimedge inspect` calls
activation memory. **peak memory** and **seconds**: of quantizing and the four exports, the largest and the sum; each
runs in processes of its own.

No row has trained weights. They are scaled to behave like trained ones (`benchmarks/zoo/scaling.py`): kernels are
turned towards the principal directions of their inputs and scaled to unit variance, and each BatchNorm has the
statistics of the data. The nets of keras.applications give logits, because the softmax of an untrained net is uniform
and rounds to zero. Half-precision and channels-first models are compared with themselves in float32 and channels last,
in which they are exported: a CPU has no kernels for the others.

{reasons}
"""
