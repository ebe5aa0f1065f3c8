"""`slimedge inspect`: what is in a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimedge.cli import options
from slimedge.cli.output import Output
from slimedge.progress import on_terminal


def inspect(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A .keras, .onnx or .tflite file.")],
    trust: options.Trust = False,
    to_json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Show what is in a model file.

    Layers or ops, shapes, parameters, MACs, activation memory, sparsity, types, sizes, how the file was made.
    """
    output = Output(to_json, quiet)
    from slimedge.benchmarks.inspecting import inspect as look_into
    from slimedge.benchmarks.reporting import inspection

    with on_terminal(quiet=quiet) as progress:
        found = look_into(model, trust=trust, progress=progress)
    output.show(lambda console: inspection.show(found, console))
    output.write_json(lambda: inspection.as_json(found))
