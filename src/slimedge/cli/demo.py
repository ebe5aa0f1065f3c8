"""`slimedge demo`: the whole story on a bundled model and data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimedge.cli import options
from slimedge.cli.output import Output
from slimedge.progress import on_terminal


def demo(
    folder: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the models and the report.")
    ] = Path("slimedge-demo"),
    threads: options.Threads = 1,
    effort: options.Effort = "default",
    to_json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Show the whole story on a bundled model and data.

    Quantizes a ResNet-8 for Fashion-MNIST, exports it float and int8 to ONNX and TFLite, compares them, and writes
    models and report.
    """
    output = Output(to_json, quiet)
    options.check_folder(folder, "--output")
    from slimedge.benchmarks.demonstrating import demonstrate
    from slimedge.benchmarks.reporting import json as json_report
    from slimedge.benchmarks.reporting import terminal

    with on_terminal(quiet=quiet) as progress:
        report = demonstrate(folder, effort=effort, threads=threads, say=output.say, progress=progress)
    output.say("")
    output.show(lambda console: terminal.show(report, console))
    output.say("", f"the report with its plot: {folder / 'report.html'} (and report.json)")
    output.write_json(lambda: json_report.render(report))
