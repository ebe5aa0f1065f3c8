"""What pruning channels gave, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from slimedge.benchmarks.pruning_channels import ChannelsPruned
from slimedge.benchmarks.reporting import compression

if TYPE_CHECKING:
    from rich.console import Console

NEXT = (
    "note: fewer MACs are not so much less time on every runtime; `slimedge compare` on the exported files tells, and "
    "--target T --speedup S prunes until it is so"
)


def show(done: ChannelsPruned, console: Console) -> None:
    """Print how many channels of each layer are left, and what that changed."""
    compression.show(done.compressed, console, lines(done))


def lines(done: ChannelsPruned) -> list[str]:
    """Give what pruning did as lines of text."""
    told = _told(done)
    ((kind, value),) = told["target"].items()
    what = f"{100 * value:.1f} % of {'its MACs' if kind == 'macs' else 'its parameters'}"
    if kind == "ratio":
        what = f"{100 * (1 - value):.1f} % of its channels"
    text = [f"pruned to {what}, by {told['criterion']}; {_trained(told)}"]
    text += [f"  {name} {before} channels, now {after}" for name, (before, after) in told["channels"].items()]
    if done.search is None or done.speedup is None:
        return [*text, NEXT]
    text += [
        f"tried {100 * one.macs:.1f} % of the MACs: {one.speedup.value:.2f}× as fast on {done.search.target}"
        for one in done.search.tries
    ]
    speed = done.speedup
    text.append(
        f"the written model runs {speed.value:.2f}× as fast on {done.search.target} ({speed.low:.2f} to "
        f"{speed.high:.2f}); {done.search.wanted:g} was asked for"
    )
    return text


def as_json(done: ChannelsPruned) -> str:
    """Write the same as JSON."""
    speed = None
    if done.search is not None and done.speedup is not None:
        speed = {**asdict(done.search), "speedup": asdict(done.speedup)}
    return compression.as_json(done.compressed, {"channel_pruning": dict(_told(done)), "speed": speed})


def _trained(told: Mapping[str, Any]) -> str:
    rounds = "" if told["steps"] == 1 else f"in {told['steps']} steps, "
    epochs = len(told["epoch_losses"])
    if not epochs:
        return f"{rounds}nothing was trained"
    return f"{rounds}trained for {epochs} epoch{'s' if epochs > 1 else ''} on {told['examples']:,} examples"


def _told(done: ChannelsPruned) -> Mapping[str, Any]:
    return next(
        step.settings for step in reversed(done.compressed.artifact.lineage) if step.name == "prune_channels"
    )
