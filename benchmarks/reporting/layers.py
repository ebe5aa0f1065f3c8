"""How exact each layer of a quantized graph is, beside the time that it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slimedge.benchmarks.details.details import Details
from slimedge.benchmarks.profiles.times import LayerTime
from slimedge.benchmarks.reporting import figures
from slimedge.comparison import LayerSqnr, Variant


@dataclass(frozen=True, slots=True)
class LayerBar:
    """One layer: figures as text, widths of bars in percent; `least` is the lowest SQNR, `most` the longest time."""

    layer: str
    sqnr: str
    sqnr_width: float
    least: bool
    time: str
    share: str
    time_width: float
    most: bool


@dataclass(frozen=True, slots=True)
class LayerTable:
    """One quantized graph beside the times of one file, or the times of a file alone.

    Attributes:
        models: names of the files that were exported from it.
        timed: name of the one whose layers were timed; None where none was.
        bars: a layer each.
        exact: whether there are SQNR's.
    """

    models: str
    timed: str | None
    bars: tuple[LayerBar, ...]
    exact: bool = True


def layer_tables(variants: Sequence[Variant], details: Mapping[str, Details]) -> tuple[LayerTable, ...]:
    """Give a table for every quantized graph and each of its files that was timed, then one for every other timed file.

    Args:
        variants: in the report's order.
        details: by name, with the times.

    Returns:
        Layers in the order of their SQNR's, each time beside the SQNR of the same name; then those that only have a
        time, in the order in which they run.
    """
    times = {name: found.layer_times for name, found in details.items() if found.layer_times}
    names: dict[tuple[LayerSqnr, ...], list[str]] = {}
    for variant in variants:
        if variant.layer_sqnr:
            names.setdefault(variant.layer_sqnr, []).append(variant.name)
    tables = []
    for levels, sharing in names.items():
        timed_ones: list[str | None] = [name for name in sharing if name in times]
        tables += [
            LayerTable(", ".join(sharing), timed, _bars(levels, times.get(timed or "", ())))
            for timed in timed_ones or [None]
        ]
    tables += [
        LayerTable(variant.name, variant.name, _bars((), times[variant.name]), exact=False)
        for variant in variants
        if not variant.layer_sqnr and variant.name in times
    ]
    return tuple(tables)


def _bars(levels: Sequence[LayerSqnr], times: Sequence[LayerTime]) -> tuple[LayerBar, ...]:
    values = [level.sqnr_db for level in levels]
    highest, least = max([*values, 1.0]), min(values, default=None)
    longest = max((time.share for time in times), default=0.0)
    took = {time.layer: time for time in times}
    sqnr = {level.layer: level.sqnr_db for level in levels}
    bars = []
    for layer in dict.fromkeys((*sqnr, *took)):
        level, time = sqnr.get(layer), took.get(layer)
        bars.append(
            LayerBar(
                layer=layer,
                sqnr=figures.NOT_MEASURED if level is None else f"{level:.1f}",
                sqnr_width=0.0 if level is None else round(max(0.0, 100.0 * level / highest), 1),
                least=level is not None and level == least,
                time=figures.cut_seconds(time.seconds, time.cut_s) if time else figures.NOT_MEASURED,
                share=f"{100 * time.share:.1f} %" if time else "",
                time_width=round(100.0 * time.share / longest, 1) if time and longest else 0.0,
                most=time is not None and bool(longest) and time.share == longest,
            )
        )
    return tuple(bars)
