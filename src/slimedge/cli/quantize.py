"""`slimedge quantize`: a float Keras model to an integer one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimedge.cli import options
from slimedge.cli.output import Output
from slimedge.errors import GoalError
from slimedge.progress import on_terminal


def quantize(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A trained .keras file.")],
    data: options.Source,
    out: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT.keras", help="File for the quantized model.")
    ],
    scheme: Annotated[
        str,
        typer.Option(
            "--scheme",
            metavar="SCHEME",
            help="What becomes an integer, and how wide: auto, static_wi8_ai8, static_wi4_ai8, static_wi8_ai16, "
            "dynamic_wi8_afp32, weight_only_wi8_afp32, weight_only_wi4_afp32, fp16.",
        ),
    ] = "auto",
    observer: Annotated[
        list[str] | None,
        typer.Option(
            "--observer",
            metavar="[PATTERN=]OBSERVER",
            help="How ranges are found: minmax (the default), moving_average, percentile, entropy, mse; with a "
            "setting, as percentile:99.9; with PATTERN= only those of tensors of such names. May be repeated.",
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            metavar="METHOD",
            help="Makes static integers more exact, may be repeated: equalization, bias_absorption, smoothing, "
            "adaround, adaround_blocks, gptq, bias_correction, bias_correction_analytic.",
        ),
    ] = None,
    granularity: Annotated[
        str,
        typer.Option(
            "--granularity", metavar="KIND", help="Scales of static kernels: per_channel or per_tensor."
        ),
    ] = "per_channel",
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="LAYER", help="Layer that stays float; may be repeated."),
    ] = None,
    block_size: Annotated[
        int | None,
        typer.Option(
            "--block-size",
            metavar="N",
            help="With 4-bit weights, how many share a scale; by default those of an output channel.",
        ),
    ] = None,
    bits: Annotated[
        list[str] | None,
        typer.Option(
            "--bits",
            metavar="PATTERN=BITS",
            help="Bits of the weights of layers of such names in a static scheme: 2 to 8, 16 for 16-bit activations "
            "around it, or float. May be repeated.",
        ),
    ] = None,
    max_accuracy_drop: Annotated[
        float | None,
        typer.Option(
            "--max-accuracy-drop",
            metavar="POINTS",
            min=0.0,
            help="Choose bits or float for each layer: the fewest that lose no more accuracy than this.",
        ),
    ] = None,
    candidates: Annotated[
        str,
        typer.Option(
            "--candidates",
            metavar="BITS",
            help="With --max-accuracy-drop, the bits that a layer may have beside float: 2 to 8, and 16 for 16-bit "
            "activations around it.",
        ),
    ] = "4,8",
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="TARGET",
            help="Try what may be fast there, as ort or litert, time it, and write the fastest; fails where float is.",
        ),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option("--calibration", metavar="N|SHARE", help="Examples to find ranges on; by default 512."),
    ] = None,
    qat_epochs: Annotated[
        int,
        typer.Option(
            "--qat-epochs",
            metavar="N",
            help="Train the quantized graph for so many passes over the rest of the data: on its labels, or towards "
            "the float model's outputs where it has none. 0: do not train.",
        ),
    ] = 0,
    qat_engine: Annotated[
        str,
        typer.Option(
            "--qat-engine",
            metavar="ENGINE",
            help="Who trains: keras, or tfmot, Google's TensorFlow Model Optimization Toolkit, for the models that it "
            "takes.",
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
    """Quantize a trained model to integers.

    Done after training, on examples that show the ranges of its values; with --qat-epochs, trained further with its
    rounding. The result is an ordinary Keras model.
    """
    output = Output(to_json, quiet)
    options.check_output(out, "--output", ending=".keras")
    split = {
        "seed": seed,
        "calibration": options.amount(calibration, "--calibration"),
        "evaluation": options.amount(evaluation, "--samples"),
    }
    everywhere, by_pattern = options.observers(observer or ())
    from slimedge.benchmarks.quantizing import quantize_file
    from slimedge.benchmarks.reporting import quantization

    loaded = options.load_data(
        data, labels=labels, scale=scale, part=part, image_size=image_size, limit=limit
    )
    with on_terminal(quiet=quiet) as progress:
        done = quantize_file(
            model,
            loaded,
            out,
            scheme=scheme,
            observer=everywhere,
            observers=by_pattern,
            exclude=tuple(exclude or ()),
            methods=tuple(method or ()),
            granularity=granularity,
            block_size=block_size,
            bits=options.layer_bits(bits or ()),
            max_accuracy_drop=max_accuracy_drop,
            candidates=options.numbers(candidates, "--candidates"),
            target=target,
            qat_epochs=qat_epochs,
            qat_engine=qat_engine,
            split=split,
            checks="types" if no_range_checks else "strict",
            trust=trust,
            progress=progress,
        )
    output.show(lambda console: quantization.show(done, console))
    output.write_json(lambda: quantization.as_json(done))
    if done.goal is not None and done.after.accuracy_delta is not None:
        lost = -100 * done.after.accuracy_delta.value
        if max_accuracy_drop is not None and lost > max_accuracy_drop:
            raise GoalError(f"goal missed: {done.goal.goal}, {done.goal.sentence}")
