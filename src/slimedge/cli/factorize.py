"""`slimedge factorize`: layers of a Keras model split into chains of smaller ones, by low rank."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimedge.cli import options
from slimedge.cli.compressing import compress
from slimedge.cli.output import Output


def factorize(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A trained .keras file.")],
    data: options.Source,
    out: options.CompressedFile,
    energy: Annotated[
        float | None,
        typer.Option(
            "--energy", metavar="SHARE", help="Share of its outputs' energy that every layer keeps, as 0.9."
        ),
    ] = None,
    macs: Annotated[
        float | None,
        typer.Option(
            "--macs", metavar="SHARE", help="Share of the model's multiply-accumulates to reach, as 0.5."
        ),
    ] = None,
    parameters: Annotated[
        float | None,
        typer.Option("--parameters", metavar="SHARE", help="Share of the model's parameters to reach."),
    ] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layers",
            metavar="PATTERN",
            help="Layers that may be split, as 'block*'; by default all. May be repeated.",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="PATTERN", help="Layers that stay whole; may be repeated."),
    ] = None,
    way: Annotated[
        list[str] | None,
        typer.Option(
            "--way",
            metavar="WAY",
            help="How layers may be split: svd, tucker2, spatial_svd; by default all. May be repeated.",
        ),
    ] = None,
    multiple: Annotated[
        int, typer.Option("--multiple", metavar="N", min=1, help="Ranks are multiples of this, as 8.")
    ] = 1,
    epochs: options.TuningEpochs = 0,
    learning_rate: options.TuningRate = 1e-3,
    loss: options.TuningLoss = "distillation",
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
    """Split layers into chains of smaller ones.

    Dense layers and convolutions become two or three of low rank wherever that saves multiply-accumulates. Exactly one
    of --energy, --macs and --parameters says how far.
    """
    output = Output(to_json, quiet)
    options.check_output(out, "--output", ending=".keras")
    goal = options.tuning_loss(loss)
    from slimedge.benchmarks.reporting import compression, low_rank
    from slimedge.compress import factorization

    stage = factorization.Factorize(
        energy=energy,
        macs=macs,
        parameters=parameters,
        layers=tuple(layers or ()),
        exclude=tuple(exclude or ()),
        ways=tuple(way or factorization.WAY_NAMES),
        multiple=multiple,
        epochs=epochs,
        learning_rate=learning_rate,
        loss=goal,
        seed=seed,
    )
    done = compress(
        model,
        data,
        out,
        stage,
        evaluation=evaluation,
        seed=seed,
        labels=labels,
        scale=scale,
        part=part,
        image_size=image_size,
        limit=limit,
        no_range_checks=no_range_checks,
        trust=trust,
        quiet=quiet,
    )
    settings = done.artifact.lineage[-1].settings
    output.show(lambda console: compression.show(done, console, low_rank.lines(settings)))
    output.write_json(lambda: compression.as_json(done, {"factorization": dict(settings)}))
