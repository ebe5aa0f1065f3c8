"""What pruning channels gave, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from slimedge.benchmarks.compressing import Compressed
from slimedge.benchmarks.reporting import compression
from slimedge.comparison import Speedup

if TYPE_CHECKING:
    from rich.console import Console

NEXT = (
    "note: fewer MACs are not so much less time on every runtime; `slimedge compare` on the exported files tells, and "
    "--target T --speedup S prunes until it is so"
)


def show(done: Compressed, speedup: Speedup | None, console: Console) -> None:
    """Print how many channels of each layer are left, and what that changed.

    Args:
        done: what was pruned.
        speedup: of the written model, on the target that it was pruned for; None where it was for none.
        console: where to.
    """
    compression.show(done, console, lines(done, speedup))


def lines(done: Compressed, speedup: Speedup | None) -> list[str]:
    """Give what pruning did as lines of text."""
    told = _told(done)
    ((kind, value),) = told["target"].items()
    what = f"{100 * value:.1f} % of {'its MACs' if kind == 'macs' else 'its parameters'}"
    if kind == "ratio":
        what = f"{100 * (1 - value):.1f} % of its channels"
    text = [f"pruned to {what}, by {told['criterion']}; {_trained(told)}"]
    text += [f"  {name} {before} channels, now {after}" for name, (before, after) in told["channels"].items()]
    searched = told.get("searched")
    if searched is None or speedup is None:
        return [*text, NEXT]
    target = searched["target"]
    text += [
        f"tried {100 * one['macs']:.1f} % of the MACs: {one['speedup']['value']:.2f}× as fast on {target}"
        for one in searched["tries"]
    ]
    text.append(
        f"the written model runs {speedup.value:.2f}× as fast on {target} ({speedup.low:.2f} to {speedup.high:.2f}); "
        f"{searched['wanted']:g} was asked for"
    )
    return text


def as_json(done: Compressed, speedup: Speedup | None) -> str:
    """Write the same as JSON."""
    told = dict(_told(done))
    searched = told.pop("searched", None)
    speed = None if searched is None or speedup is None else {**searched, "speedup": asdict(speedup)}
    return compression.as_json(done, {"channel_pruning": told, "speed": speed})


def _trained(told: Mapping[str, Any]) -> str:
    rounds = "" if told["steps"] == 1 else f"in {told['steps']} steps, "
    epochs = len(told["epoch_losses"])
    if not epochs:
        return f"{rounds}nothing was trained"
    return f"{rounds}trained for {epochs} epoch{'s' if epochs > 1 else ''} on {told['examples']:,} examples"


def _told(done: Compressed) -> Mapping[str, Any]:
    return next(step.settings for step in reversed(done.artifact.lineage) if step.name == "prune_channels")
