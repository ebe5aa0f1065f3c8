"""Size, latency and accuracy as they fall stage by stage: pure geometry in percent, for the page to draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slimedge.benchmarks.reporting.axis import Axis
from slimedge.benchmarks.reporting.story import Line, Standing, Story, lines

_LONGEST = 22


@dataclass(frozen=True, slots=True)
class Bar:
    """One stage.

    Attributes:
        title: of the stage, cut where it is long.
        value: the figure after it.
        change: against the stage before; empty for the first.
        tone: `good`, `bad`, or `plain` where nothing changed or nothing is known.
        left: of the part that changed, in percent from the left.
        width: of that part, in percent.
        rest: up to where the figure stayed, in percent; None where it was not measured.
    """

    title: str
    value: str
    change: str
    tone: str
    left: float
    width: float
    rest: float | None


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure over all stages; `axis` says where a cut axis begins and ends."""

    measure: str
    axis: str
    bars: tuple[Bar, ...]
    text: str


def panels(story: Story) -> tuple[Panel, ...]:
    """Draw size, latency and accuracy of a story, each where it was measured of two stages at least."""
    told = lines(story)
    drawn = (
        _panel("size", story, told, lambda each: each.file_bytes, "size", less_is_good=True),
        _panel("latency p50", story, told, lambda each: each.latency_s, "latency", less_is_good=True),
        _panel(story.measure, story, told, lambda each: each.right, "right", less_is_good=False),
    )
    return tuple(panel for panel in drawn if panel is not None)


def _panel(
    measure: str,
    story: Story,
    told: Sequence[Line],
    figure: Callable[[Standing], float | None],
    field: str,
    *,
    less_is_good: bool,
) -> Panel | None:
    values = [figure(standing) for standing in story.standings]
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return None
    # Bars begin at 0, but a loss of half a point would not be seen on an axis from 0 to 100 %.
    axis = Axis(0.0, max(known), ()) if less_is_good else Axis.linear(known, most=1.0)
    bars = []
    before: float | None = None
    for value, standing, line in zip(values, story.standings, told, strict=False):
        change = "" if before is None else getattr(line, f"{field}_change")
        text = getattr(line, field)
        bars.append(_bar(standing.stage, text, change, value, before, axis, less_is_good=less_is_good))
        before = before if value is None else value
    ends = f"{100 * axis.low:.6g} to {100 * axis.high:.6g} %"
    return Panel(
        measure=measure,
        axis="" if less_is_good else ends,
        bars=tuple(bars),
        text="; ".join(
            f"{bar.title} {bar.value}" + (f" ({bar.change})" if bar.change else "") for bar in bars
        ),
    )


def _bar(
    stage: str,
    text: str,
    change: str,
    value: float | None,
    before: float | None,
    axis: Axis,
    *,
    less_is_good: bool,
) -> Bar:
    title = stage if len(stage) <= _LONGEST else f"{stage[: _LONGEST - 1]}…"
    if value is None:
        return Bar(title, text, "", "plain", 0.0, 0.0, None)
    here = axis.place(value)
    there = here if before is None else axis.place(before)
    tone = "plain"
    if before is not None and value != before:
        tone = "good" if (value < before) is less_is_good else "bad"
    low = min(here, there)
    return Bar(title, text, change, tone, low, round(abs(here - there), 3), low)
