"""`slimedge benchmark`: how long model files take here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimedge.cli import options
from slimedge.cli.output import Output
from slimedge.errors import CheckError
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
    failed = [row.error for row in found.rows if row.error is not None]
    if failed and len(failed) == len(found.rows):
        raise failed[0]
    if failed:
        raise CheckError(f"{len(failed)} of {len(found.rows)} rows failed: {failed[0]}")
