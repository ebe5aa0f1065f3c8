"""Latency over throughput as points on a plane: pure geometry in percent, for the page to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10

from slimedge.benchmarks.reporting.axis import Axis, Tick, short, spaced
from slimedge.benchmarks.reporting.figures import seconds
from slimedge.benchmarks.reporting.plot import letter
from slimedge.benchmarks.reporting.scenario_figures import batch_setting, outcome, per_second
from slimedge.benchmarks.scenarios.metrics import Figures, figures
from slimedge.benchmarks.scenarios.result import ModelResult
from slimedge.benchmarks.scenarios.server_search import Search

_NARROWEST = 0.21  # decades; below 0.2 an axis has ticks at every twentieth


@dataclass(frozen=True, slots=True)
class Spot:
    """One run; positions in percent from the left and from the top.

    Attributes:
        mark: text in it.
        group: its colour and its line.
        left: its throughput.
        top: its median latency.
        high: its 99th percentile; None where it is not known.
        hollow: whether it failed.
        text: the same in words.
    """

    mark: str
    group: int
    left: float
    top: float
    high: float | None
    hollow: bool
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What to draw.

    Attributes:
        title: above it.
        about: how to read it.
        spots: the runs, each group in the order of its line.
        joined: whether the runs of a group are joined by a line.
        bound: place of the bound of the 99th percentile; None where there is none.
        bound_text: the same in words.
        across: ticks of the throughput.
        up: ticks of the latency.
        key: a group and what it stands for, for each; a mark where it has one.
    """

    title: str
    about: str
    spots: tuple[Spot, ...]
    joined: bool
    bound: float | None
    bound_text: str
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    key: tuple[tuple[int, str, str], ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    mark: str
    group: int
    found: Figures
    hollow: bool
    text: str


def sweep_chart(model: ModelResult) -> Chart | None:
    """Draw a sweep over batches and workers; None where there was none."""
    if len(model.points) < 2:
        return None
    levels = sorted({run.concurrency for run in model.points})
    seen = [
        _Seen(
            str(run.samples),
            levels.index(run.concurrency),
            figures(run),
            hollow=False,
            text=f"{batch_setting(run)}: {_in_words(figures(run))}",
        )
        for run in sorted(model.points, key=lambda run: (run.concurrency, run.samples))
    ]
    key = tuple(
        (group, "", "1 worker" if level == 1 else f"{level} workers") for group, level in enumerate(levels)
    )
    about = "Right and down is better. In a mark stands its batch; a whisker reaches to the 99th percentile."
    return _chart(model.name, about, seen, key, joined=True)


def search_chart(model: ModelResult) -> Chart | None:
    """Draw the rates that a server was tried at; None for fewer than two."""
    if model.search is None or len(model.search.trials) < 2:
        return None
    seen = [
        _Seen(
            "",
            1 if trial.confirming else 0,
            figures(trial.run),
            hollow=not trial.held,
            text=(
                f"{per_second(trial.rate_per_s)} arrive: {_in_words(figures(trial.run))}, "
                f"{outcome(held=trial.held, ending=trial.run.ending)}"
            ),
        )
        for trial in sorted(model.search.trials, key=lambda trial: trial.rate_per_s)
    ]
    key = [(0, "", "trial")]
    if any(trial.confirming for trial in model.search.trials):
        key.append((1, "", "longer run that confirms"))
    about = (
        "A mark is the median, its whisker reaches to the 99th percentile, which has to stay below the dashed line. "
        "Hollow: it did not, or the queue grew until the run was ended."
    )
    return _chart(model.name, about, seen, tuple(key), search=model.search)


def models_chart(models: Sequence[ModelResult]) -> Chart | None:
    """Draw the models of a stream beside each other; None for fewer than two."""
    drawn = [(number, model) for number, model in enumerate(models) if model.run is not None]
    if len(drawn) < 2:
        return None
    seen = [
        _Seen(
            letter(number),
            number % 4,
            figures(model.run),
            hollow=False,
            text=f"{model.name}: {_in_words(figures(model.run))}",
        )
        for number, model in drawn
        if model.run is not None
    ]
    key = tuple((number % 4, letter(number), model.name) for number, model in drawn)
    about = "Right and down is better. A whisker reaches to the 99th percentile."
    return _chart("Latency over throughput", about, seen, key)


def _chart(
    title: str,
    about: str,
    seen: Sequence[_Seen],
    key: tuple[tuple[int, str, str], ...],
    *,
    joined: bool = False,
    search: Search | None = None,
) -> Chart:
    across = _axis([each.found.samples_per_s for each in seen])
    heights = [height for each in seen for height in (each.found.p50_s, each.found.p99_s) if height]
    bound_s = None if search is None else search.bound_s
    up = _axis(heights if bound_s is None else [*heights, bound_s])

    def top(latency_s: float) -> float:
        return round(100.0 - up.place(log10(latency_s)), 3)

    spots = tuple(
        Spot(
            mark=each.mark,
            group=each.group,
            left=across.place(log10(each.found.samples_per_s)),
            top=top(each.found.p50_s),
            high=None if each.found.p99_s is None else top(each.found.p99_s),
            hollow=each.hollow,
            text=each.text,
        )
        for each in seen
    )
    return Chart(
        title=title,
        about=about,
        spots=spots,
        joined=joined,
        bound=None if bound_s is None else top(bound_s),
        bound_text="" if bound_s is None else f"p99 within {seconds(bound_s)}",
        across=spaced([Tick(across.place(at), f"{round(10.0**at, 6):,g}") for at in across.ticks]),
        up=tuple(Tick(round(100.0 - up.place(at), 3), short(10.0**at)) for at in up.ticks),
        key=key,
    )


def _axis(values: Sequence[float]) -> Axis:
    """Give a logarithmic axis around values, no narrower than a factor of 1.6, within which noise would look large."""
    low, high = log10(min(values)), log10(max(values))
    room = max(0.08 * (high - low), (_NARROWEST - (high - low)) / 2)
    return Axis.between(low - room, high + room)


def _in_words(found: Figures) -> str:
    beyond = "" if found.p99_s is None else f", p99 {seconds(found.p99_s)}"
    return f"{per_second(found.samples_per_s)}, p50 {seconds(found.p50_s)}{beyond}"
