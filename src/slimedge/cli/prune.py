"""`slimedge prune`: a float Keras model with its smallest weights at 0."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimedge.cli import options
from slimedge.cli.compressing import compress
from slimedge.cli.output import Output


def prune(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A trained .keras file.")],
    data: options.Source,
    out: options.CompressedFile,
    sparsity: Annotated[
        float,
        typer.Option("--sparsity", metavar="SHARE", help="Of the weights, that shall be 0: 0 to below 1."),
    ] = 0.5,
    pattern: Annotated[
        str,
        typer.Option(
            "--pattern",
            metavar="PATTERN",
            help="Where zeros may lie: unstructured; blocks of output by input channels, as 4x1; or 2:4, two kept of "
            "each four along the input channels.",
        ),
    ] = "unstructured",
    ranking: Annotated[
        str,
        typer.Option(
            "--ranking",
            metavar="KIND",
            help="The smallest of each layer (layer) or of all together (global).",
        ),
    ] = "layer",
    schedule: Annotated[
        str,
        typer.Option(
            "--schedule",
            metavar="SCHEDULE",
            help="How sparsity grows while the model trains: polynomial, also with a power as polynomial:2; cubic; "
            "constant, also from a share of the steps on as constant:0.2; one_shot.",
        ),
    ] = "polynomial",
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layers", metavar="PATTERN", help="Prune layers of such names only, as conv_*; may be repeated."
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="PATTERN", help="Layers that stay dense; may be repeated."),
    ] = None,
    epochs: options.TuningEpochs = 2,
    learning_rate: options.TuningRate = 1e-3,
    loss: options.TuningLoss = "distillation",
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            metavar="ENGINE",
            help="Who prunes and trains: keras, or tfmot, Google's TensorFlow Model Optimization Toolkit, for the "
            "models that it takes.",
        ),
    ] = "keras",
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
    """Set the smallest weights of a trained model to 0, while the others make up for it.

    The result is an ordinary Keras model. Its files are smaller once they are compressed; that a runtime is faster with
    zeros is not promised, since most compute with them as with any number.
    """
    output = Output(to_json, quiet)
    options.check_output(out, "--output", ending=".keras")
    trained_for = options.tuning_loss(loss)
    from slimedge.benchmarks.reporting import pruning
    from slimedge.compress.pruning import Prune

    stage = Prune(
        sparsity=sparsity,
        pattern=pattern,
        ranking=ranking,
        schedule=schedule,
        layers=tuple(layers or ()),
        exclude=tuple(exclude or ()),
        epochs=epochs,
        learning_rate=learning_rate,
        loss=trained_for,
        engine=engine,
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
    output.show(lambda console: pruning.show(done, console))
    output.write_json(lambda: pruning.as_json(done))
