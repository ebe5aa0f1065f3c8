"""A report on a terminal or in a pipe: headlines, tables that fit 80 columns, notes, the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from slimedge.benchmarks.reporting import figures
from slimedge.benchmarks.reporting.printing import put
from slimedge.benchmarks.reporting.report import Report, Tone, headlines
from slimedge.benchmarks.reporting.story import Story, lines, titled

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_STYLES = {Tone.GOOD: "green", Tone.BAD: "bold red", Tone.PLAIN: "default"}
_SIGNS = {Tone.GOOD: "+", Tone.BAD: "!", Tone.PLAIN: "·"}
_VERDICTS = {"better": "green", "worse": "bold red", "trade-off": "yellow"}
_DETAIL = "bright_black"
# Columns that all figures of the second table take beside the models' names.
_ALL_FIGURES = 66


def show(report: Report, console: Console) -> None:
    """Print a report as wide as the console; without a terminal there are no colours and no padding.

    Args:
        report: any; user text in it is printed as it is, never read as markup.
        console: where.
    """
    put(console, render(report, console.width))


def render(report: Report, width: int) -> RenderableType:
    """Lay out a report for rich.

    Args:
        report: any.
        width: columns; where there are enough of them, more figures are shown.
    """
    parts: list[RenderableType] = [Text(report.title, style="bold"), Text()]
    parts += [
        _bullet(_SIGNS[headline.tone], Text(headline.text, style=_STYLES[headline.tone]))
        for headline in headlines(report)
    ]
    for title, story in titled(report):
        parts += [Text(), Text(f"stage by stage: {title}", style="bold"), _stages(story)]
    parts += [Text(), _figures(report), Text(), _bought(report), Text(), _behind(report, width)]
    notes = [
        _bullet("note", Text(f"{variant.name}: {note}", style=_DETAIL))
        for comparison in report.comparisons
        for variant in (comparison.baseline, *comparison.variants)
        for note in variant.notes
    ]
    if notes:
        parts += [Text(), *notes]
    parts += [Text(), Text(figures.machine_line(report.comparisons[0].environment), style=_DETAIL)]
    return Group(*parts)


def _figures(report: Report) -> Table:
    table = _table("model", "size", "accuracy", "p50", "speedup", "verdict")
    for comparison in report.comparisons:
        for row in figures.rows(comparison):
            table.add_row(
                _two(row.name, row.runs_on),
                _two(row.size, row.size_ratio),
                _two(row.accuracy, row.delta_interval, prefix="Δ "),
                Text(row.latency),
                _two(row.speedup, row.speedup_interval),
                Text(row.verdict, style=_VERDICTS.get(row.verdict, "default")),
            )
        table.add_section()
    return table


def _stages(story: Story) -> Table:
    """Show what each stage of a recipe changed; the second line of a cell is against the stage before."""
    table = _table("stage", "size", story.measure, "p50", "took")
    for line in lines(story):
        table.add_row(
            _two(line.stage, line.settings),
            _two(line.size, line.size_change),
            _two(line.right, line.right_change, prefix="Δ "),
            _two(line.latency, line.latency_change),
            Text(line.took),
        )
    return table


def _bought(report: Report) -> Table:
    """Show what changed in the file, before it is run."""
    table = _table("model", "gzip", "parameters", "not zero", "zeros", "MACs", "activations")
    for comparison in report.comparisons:
        for row in figures.rows(comparison):
            table.add_row(
                Text(row.name),
                _two(row.gzip, row.gzip_ratio),
                Text(row.parameters),
                Text(row.nonzero),
                Text(row.zeros),
                _two(row.macs, row.macs_ratio),
                _two(row.activations, row.activations_ratio),
            )
    return table


def _behind(report: Report, width: int) -> Table:
    models = [
        each for comparison in report.comparisons for each in (comparison.baseline, *comparison.variants)
    ]
    wide = width >= max(len(model.name) for model in models) + _ALL_FIGURES
    more = ("p90",) if wide else ()
    table = _table("model", "same class", "SQNR", "int ops", "load", "1st run", "memory", *more)
    for comparison in report.comparisons:
        for row in figures.rows(comparison):
            cells: tuple[str, ...] = (
                row.agreement,
                row.sqnr,
                row.integer_ops,
                row.load,
                row.first_run,
                row.memory,
            )
            cells += (row.latency_p90,) if wide else ()
            table.add_row(Text(row.name), *(Text(cell) for cell in cells))
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    table.add_column(first, overflow="fold", min_width=12)
    for name in others:
        table.add_column(name, no_wrap=True, justify="left" if name == "verdict" else "right")
    return table


def _two(value: str, detail: str, prefix: str = "") -> Text:
    """Stack a figure and what qualifies it, so that a row fits 80 columns."""
    text = Text(value)
    if detail and detail != figures.NOT_MEASURED:
        text.append("\n").append(prefix + detail, style=_DETAIL)
    return text


def _bullet(sign: str, text: Text) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column()
    grid.add_row(Text(sign, style=text.style), text)
    return grid
