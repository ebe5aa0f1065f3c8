"""`slimedge distill`: a student trained towards its teachers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimedge.cli import options
from slimedge.cli.compressing import compress
from slimedge.cli.output import Output
from slimedge.errors import InputError

SELF = "self"


def distill(
    model: Annotated[Path, typer.Argument(metavar="STUDENT", help="A float .keras file.")],
    data: options.Source,
    out: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT.keras", help="File for the trained student.")
    ],
    teacher: Annotated[
        list[str],
        typer.Option(
            "--teacher",
            metavar="TEACHER.keras",
            help="A model, float or quantized, that takes and gives the same; self: the student as it is. May be "
            "repeated.",
        ),
    ],
    teacher_weight: Annotated[
        list[float] | None,
        typer.Option(
            "--teacher-weight", metavar="WEIGHT", help="How much each teacher counts; one for each, in order."
        ),
    ] = None,
    temperature: Annotated[
        float, typer.Option("--temperature", metavar="T", help="That outputs are softened with, above 0.")
    ] = 4.0,
    label_weight: Annotated[
        float,
        typer.Option("--label-weight", metavar="SHARE", help="Of the labels; the rest is the teachers'."),
    ] = 0.5,
    hint: Annotated[
        list[str] | None,
        typer.Option(
            "--hint",
            metavar="OURS=THEIRS",
            help="A layer of the student that learns the features of a teacher's layer; may be repeated.",
        ),
    ] = None,
    hint_weight: Annotated[
        float, typer.Option("--hint-weight", metavar="WEIGHT", help="Of each of them.")
    ] = 1.0,
    attention: Annotated[
        list[str] | None,
        typer.Option(
            "--attention",
            metavar="OURS=THEIRS",
            help="A layer that learns where a teacher's layer is strong; may be repeated.",
        ),
    ] = None,
    attention_weight: Annotated[
        float, typer.Option("--attention-weight", metavar="WEIGHT", help="Of each of them.")
    ] = 1.0,
    relation: Annotated[
        list[str] | None,
        typer.Option(
            "--relation",
            metavar="OURS=THEIRS",
            help="A layer that learns distances and angles between examples; may be repeated.",
        ),
    ] = None,
    relation_weight: Annotated[
        float, typer.Option("--relation-weight", metavar="WEIGHT", help="Of each of them.")
    ] = 1.0,
    epochs: Annotated[
        int, typer.Option("--epochs", metavar="N", help="Passes over what the evaluation leaves.")
    ] = 5,
    learning_rate: options.TuningRate = 2e-3,
    batch_size: Annotated[
        int, typer.Option("--batch-size", metavar="N", help="Examples a step, of all devices together.")
    ] = 128,
    schedule: Annotated[
        str,
        typer.Option(
            "--schedule", metavar="SCHEDULE", help="Of the learning rate: cosine, linear or constant."
        ),
    ] = "cosine",
    optimizer: Annotated[
        str, typer.Option("--optimizer", metavar="NAME", help="adam, adamw, sgd, rmsprop or lion.")
    ] = "adam",
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="KIND",
            help="What layers compute in while they train: float32, mixed_bfloat16 or mixed_float16.",
        ),
    ] = "float32",
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy",
            metavar="NAME",
            help="Train on several devices: mirrored, all GPUs of this machine; multi-worker, the machines of "
            "TF_CONFIG.",
        ),
    ] = None,
    validation: Annotated[
        float,
        typer.Option(
            "--validation",
            metavar="SHARE",
            help="Of the training examples, to look at after each epoch; the best one is kept.",
        ),
    ] = 0.05,
    patience: Annotated[
        int | None,
        typer.Option(
            "--patience", metavar="N", help="End after so many epochs without a smaller loss on those."
        ),
    ] = None,
    keep_zeros: Annotated[
        bool | None,
        typer.Option(
            "--keep-zeros/--free-zeros", help="Whether zeros stay; by default where pruning made them."
        ),
    ] = None,
    keep_clusters: Annotated[
        bool | None,
        typer.Option(
            "--keep-clusters/--free-clusters",
            help="Whether shared values stay shared; by default where clustering made them.",
        ),
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
    """Train a student towards what its teachers say, and the labels where there are some.

    The result is the student, an ordinary Keras model; nothing of a teacher is in it. What pruning and clustering made
    of it stays.
    """
    output = Output(to_json, quiet)
    options.check_output(out, "--output", ending=".keras")
    files = [Path(name) for name in teacher if name != SELF]
    if any(path.exists() and out.exists() and path.samefile(out) for path in files):
        raise InputError(f"{out} is a teacher; write the student to another file.")
    from slimedge.compress.distillation import Distill
    from slimedge.compress.fitting import strategies
    from slimedge.files import scratch_folder

    stage = Distill(
        teachers=tuple(teacher),
        teacher_weights=tuple(teacher_weight or ()),
        temperature=temperature,
        label_weight=label_weight,
        hints=options.pairs(hint or (), "--hint"),
        hint_weight=hint_weight,
        attention=options.pairs(attention or (), "--attention"),
        attention_weight=attention_weight,
        relations=options.pairs(relation or (), "--relation"),
        relation_weight=relation_weight,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        schedule=schedule,
        optimizer=optimizer,
        precision=precision,
        strategy=strategy,
        validation=validation,
        patience=patience,
        keep_zeros=keep_zeros,
        keep_clusters=keep_clusters,
        seed=seed,
    )
    stage.check()
    if strategy is not None:
        strategies.start(strategy)  # several machines meet before TensorFlow computes anything
    chief = strategies.is_chief(strategy)
    from slimedge.benchmarks.reporting import distillation

    with scratch_folder() as folder:
        done = compress(
            model,
            data,
            out if chief else folder / out.name,
            stage,
            beside=files,
            evaluation=evaluation,
            seed=seed,
            labels=labels,
            scale=scale,
            part=part,
            image_size=image_size,
            limit=limit,
            no_range_checks=no_range_checks,
            trust=trust,
            quiet=quiet or not chief,
        )
    if not chief:
        output.say("trained; the first machine of TF_CONFIG writes the student")
        return
    output.show(lambda console: distillation.show(done, console))
    output.write_json(lambda: distillation.as_json(done))
