"""One HTML page that needs nothing else: no script, no font, no request; its pictures stand in it."""

from __future__ import annotations

from slimedge.benchmarks.reporting import figures
from slimedge.benchmarks.reporting.classes import class_table
from slimedge.benchmarks.reporting.examples import piles, within
from slimedge.benchmarks.reporting.histogram import traces
from slimedge.benchmarks.reporting.layers import layer_tables
from slimedge.benchmarks.reporting.page import template
from slimedge.benchmarks.reporting.plot import letter, plot
from slimedge.benchmarks.reporting.report import Report, Tone, headlines
from slimedge.benchmarks.reporting.sharing import shared
from slimedge.benchmarks.reporting.story import lines, titled
from slimedge.benchmarks.reporting.waterfall import panels

_COLOURS = 4
# So many stand open above all else, and all the bad news.
_HEADLINES = 8


def render(report: Report) -> str:
    """Write a report as one page; user text in it is escaped.

    Args:
        report: any.

    Returns:
        HTML that opens without a network and refuses to load anything.
    """
    grouped = [
        (group % _COLOURS, each)
        for group, comparison in enumerate(report.comparisons)
        for each in (comparison.baseline, *comparison.variants)
    ]
    variants = [each for _, each in grouped]
    drawing = plot(report.comparisons)
    letters = [letter(number) if drawing else "" for number in range(len(variants))]
    marks = iter(letters)
    tables = [
        {
            "baseline": comparison.baseline.name,
            "group": group % _COLOURS,
            "rows": [(row, next(marks)) for row in figures.rows(comparison)],
        }
        for group, comparison in enumerate(report.comparisons)
    ]
    told = titled(report)
    said = headlines(report)
    details = [(each.name, report.details[each.name]) for each in variants if each.name in report.details]
    notes = [
        (each.name, (*each.notes, *(report.details[each.name].notes if each.name in report.details else ())))
        for each in variants
    ]
    return template("report.html.j2").render(
        title=report.title,
        headlines=said,
        first_headlines=max(_HEADLINES, sum(each.tone is Tone.BAD for each in said)),
        stories=[(title, panels(story), lines(story)) for title, story in told],
        measures=[story.measure for _, story in told],
        tables=tables,
        marks={each.name: (mark, group) for (group, each), mark in zip(grouped, letters, strict=True)},
        plot=drawing,
        samples=[drawn for each in report.comparisons if (drawn := traces(each, report.details)) is not None],
        classes=shared((name, class_table(found.classes)) for name, found in details if found.classes),
        examples=within(
            shared(
                (name, piles(found.flips)) for name, found in details if found.flips and found.flips.counts
            )
        ),
        layers=layer_tables(variants, report.details),
        notes=[(name, sentences) for name, sentences in notes if sentences],
        lineage=[
            (name, [figures.step(each) for each in steps]) for name, steps in report.lineage.items() if steps
        ],
        machine=figures.machine(report.comparisons[0].environment),
        not_measured=figures.NOT_MEASURED,
    )
