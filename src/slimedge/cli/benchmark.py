"""`slimedge benchmark`: how long model files take here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimedge.cli import options
from slimedge.cli.output import Output
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
    to_json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Time model files against each other.

    One interleaved run measures latency, load, first run and memory.
    """
    output = Output(to_json, quiet)
    from slimedge.benchmarks.benchmarking import benchmark as measure
    from slimedge.benchmarks.reporting import timing

    with on_terminal(quiet=quiet) as progress:
        run = measure(
            artifacts,
            targets=target or (),
            threads=threads,
            batch=batch,
            effort=effort,
            allow_fallback=allow_fallback,
            trust=trust,
            progress=progress,
        )
    output.show(lambda console: timing.show(run, console))
    output.write_json(lambda: timing.as_json(run))
