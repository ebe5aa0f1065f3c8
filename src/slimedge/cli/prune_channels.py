"""`slimedge prune-channels`: a float Keras model with fewer channels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimedge.cli import options
from slimedge.cli.compressing import compress
from slimedge.cli.output import Output
from slimedge.errors import GoalError, InputError
from slimedge.progress import on_terminal

# Of the speedup that was asked for, what may be missing when the trained model is timed once more.
TOLERANCE = 0.1


def prune_channels(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A trained .keras file.")],
    data: options.Source,
    out: options.CompressedFile,
    macs: Annotated[
        float | None,
        typer.Option("--macs", metavar="SHARE", help="Of the multiply-accumulates, that is left, as 0.5."),
    ] = None,
    parameters: Annotated[
        float | None, typer.Option("--parameters", metavar="SHARE", help="Of the parameters, that is left.")
    ] = None,
    ratio: Annotated[
        float | None,
        typer.Option("--ratio", metavar="SHARE", help="Of the channels that can go, that do, as 0.3."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="TARGET",
            help="Where it shall be faster, as litert or ort; with --speedup. Channels go until it is measured so.",
        ),
    ] = None,
    speedup: Annotated[
        float | None,
        typer.Option("--speedup", metavar="TIMES", help="How much faster on --target, as 2.0."),
    ] = None,
    criterion: Annotated[
        str,
        typer.Option(
            "--criterion",
            metavar="CRITERION",
            help="What a channel is worth: hessian (needs no labels), taylor (on labels), l1, l2, batchnorm, random.",
        ),
    ] = "hessian",
    ranking: Annotated[
        str,
        typer.Option(
            "--ranking",
            metavar="KIND",
            help="The least of all layers together (global), or the same ratio in each (layer).",
        ),
    ] = "global",
    multiple: Annotated[
        int,
        typer.Option(
            "--multiple",
            metavar="N",
            help="Leave multiples of so many channels in each layer, half as many in a small one; 1 for any.",
        ),
    ] = 8,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layers", metavar="PATTERN", help="Prune layers of such names only, as conv_*; may be repeated."
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude", metavar="PATTERN", help="Layers that keep their channels; may be repeated."
        ),
    ] = None,
    steps: Annotated[
        int,
        typer.Option(
            "--steps", metavar="N", help="Rounds of removing, with an epoch of training between them."
        ),
    ] = 1,
    epochs: options.TuningEpochs = 2,
    learning_rate: options.TuningRate = 2e-3,
    loss: options.TuningLoss = "distillation",
    effort: options.Effort = "quick",
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
    """Remove whole channels from a trained model, and train what is left.

    The result is an ordinary Keras model with smaller weights, which every runtime computes faster.
    """
    output = Output(to_json, quiet)
    options.check_output(out, "--output", ending=".keras")
    shares = {"--macs": macs, "--parameters": parameters, "--ratio": ratio}
    if (target is None) != (speedup is None):
        raise InputError("--target and --speedup go together; give both, as --target litert --speedup 2.0.")
    given = [name for name, value in shares.items() if value is not None]
    if len(given) + (target is not None) != 1:
        named = " and ".join([*given, *(["--target"] if target is not None else [])]) or "nothing"
        raise InputError(
            f"{named} says how much is removed; give one of {', '.join(shares)}, or --target with --speedup."
        )
    trained_for = options.tuning_loss(loss)
    from slimedge.benchmarks.channel_speed import PruneForSpeed, speedup_of
    from slimedge.benchmarks.reporting import channels
    from slimedge.compress.channel_pruning import PruneChannels

    stage = PruneChannels(
        ratio=ratio,
        macs=macs,
        parameters=parameters,
        criterion=criterion,
        ranking=ranking,
        multiple=multiple,
        layers=tuple(layers or ()),
        exclude=tuple(exclude or ()),
        steps=steps,
        epochs=epochs,
        learning_rate=learning_rate,
        loss=trained_for,
        seed=seed,
    )
    done = compress(
        model,
        data,
        out,
        PruneForSpeed(stage, target, speedup, effort)
        if target is not None and speedup is not None
        else stage,
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
    measured = None
    if target is not None and speedup is not None:
        with on_terminal(quiet=quiet) as progress:
            measured = speedup_of(model, out, target, effort=effort, trust=trust, progress=progress)
    output.show(lambda console: channels.show(done, measured, console))
    output.write_json(lambda: channels.as_json(done, measured))
    if speedup is not None and measured is not None and measured.value < speedup * (1 - TOLERANCE):
        raise GoalError(
            f"goal missed: a speedup of {speedup:g} on {target}, the written model has {measured.value:.2f}"
        )
