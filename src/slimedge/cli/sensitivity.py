"""`slimedge sensitivity`: what each layer's rounding costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimedge.cli import options
from slimedge.cli.output import Output, write_text
from slimedge.progress import on_terminal


def sensitivity(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A trained .keras file.")],
    data: options.Source,
    bits: Annotated[
        str, typer.Option("--bits", metavar="BITS", help="Bits of the weights that are tried, as 4,8.")
    ] = "4,8",
    observer: Annotated[
        str, typer.Option("--observer", metavar="OBSERVER", help="How ranges are found, as in quantize.")
    ] = "minmax",
    granularity: Annotated[
        str,
        typer.Option("--granularity", metavar="KIND", help="Scales of kernels: per_channel or per_tensor."),
    ] = "per_channel",
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="LAYER", help="Layer that stays float; may be repeated."),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option("--calibration", metavar="N|SHARE", help="Examples to find ranges on; by default 512."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with the picture.")
    ] = None,
    evaluation: options.Evaluation = None,
    seed: options.Seed = 0,
    labels: options.Labels = None,
    scale: options.Scale = None,
    part: options.Part = None,
    image_size: options.ImageSize = None,
    limit: options.Limit = None,
    no_range_checks: options.NoRangeChecks = False,
    trust: options.Trust = False,
    to_json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Show what rounding each layer costs.

    One layer is rounded at a time, and then all but one: the SQNR of the outputs, and the accuracy that is lost.
    """
    output = Output(to_json, quiet)
    if html is not None:
        options.check_output(html, "--html")
    widths = options.numbers(bits, "--bits")
    split = {
        "seed": seed,
        "calibration": options.amount(calibration, "--calibration"),
        "evaluation": options.amount(evaluation, "--samples"),
    }
    from slimedge.benchmarks.layer_sensitivity import measure_sensitivity
    from slimedge.benchmarks.reporting import sensitivity as report

    loaded = options.load_data(
        data, labels=labels, scale=scale, part=part, image_size=image_size, limit=limit
    )
    with on_terminal(quiet=quiet) as progress:
        measured = measure_sensitivity(
            model,
            loaded,
            candidates=widths,
            observer=observer,
            exclude=tuple(exclude or ()),
            granularity=granularity,
            split=split,
            checks="types" if no_range_checks else "strict",
            trust=trust,
            progress=progress,
        )
    output.show(lambda console: report.show(measured, console))
    if html is not None:
        write_text(html, report.render(measured))
    output.write_json(lambda: report.as_json(measured))
