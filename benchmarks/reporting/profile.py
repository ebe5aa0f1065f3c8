"""Where the time of a row goes, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from slimedge.benchmarks.profiles.times import LayerTime, ModelProfile
from slimedge.benchmarks.reporting import figures
from slimedge.benchmarks.reporting.printing import put

if TYPE_CHECKING:
    from rich.console import Console

MOST_LAYERS = 10


def show(profiles: Mapping[str, ModelProfile], console: Console) -> None:
    """Print the slowest layers of each, the rest summed.

    Args:
        profiles: by the name that stands above each.
        console: to print on.
    """
    for name, profile in profiles.items():
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
        table.add_column("layer", overflow="fold")
        for column in ("time", "share"):
            table.add_column(column, justify="right", no_wrap=True)
        for layer in rows(profile.layers):
            table.add_row(
                Text(layer.layer),
                Text(figures.cut_seconds(layer.seconds, layer.cut_s)),
                Text(f"{100 * layer.share:.1f} %"),
            )
        put(console, Text(headline(name, profile)), table, Text())


def rows(layers: Sequence[LayerTime], most: int = MOST_LAYERS) -> list[LayerTime]:
    """Give the slowest layers, named with those that are fused into them, and all others together.

    Example:
        >>> first, rest = rows(
        ...     [LayerTime("a", 1.0, 0.1), LayerTime("b", 7.0, 0.7, ("relu",)), LayerTime("c", 2.0, 0.2)], 1
        ... )
        >>> first.layer, rest.layer, rest.seconds
        ('b, with relu', '2 more layers', 3.0)
    """
    slowest = sorted(layers, key=lambda layer: -layer.seconds)
    shown, rest = (slowest[:most], slowest[most:]) if len(slowest) > most + 1 else (slowest, [])
    told = [
        replace(layer, layer=f"{layer.layer}, with {', '.join(layer.fused)}") if layer.fused else layer
        for layer in shown
    ]
    if rest:
        seconds, share, cut_s = (
            sum(getattr(layer, field) for layer in rest) for field in ("seconds", "share", "cut_s")
        )
        told.append(LayerTime(f"{len(rest)} more layers", seconds, share, cut_s=cut_s))
    return told


def headline(name: str, profile: ModelProfile) -> str:
    """Say in one sentence what the times are beside those of runs without the profiler."""
    kept = f", each cut to whole µs (up to {figures.seconds(profile.cut_s)} in all)" if profile.cut_s else ""
    added = (
        f", so that at least {figures.seconds(profile.added_s)} of each op are the profiler's"
        if profile.added_s > profile.raw.resolution_s
        else ""
    )
    return (
        f"{name}: {len(profile.ops)} ops take {figures.seconds(profile.ops_s)}{kept}; a run takes "
        f"{figures.seconds(profile.run_s)}, under the profiler {figures.seconds(profile.profiled_run_s)}{added}; "
        f"middle of {profile.runs} runs"
    )


def as_dict(profile: ModelProfile | None) -> dict[str, Any] | None:
    """Give what is written as JSON; the runs themselves are in the trace."""
    if profile is None:
        return None
    return {
        "runs": profile.runs,
        "run_s": profile.run_s,
        "profiled_run_s": profile.profiled_run_s,
        "ops_s": profile.ops_s,
        "cut_s": profile.cut_s,
        "added_s": profile.added_s,
        "layers": [asdict(layer) for layer in profile.layers],
        "ops": [asdict(op) for op in profile.ops],
    }
