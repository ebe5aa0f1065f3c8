"""What pruning gave, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from slimedge.benchmarks.compressing import Compressed
from slimedge.benchmarks.reporting import compression

if TYPE_CHECKING:
    from rich.console import Console

NO_SPEED = (
    "note: zeros make a file smaller once it is compressed; most runtimes compute with them as with any number, so "
    "`slimedge compare` has to tell whether it is faster"
)


def show(done: Compressed, console: Console) -> None:
    """Print how sparse each layer is, and what that changed."""
    compression.show(done, console, lines(done))


def lines(done: Compressed) -> list[str]:
    """Give what pruning did as lines of text."""
    told = _told(done)
    smallest = "each layer" if told["ranking"] == "layer" else "all layers together"
    share = f"{100 * told['sparsity']:g} % zeros"
    text = [f"pruned to {share}, {told['pattern']}, the smallest of {smallest}; {_trained(told)}"]
    text += [f"  {name} {100 * share:.1f} % zeros" for name, share in told["layer_sparsity"].items()]
    if told["left_dense"]:
        text.append("stayed dense:")
        text += [f"  {path}: {reason}" for path, reason in told["left_dense"].items()]
    return [*text, NO_SPEED]


def as_json(done: Compressed) -> str:
    """Write the same as JSON."""
    told = _told(done)
    return compression.as_json(done, {"pruning": dict(told)})


def _trained(told: Mapping[str, Any]) -> str:
    if not told["epochs"]:
        return "nothing was trained"
    epochs = "1 epoch" if told["epochs"] == 1 else f"{told['epochs']} epochs"
    engine = "" if told["engine"] == "keras" else f", with {told['engine']}"
    return f"trained on {told['training_examples']:,} examples, {epochs}, by {told['loss']}{engine}"


def _told(done: Compressed) -> Mapping[str, Any]:
    return next(step.settings for step in reversed(done.artifact.lineage) if step.name == "prune")
