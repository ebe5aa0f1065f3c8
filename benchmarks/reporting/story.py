"""A recipe told stage by stage: what the models of each comparison were after each of its stages."""

from __future__ import annotations

from dataclasses import dataclass, replace

from slimedge.benchmarks.reporting import figures
from slimedge.benchmarks.reporting.report import Report
from slimedge.comparison import Comparison, Variant

UNTOUCHED = "untouched"
IN_ALL = "in all"


@dataclass(frozen=True, slots=True)
class Standing:
    """One model after one stage; what was not measured is None.

    Attributes:
        stage: title of the stage; `untouched` for the baseline.
        settings: of the stage, in words.
        model: name of the file; None where the stage left none in this comparison.
        file_bytes: size.
        latency_s: median.
        right: accuracy, or, where the data has no labels, the share of the baseline's classes.
        took: how long the stage took, in words.
    """

    stage: str
    settings: str
    model: str | None
    file_bytes: int | None
    latency_s: float | None
    right: float | None
    took: str


@dataclass(frozen=True, slots=True)
class Story:
    """The stages of one comparison.

    Attributes:
        runs_on: runtime and provider of the baseline.
        measure: what `right` is.
        standings: the untouched model, then one a stage.
    """

    runs_on: str
    measure: str
    standings: tuple[Standing, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One stage as text; changes are against the last stage that has the figure."""

    stage: str
    settings: str
    model: str
    took: str
    size: str
    size_change: str
    latency: str
    latency_change: str
    right: str
    right_change: str


def stories(report: Report) -> tuple[Story, ...]:
    """Tell the stages of every comparison; empty where the report has none, or where none has a model."""
    told = (_story(report, comparison) for comparison in report.comparisons if report.stages)
    return tuple(story for story in told if any(each.model for each in story.standings[1:]))


def titled(report: Report) -> tuple[tuple[str, Story], ...]:
    """Give each story with a heading: where the models run, and the untouched one."""
    return tuple((f"{story.runs_on}, from {story.standings[0].model}", story) for story in stories(report))


def lines(story: Story) -> tuple[Line, ...]:
    """Give a story as lines of text; where it has several stages, the last line is the change by all of them."""
    first, *later = story.standings
    found = [_line(first, None)]
    before = first
    for standing in later:
        found.append(_line(standing, before))
        before = _known(standing, before)
    if len(later) > 1:
        blank = figures.NOT_MEASURED
        whole = _line(before, first)
        found.append(
            replace(
                whole,
                stage=IN_ALL,
                settings="",
                model=blank,
                took=blank,
                size=whole.size_change,
                size_change=blank,
                latency=whole.latency_change,
                latency_change=blank,
                right=whole.right_change,
                right_change=blank,
            )
        )
    return tuple(found)


def ratio(value: float | None, before: float | None) -> str:
    """Give what is left of a figure: `0.31×`."""
    return figures.NOT_MEASURED if value is None or not before else f"{value / before:.2f}×"


def _story(report: Report, comparison: Comparison) -> Story:
    models = {variant.name: variant for variant in comparison.variants}
    labelled = comparison.baseline.accuracy is not None
    standings = [_standing(UNTOUCHED, "", comparison.baseline, figures.NOT_MEASURED, labelled, first=True)]
    for stage in report.stages:
        model = next((models[name] for name in stage.variants if name in models), None)
        took = "reused" if stage.reused else figures.long_time(stage.seconds)
        standings.append(_standing(stage.title, stage.settings, model, took, labelled))
    return Story(
        runs_on=figures.runs_on(comparison.baseline.runtime, comparison.baseline.provider),
        measure="accuracy" if labelled else "same class",
        standings=tuple(standings),
    )


def _standing(
    stage: str, settings: str, model: Variant | None, took: str, labelled: bool, *, first: bool = False
) -> Standing:
    if model is None:
        return Standing(stage, settings, None, None, None, None, took)
    right: float | None
    if labelled:
        right = model.accuracy.value if model.accuracy else None
    elif first:
        right = 1.0
    else:
        right = model.agreement.value if model.agreement else None
    latency = model.latency_s.p50 if model.latency_s else None
    return Standing(stage, settings, model.name, model.file_bytes, latency, right, took)


def _known(standing: Standing, before: Standing) -> Standing:
    """Give a standing with the figures of an earlier one where it has none, to compare the next with."""
    return Standing(
        standing.stage,
        standing.settings,
        standing.model,
        before.file_bytes if standing.file_bytes is None else standing.file_bytes,
        before.latency_s if standing.latency_s is None else standing.latency_s,
        before.right if standing.right is None else standing.right,
        standing.took,
    )


def _line(standing: Standing, before: Standing | None) -> Line:
    change = None
    if before is not None and standing.right is not None and before.right is not None:
        change = standing.right - before.right
    return Line(
        stage=standing.stage,
        settings=standing.settings,
        model=standing.model or figures.NOT_MEASURED,
        took=standing.took,
        size=figures.size(standing.file_bytes),
        size_change=ratio(standing.file_bytes, before.file_bytes if before else None),
        latency=figures.seconds(standing.latency_s),
        latency_change=ratio(standing.latency_s, before.latency_s if before else None),
        right=figures.percent(standing.right),
        right_change=figures.points(change),
    )
