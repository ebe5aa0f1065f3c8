"""The commands and where they are; a command is a file here and a line below."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from slimedge.cli import (
    benchmark,
    check,
    cluster,
    compare,
    demo,
    distill,
    export,
    factorize,
    inspect,
    prune,
    prune_channels,
    quantize,
    run,
    sensitivity,
    student,
    targets,
)

COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo.demo,
    "inspect": inspect.inspect,
    "student": student.student,
    "distill": distill.distill,
    "prune": prune.prune,
    "prune-channels": prune_channels.prune_channels,
    "factorize": factorize.factorize,
    "cluster": cluster.cluster,
    "quantize": quantize.quantize,
    "sensitivity": sensitivity.sensitivity,
    "export": export.export,
    "benchmark": benchmark.benchmark,
    "compare": compare.compare,
    "run": run.run,
    "check": check.check,
    "targets": targets.targets,
}


def command() -> Any:
    """Give the whole command line as one typer command."""
    # Without rich, help costs 0.1 s less and reads the same in a pipe.
    app = typer.Typer(
        add_completion=False, rich_markup_mode=None, context_settings={"max_content_width": 100}
    )
    app.callback()(_slimedge)
    for name, function in COMMANDS.items():
        app.command(name)(function)
    return typer.main.get_command(app)


def _version(wanted: bool) -> None:
    if wanted:
        from slimedge import __version__

        print(f"slimedge {__version__}")
        raise typer.Exit


def _slimedge(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Make trained Keras models small and fast, as ONNX and TFLite, with proof.

    Quantize once in Keras, export to both formats, and compare accuracy, size and latency before and after.

    Exits with 0 when it did what was asked, 1 when a goal or check failed, 2 on bad usage or bad input.
    """
