"""What clustering gave, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from slimedge.benchmarks.compressing import Compressed
from slimedge.benchmarks.reporting import compression

if TYPE_CHECKING:
    from rich.console import Console

NO_SPEED = (
    "note: the weights are still floats, so files are as large and as fast as before; they are smaller once they are "
    "compressed, as by gzip or in an app's package"
)


def show(done: Compressed, console: Console) -> None:
    """Print how many values the weights of each layer have, and what that changed."""
    compression.show(done, console, lines(done))


def lines(done: Compressed) -> list[str]:
    """Give what clustering did as lines of text."""
    told = _told(done)
    each = "layer" if told["granularity"] == "per_layer" else "output channel"
    text = [
        f"at most {told['clusters']} values for the weights of each {each}, from {told['init']}; {_trained(told)}"
    ]
    if told["folded"]:
        text.append(f"folded first: {', '.join(told['folded'])}")
    text += [f"  {name} {count} values" for name, count in told["layer_values"].items()]
    return [*text, NO_SPEED]


def as_json(done: Compressed) -> str:
    """Write the same as JSON."""
    return compression.as_json(done, {"clustering": dict(_told(done))})


def _trained(told: Mapping[str, Any]) -> str:
    if not told["epochs"]:
        return "nothing was trained"
    epochs = "1 epoch" if told["epochs"] == 1 else f"{told['epochs']} epochs"
    return f"trained on {told['training_examples']:,} examples, {epochs}, by {told['loss']}"


def _told(done: Compressed) -> Mapping[str, Any]:
    return next(step.settings for step in reversed(done.artifact.lineage) if step.name == "cluster")
