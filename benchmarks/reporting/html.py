"""One HTML page that needs nothing else: no script, no font, no picture, no request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from slimedge.benchmarks.reporting import figures
from slimedge.benchmarks.reporting.page import template
from slimedge.benchmarks.reporting.plot import letter, plot
from slimedge.benchmarks.reporting.report import Report, headlines

if TYPE_CHECKING:
    from slimedge.comparison import LayerSqnr, Variant


_COLOURS = 4


def render(report: Report) -> str:
    """Write a report as one page; user text in it is escaped.

    Args:
        report: any.

    Returns:
        HTML that opens without a network and refuses to load anything.
    """
    variants = [
        each for comparison in report.comparisons for each in (comparison.baseline, *comparison.variants)
    ]
    drawing = plot(report.comparisons)
    marks = iter(letter(number) if drawing else "" for number in range(len(variants)))
    tables = [
        {
            "baseline": comparison.baseline.name,
            "group": group % _COLOURS,
            "rows": [(row, next(marks)) for row in figures.rows(comparison)],
        }
        for group, comparison in enumerate(report.comparisons)
    ]
    return template("report.html.j2").render(
        title=report.title,
        headlines=headlines(report),
        tables=tables,
        plot=drawing,
        layers=_layers(variants),
        notes=[(variant.name, variant.notes) for variant in variants if variant.notes],
        lineage=[
            (name, [figures.step(each) for each in steps]) for name, steps in report.lineage.items() if steps
        ],
        machine=figures.machine(report.comparisons[0].environment),
        not_measured=figures.NOT_MEASURED,
    )


def _layers(variants: Sequence[Variant]) -> list[tuple[str, list[tuple[str, str, float, bool]]]]:
    """Give names and bars of every quantized graph; files that were exported from one graph share them."""
    names: dict[tuple[LayerSqnr, ...], list[str]] = {}
    for variant in variants:
        if variant.layer_sqnr:
            names.setdefault(variant.layer_sqnr, []).append(variant.name)
    return [(", ".join(sharing), _bars(levels)) for levels, sharing in names.items()]


def _bars(levels: tuple[LayerSqnr, ...]) -> list[tuple[str, str, float, bool]]:
    """Give layer, figure, width in percent, and whether it is the lowest, in the order of the layers."""
    values = [layer.sqnr_db for layer in levels]
    longest, least = max(*values, 1.0), min(values)
    return [
        (
            layer.layer,
            f"{layer.sqnr_db:.1f}",
            round(max(0.0, 100.0 * layer.sqnr_db / longest), 1),
            layer.sqnr_db == least,
        )
        for layer in levels
    ]
