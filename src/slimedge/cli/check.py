"""`slimedge check`: nothing may be worse than in an earlier report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimedge.cli import options
from slimedge.cli.output import Output, write_text
from slimedge.errors import RegressionError


def check(
    baseline: Annotated[
        Path,
        typer.Option(
            "--baseline", metavar="BASELINE.json", help="The earlier report that it is held against."
        ),
    ],
    report: Annotated[
        Path,
        typer.Argument(metavar="REPORT.json", help="What `compare --json` wrote; by default report.json."),
    ] = Path("report.json"),
    max_accuracy_drop: Annotated[
        float,
        typer.Option(
            "--max-accuracy-drop",
            metavar="POINTS",
            min=0.0,
            help="Points that may be lost; fails where it is certainly more.",
        ),
    ] = 0.0,
    latency_margin: Annotated[
        float,
        typer.Option(
            "--latency-margin",
            metavar="PERCENT",
            min=0.0,
            help="By how much the time may grow; twice as much where only times, not speedups, can be compared.",
        ),
    ] = 5.0,
    require_latency: Annotated[
        bool,
        typer.Option(
            "--require-latency", help="Fail where latencies cannot be compared, as on another machine."
        ),
    ] = False,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", help="Write Markdown, as for $GITHUB_STEP_SUMMARY."),
    ] = None,
    to_json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Fail where a model is worse than in an earlier report.

    Accuracy, size and latency of every model against its namesake, beyond what noise explains.
    """
    output = Output(to_json, quiet)
    if markdown is not None:
        options.check_output(markdown, "--markdown")
    from slimedge.benchmarks.outcomes import Tolerances
    from slimedge.benchmarks.regression import check as judge
    from slimedge.benchmarks.reporting import regression
    from slimedge.benchmarks.reporting.reading import read

    tolerances = Tolerances(max_accuracy_drop, latency_margin, require_latency)
    outcomes = judge(read(report), read(baseline), tolerances)
    against = str(baseline)
    output.show(lambda console: regression.show(outcomes, against, console))
    if markdown is not None:
        write_text(markdown, regression.as_markdown(outcomes, against))
    output.write_json(lambda: regression.as_json(outcomes, against))
    failure = regression.failure(outcomes, against)
    if failure is not None:
        raise RegressionError(failure)
