"""`slimedge cluster`: a float Keras model whose weights have few values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimedge.cli import options
from slimedge.cli.compressing import compress
from slimedge.cli.output import Output


def cluster(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A trained .keras file.")],
    data: options.Source,
    out: options.CompressedFile,
    clusters: Annotated[
        int, typer.Option("--clusters", metavar="N", help="The most values that weights share, 2 or more.")
    ] = 16,
    init: Annotated[
        str,
        typer.Option(
            "--init",
            metavar="KIND",
            help="Where the values are looked for first: kmeans++, linear or density.",
        ),
    ] = "kmeans++",
    granularity: Annotated[
        str,
        typer.Option(
            "--granularity",
            metavar="KIND",
            help="Who shares values: the weights of a layer (per_layer) or of an output channel (per_channel).",
        ),
    ] = "per_layer",
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layers",
            metavar="PATTERN",
            help="Cluster layers of such names only, as conv_*; may be repeated.",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="PATTERN", help="Layers that keep their weights; may be repeated."),
    ] = None,
    keep_batchnorm: Annotated[
        bool,
        typer.Option(
            "--keep-batchnorm",
            help="Do not fold BatchNorm into the weights first; an exporter then does, and they have more values.",
        ),
    ] = False,
    epochs: options.TuningEpochs = 1,
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
    """Let the weights of each layer share a few values, and train these.

    The result is an ordinary Keras model. Its files are smaller once they are compressed, and as fast as before. Zeros
    that pruning made stay zeros.
    """
    output = Output(to_json, quiet)
    options.check_output(out, "--output", ending=".keras")
    trained_for = options.tuning_loss(loss)
    from slimedge.benchmarks.reporting import clustering
    from slimedge.compress.clustering import Cluster

    stage = Cluster(
        clusters=clusters,
        init=init,
        granularity=granularity,
        layers=tuple(layers or ()),
        exclude=tuple(exclude or ()),
        fold=not keep_batchnorm,
        epochs=epochs,
        learning_rate=learning_rate,
        loss=trained_for,
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
    output.show(lambda console: clustering.show(done, console))
    output.write_json(lambda: clustering.as_json(done))
