"""`slimedge compare`: a model before and after, with goals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimedge.cli import options
from slimedge.cli.output import Output, write_text
from slimedge.errors import GoalError, InputError
from slimedge.progress import on_terminal


def compare(
    before: Annotated[
        Path, typer.Argument(metavar="BEFORE", help="The baseline: a .keras, .onnx or .tflite file.")
    ],
    after: Annotated[list[Path], typer.Argument(metavar="AFTER...", help="What it is compared with.")],
    data: options.MaybeSource = None,
    target: options.Target = None,
    max_accuracy_drop: Annotated[
        float | None,
        typer.Option(
            "--max-accuracy-drop", metavar="POINTS", min=0.0, help="Fail where more may have been lost."
        ),
    ] = None,
    min_speedup: Annotated[
        float | None,
        typer.Option("--min-speedup", metavar="RATIO", min=0.0, help="Fail where it may be less."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page that opens offline.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write Markdown.")
    ] = None,
    title: Annotated[str | None, typer.Option("--title", metavar="TEXT", help="Title of the report.")] = None,
    output_name: Annotated[
        str | None,
        typer.Option(
            "--output-name", metavar="NAME", help="Which output is scored, where there are several."
        ),
    ] = None,
    evaluation: options.Evaluation = None,
    seed: options.Seed = 0,
    labels: options.Labels = None,
    scale: options.Scale = None,
    part: options.Part = None,
    image_size: options.ImageSize = None,
    limit: options.Limit = None,
    raw_input: Annotated[
        list[str] | None,
        typer.Option(
            "--raw-input", metavar="NAME", help="Input of a foreign file that takes pixels in 0...255."
        ),
    ] = None,
    no_range_checks: options.NoRangeChecks = False,
    threads: options.Threads = 1,
    effort: options.Effort = "default",
    allow_fallback: options.AllowFallback = False,
    trust: options.Trust = False,
    to_json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Compare models with a baseline.

    Accuracy, size, latency and memory on the same examples and in one run, with intervals and a verdict each.
    """
    output = Output(to_json, quiet)
    for path, option in ((html, "--html"), (markdown, "--markdown")):
        if path is not None:
            options.check_output(path, option)
    if max_accuracy_drop is not None and data is None:
        raise InputError("--max-accuracy-drop needs examples with labels; give them with --data.")
    amount = options.amount(evaluation, "--samples")
    from slimedge.benchmarks.comparing import (
        Conditions,
        Detailed,
        compare_groups,
        compare_groups_detailed,
        lineages,
    )
    from slimedge.benchmarks.judging import Goals, check_goals
    from slimedge.benchmarks.reporting import html as page
    from slimedge.benchmarks.reporting import json as json_report
    from slimedge.benchmarks.reporting import markdown as markdown_report
    from slimedge.benchmarks.reporting import terminal
    from slimedge.benchmarks.reporting.report import Report

    examples = None
    if data is not None:
        loaded = options.load_data(
            data, labels=labels, scale=scale, part=part, image_size=image_size, limit=limit
        )
        examples = loaded.split(seed=seed, evaluation=amount).evaluation
        if max_accuracy_drop is not None and not examples.targets:
            raise InputError(
                f"--max-accuracy-drop needs labels, and {data} has none; name them with --label-column."
            )
    conditions = Conditions(
        targets=target or (),
        output=output_name,
        threads=threads,
        effort=effort,
        allow_fallback=allow_fallback,
        trust=trust,
        raw_inputs=raw_input or (),
        checks="types" if no_range_checks else "strict",
    )
    models = [before, *after]
    with on_terminal(quiet=quiet) as progress:
        # Only the page draws the details, and some of them are measured for it.
        if html is None:
            found = Detailed(compare_groups([models], examples, conditions, progress=progress), {})
        else:
            found = compare_groups_detailed([models], examples, conditions, progress=progress)
    (comparison,) = found.comparisons
    goals = check_goals(comparison, Goals(max_accuracy_drop, min_speedup))
    made = lineages(comparison, models)
    report = Report(
        title or f"{before.name}, before and after", (comparison,), goals, made, details=found.details
    )
    output.show(lambda console: terminal.show(report, console))
    if html is not None:
        write_text(html, page.render(report))
    if markdown is not None:
        write_text(markdown, markdown_report.render(report))
    output.write_json(lambda: json_report.render(report))
    missed = [goal for goal in goals if not goal.met]
    if missed:
        raise GoalError(f"{len(missed)} of {len(goals)} goals missed: {missed[0].goal}, {missed[0].sentence}")
