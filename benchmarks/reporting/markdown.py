"""A report in Markdown, for pull requests and model cards."""

from __future__ import annotations

from slimedge.benchmarks.reporting import figures
from slimedge.benchmarks.reporting.markup import table as _table
from slimedge.benchmarks.reporting.markup import text as _text
from slimedge.benchmarks.reporting.report import Report, headlines
from slimedge.benchmarks.reporting.story import lines as story_lines
from slimedge.benchmarks.reporting.story import titled


def render(report: Report) -> str:
    """Write a report.

    Args:
        report: any; user text in it is escaped.

    Returns:
        GitHub-flavoured Markdown that ends in a newline.
    """
    lines = [f"# {_text(report.title)}", ""]
    lines += [f"- {_text(headline.text)}" for headline in headlines(report)]
    for title, story in titled(report):
        lines += ["", f"## Stage by stage: {_text(title)}", ""]
        lines += _table(
            ("stage", "settings", "size", f"{story.measure} (points)", "latency p50", "took", "model"),
            [
                (
                    line.stage,
                    line.settings,
                    _with(line.size, line.size_change),
                    _with(line.right, line.right_change),
                    _with(line.latency, line.latency_change),
                    line.took,
                    line.model,
                )
                for line in story_lines(story)
            ],
        )
    for comparison in report.comparisons:
        rows = figures.rows(comparison)
        lines += ["", f"## Against {_text(comparison.baseline.name)}", ""]
        lines += _table(
            ("model", "size", "accuracy", "difference (points)", "latency p50", "speedup", "verdict"),
            [
                (
                    row.name,
                    _with(row.size, row.size_ratio),
                    _with(row.accuracy, row.accuracy_interval),
                    _with(row.delta, row.delta_interval),
                    row.latency,
                    _with(row.speedup, row.speedup_interval),
                    row.verdict,
                )
                for row in rows
            ],
        )
        lines += [""]
        lines += _table(
            ("model", "gzip", "parameters", "not zero", "zeros", "MACs", "activation memory"),
            [
                (
                    row.name,
                    _with(row.gzip, row.gzip_ratio),
                    row.parameters,
                    row.nonzero,
                    row.zeros,
                    _with(row.macs, row.macs_ratio),
                    _with(row.activations, row.activations_ratio),
                )
                for row in rows
            ],
        )
        lines += [""]
        lines += _table(
            (
                "model",
                "runs on",
                "agreement",
                "SQNR",
                "integer ops",
                "load",
                "first run",
                "p90",
                "peak memory",
            ),
            [
                (
                    row.name,
                    row.runs_on,
                    row.agreement,
                    row.sqnr,
                    row.integer_ops,
                    row.load,
                    row.first_run,
                    row.latency_p90,
                    row.memory,
                )
                for row in rows
            ],
        )
        notes = [(v.name, note) for v in (comparison.baseline, *comparison.variants) for note in v.notes]
        lines += [""] if notes else []
        lines += [f"- {_text(name)}: {_text(note)}" for name, note in notes]
    lines += ["", "## Environment", ""]
    lines += _table(("what", "value"), figures.machine(report.comparisons[0].environment))
    return "\n".join(lines) + "\n"


def _with(value: str, detail: str) -> str:
    return value if detail == figures.NOT_MEASURED else f"{value} ({detail})"
