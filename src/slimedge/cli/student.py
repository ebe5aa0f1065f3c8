"""`slimedge student`: a smaller model of a teacher's shape."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from slimedge.cli import options
from slimedge.cli.output import Output
from slimedge.progress import on_terminal


def student(
    teacher: Annotated[Path, typer.Argument(metavar="TEACHER", help="A trained .keras file.")],
    out: Annotated[Path, typer.Option("-o", "--output", metavar="OUT.keras", help="File for the student.")],
    width: Annotated[
        float, typer.Option("--width", metavar="SHARE", help="Of the channels of each layer, that is left.")
    ] = 1.0,
    depth: Annotated[
        float,
        typer.Option("--depth", metavar="SHARE", help="Of the blocks that can go, that is left at most."),
    ] = 1.0,
    weights: Annotated[
        str,
        typer.Option("--weights", metavar="KIND", help="fresh, or inherit: those of the largest channels."),
    ] = "fresh",
    multiple: Annotated[
        int, typer.Option("--multiple", metavar="N", help="Of the channels that are left in each layer.")
    ] = 8,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layers", metavar="PATTERN", help="Only these layers lose channels, as conv_*; may be repeated."
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude", metavar="PATTERN", help="Layers that keep their channels; may be repeated."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of fresh weights.")] = 0,
    trust: options.Trust = False,
    to_json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Make a smaller model of a teacher's shape, to be trained by `slimedge distill`.

    First blocks go, then channels; inputs, outputs and names of layers stay.
    """
    output = Output(to_json, quiet)
    options.check_output(out, "--output", ending=".keras")
    from slimedge.benchmarks.making_students import make_student
    from slimedge.benchmarks.reporting import student as report
    from slimedge.compress import students

    make = partial(
        students.student,
        width=width,
        depth=depth,
        weights=weights,
        multiple=multiple,
        layers=tuple(layers or ()),
        exclude=tuple(exclude or ()),
        seed=seed,
    )
    with on_terminal(quiet=quiet) as progress:
        done = make_student(teacher, out, make, trust=trust, progress=progress)
    output.show(lambda console: report.show(done, console))
    output.write_json(lambda: report.as_json(done))
