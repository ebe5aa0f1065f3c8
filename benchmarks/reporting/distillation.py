"""What distillation gave, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from slimedge.benchmarks.beside import Beside
from slimedge.benchmarks.compressing import Compressed
from slimedge.benchmarks.reporting import compression, figures

if TYPE_CHECKING:
    from rich.console import Console

KEPT = {"KeepZeros": "zeros", "KeepClusters": "shared values"}
KINDS = {"hints": "features", "attention": "attention", "relations": "relations"}


def show(done: Compressed, console: Console) -> None:
    """Print what a student learned from whom, how good its teachers are, and what that changed."""
    compression.show(done, console, lines(done))


def lines(done: Compressed) -> list[str]:
    """Give what distillation did as lines of text."""
    told = _told(done)
    epochs = "1 epoch" if told["epochs"] == 1 else f"{told['epochs']} epochs"
    text = [
        (
            f"learned from {', '.join(told['teachers'])} at temperature {told['temperature']:g}, labels "
            f"{100 * told['label_weight']:g} %; trained on {told['training_examples']:,} examples, {epochs}"
        )
    ]
    text += [
        f"  {kind} of {pair.replace(': ', ' from ')}"
        for name, kind in KINDS.items()
        for pair in told.get(name, ())
    ]
    if told.get("held_out_losses"):
        best = told["best_epoch"]
        text.append(f"kept epoch {best}, loss {told['held_out_losses'][best - 1]:.4f} on held-out examples")
    if told["kept"]:
        text.append(f"kept as they were: {', '.join(KEPT[name] for name in told['kept'])}")
    return [*text, *map(_teacher, done.beside)]


def as_json(done: Compressed) -> str:
    """Write the same as JSON."""
    teachers = [
        {
            "path": str(each.path),
            **asdict(each.score),
            "student_before": _likeness(each, "before"),
            "student_after": _likeness(each, "after"),
        }
        for each in done.beside
    ]
    return compression.as_json(done, {"distillation": dict(_told(done)), "teachers": teachers})


def _teacher(one: Beside) -> str:
    parts = []
    if one.score.accuracy is not None:
        parts.append(
            f"accuracy {figures.percent(one.score.accuracy.value)} ({one.score.accuracy.n:,} examples)"
        )
    before, after = one.before, one.after
    if before.agreement is not None and after.agreement is not None:
        parts.append(
            f"the student says the same on {figures.percent(before.agreement.value)} before, "
            f"{figures.percent(after.agreement.value)} after"
        )
    elif before.sqnr_db is not None and after.sqnr_db is not None:
        parts.append(f"the student is at {before.sqnr_db:.1f} dB of it before, {after.sqnr_db:.1f} dB after")
    return f"teacher {one.path}: {'; '.join(parts) or 'no example to score it on'}"


def _likeness(one: Beside, when: str) -> dict[str, Any]:
    found = asdict(getattr(one, when))
    return {name: found[name] for name in ("agreement", "sqnr_db")}


def _told(done: Compressed) -> Mapping[str, Any]:
    return next(step.settings for step in reversed(done.artifact.lineage) if step.name == "distill")
