"""`slimedge benchmark`: how long model files take, here and on devices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from slimedge.cli import options
from slimedge.cli.output import Output, write_text
from slimedge.errors import CheckError, InputError, SlimedgeError
from slimedge.progress import on_terminal


def benchmark(
    artifacts: Annotated[
        list[Path], typer.Argument(metavar="ARTIFACT...", help=".keras, .onnx or .tflite files.")
    ],
    target: options.Target = None,
    threads: options.Threads = 1,
    batch: Annotated[
        int | None,
        typer.Option("--batch", metavar="N", min=1, help="Examples in one inference; by default 1."),
    ] = None,
    effort: options.Effort = "default",
    quick: Annotated[bool, typer.Option("--quick", help="Short for --effort quick.")] = False,
    scenario: Annotated[
        str | None,
        typer.Option(
            "--scenario",
            metavar="NAME",
            help="MLPerf-style: single-stream, multi-stream, offline or server.",
        ),
    ] = None,
    concurrency: Annotated[
        str | None,
        typer.Option("--concurrency", metavar="N,...", help="Workers to try (offline), or to have (server)."),
    ] = None,
    batches: Annotated[
        str | None, typer.Option("--batches", metavar="N,...", help="Batches to try (offline), as 1,8,32.")
    ] = None,
    latency_bound: Annotated[
        str | None,
        typer.Option(
            "--latency-bound",
            metavar="TIME",
            help="Which 99 of 100 queries must keep (server), as 20ms; by default 10 medians.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page with the picture of a scenario."),
    ] = None,
    allow_fallback: options.AllowFallback = False,
    trust: options.Trust = False,
    time_limit: Annotated[
        float | None,
        typer.Option(
            "--time-limit",
            metavar="SECONDS",
            help="After which a device that does not answer has failed; by default 600.",
        ),
    ] = None,
    profile: Annotated[
        bool,
        typer.Option("--profile", help="Tell where the time goes: layer by layer, op by op in the JSON."),
    ] = False,
    trace: Annotated[
        Path | None,
        typer.Option(
            "--trace",
            metavar="FILE",
            help="Write the ops of some runs as a Chrome trace for ui.perfetto.dev, with --profile.",
        ),
    ] = None,
    to_json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Time model files against each other, here and on devices.

    One interleaved run a device measures latency, load, first run and memory; each file on each target is a row. Exits
    with 1 when some rows failed, and as the first of them where all did.
    """
    output = Output(to_json, quiet)
    if trace is not None:
        options.check_output(trace, "--trace")
    if html is not None:
        options.check_output(html, "--html")
    effort = "quick" if quick else effort
    if scenario is not None:
        if profile or trace is not None:
            raise InputError("--profile and --trace are no options of --scenario; profile without one.")
        _scenario(
            artifacts,
            scenario,
            target or (),
            threads,
            (batch, batches),
            concurrency,
            latency_bound,
            effort,
            allow_fallback=allow_fallback,
            trust=trust,
            output=output,
            html=html,
        )
        return
    given = {
        "--concurrency": concurrency,
        "--batches": batches,
        "--latency-bound": latency_bound,
        "--html": html,
    }
    odd = next((option for option, value in given.items() if value is not None), None)
    if odd is not None:
        raise InputError(f"{odd} is an option of --scenario; name one, as --scenario offline.")
    from slimedge.benchmarks.benchmarking import benchmark as measure
    from slimedge.benchmarks.reporting import timing

    with on_terminal(quiet=quiet) as progress:
        found = measure(
            artifacts,
            targets=target or (),
            threads=threads,
            batch=batch,
            effort=effort,
            allow_fallback=allow_fallback,
            trust=trust,
            limit_s=time_limit,
            profile=profile or trace is not None,
            progress=progress,
        )
    if any(row.error is None for row in found.rows) or len(found.rows) > 1:
        output.show(lambda console: timing.show(found, console))
    output.write_json(lambda: timing.as_json(found))
    if trace is not None and found.profiles:
        from slimedge.benchmarks.profiles.trace import write_trace

        write_trace(trace, found.profiles)
    _tell_failures([row.error for row in found.rows if row.error is not None], len(found.rows))


def _scenario(
    artifacts: Sequence[Path],
    scenario: str,
    targets: Sequence[str],
    threads: int,
    batches: tuple[int | None, str | None],
    concurrency: str | None,
    latency_bound: str | None,
    effort: str,
    *,
    allow_fallback: bool,
    trust: bool,
    output: Output,
    html: Path | None,
) -> None:
    """Measure under one scenario, and tell what was found."""
    from slimedge.benchmarks.reporting import scenario_page, scenarios
    from slimedge.benchmarks.scenarios.result import Failed
    from slimedge.benchmarks.scenarios.running import run_scenario

    one, several = batches
    if one is not None:
        raise InputError(
            "--batch is not an option of --scenario; offline tries --batches, as --batches 1,8,32."
        )
    with on_terminal(quiet=output.quiet) as progress:
        found = run_scenario(
            artifacts,
            scenario,
            targets=targets,
            threads=threads,
            batches=() if several is None else options.numbers(several, "--batches"),
            concurrency=() if concurrency is None else options.numbers(concurrency, "--concurrency"),
            latency_bound_s=None
            if latency_bound is None
            else options.seconds(latency_bound, "--latency-bound"),
            effort=effort,
            allow_fallback=allow_fallback,
            trust=trust,
            progress=progress,
        )
    failed = [model.error for model in found.models if isinstance(model, Failed)]
    if len(failed) < len(found.models) or len(failed) > 1:
        output.show(lambda console: scenarios.show(found, console))
    if html is not None:
        write_text(html, scenario_page.render(found))
    output.write_json(lambda: scenarios.as_json(found))
    _tell_failures(failed, len(found.models))


def _tell_failures(failed: Sequence[SlimedgeError], rows: int) -> None:
    """End as the first where all rows failed, else as a check that was not passed."""
    if failed and len(failed) == rows:
        raise failed[0]
    if failed:
        raise CheckError(f"{len(failed)} of {rows} rows failed: {failed[0]}")
