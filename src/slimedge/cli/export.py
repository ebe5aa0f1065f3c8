"""`slimedge export`: a Keras model to ONNX, TFLite, or C++ for microcontrollers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from slimedge.cli import options
from slimedge.cli.output import Output
from slimedge.progress import on_terminal


def export(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A .keras file, float or quantized; or a .tflite file to write as c-array."
        ),
    ],
    folder: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="DIR", help="Folder for the files; made where it is missing."),
    ] = Path(),
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORMATS",
            help="Formats: onnx, tflite, c-array (C++ for TFLite Micro), as onnx,tflite.",
        ),
    ] = "onnx,tflite",
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Name of the files, without ending; by default MODEL's."),
    ] = None,
    io: Annotated[
        str,
        typer.Option(
            "--io",
            metavar="TYPE",
            help="Type of inputs and outputs: float32, or int8 or int16 when quantized.",
        ),
    ] = "float32",
    batch: Annotated[
        int,
        typer.Option("--batch", metavar="N", min=1, help="Fixed batch of the TFLite file; ONNX takes any."),
    ] = 1,
    portable: Annotated[
        bool,
        typer.Option(
            "--portable", help="ONNX integers that are exact on every CPU, and slower than the fastest."
        ),
    ] = False,
    integers: Annotated[
        str | None,
        typer.Option(
            "--integers", metavar="TYPES", help="u8s8, u8u8 or s8s8; by default what suits this CPU."
        ),
    ] = None,
    dense: Annotated[
        bool,
        typer.Option(
            "--dense",
            help="Store zeros of pruned kernels in the TFLite file like other weights, for runtimes without DENSIFY.",
        ),
    ] = False,
    compute: Annotated[
        str,
        typer.Option(
            "--compute",
            metavar="TYPE",
            help="What an ONNX file of a float model computes in: float32, or float16 for GPUs.",
        ),
    ] = "float32",
    target: options.Target = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            "--float",
            metavar="FLOAT.keras",
            help="With --target: the float model. Its file and the integer ones are timed there, and the fastest "
            "integer one is written; fails where float is faster.",
        ),
    ] = None,
    time_limit_s: Annotated[
        float, typer.Option("--time-limit", metavar="SECONDS", min=1, help="Longest time for one file.")
    ] = 3600.0,
    memory_limit_gb: Annotated[
        float | None,
        typer.Option(
            "--memory-limit", metavar="GB", min=0.5, help="Most memory for one file; by default nine tenths."
        ),
    ] = None,
    trust: options.Trust = False,
    to_json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Export a Keras model to ONNX, TFLite, or C++ for microcontrollers.

    Each file is made in a process of its own and checked against the model before it is kept.
    """
    output = Output(to_json, quiet)
    options.check_folder(folder, "--output")
    from slimedge.benchmarks.reporting import figures
    from slimedge.benchmarks.reporting.artifact import as_dict
    from slimedge.errors import InputError
    from slimedge.export.exporting import export_model, files_of
    from slimedge.integers import PORTABLE

    if portable and integers not in (None, PORTABLE):
        raise InputError(
            f"--portable means --integers {PORTABLE}, and {integers} was given; leave one of them out."
        )

    if target:
        if baseline is None:
            raise InputError("--target compares with the float model; name its file with --float.")
        if integers is not None or portable or batch != 1 or compute != "float32":
            raise InputError(
                "--target chooses the integers and a batch of 1; leave --integers, --portable, --batch and --compute "
                "out."
            )
        from slimedge.benchmarks.exporting_for import export_for
        from slimedge.benchmarks.reporting import quantization

        with on_terminal(quiet=quiet) as progress:
            chosen = export_for(
                model,
                baseline,
                target,
                folder=folder,
                name=name,
                io=io,
                dense=dense,
                trust=trust,
                progress=progress,
            )
        for artifact, contest in chosen:
            for line in quantization.contest_lines(contest):
                output.say(line)
            output.say(f"wrote {artifact.path} ({figures.size(artifact.path.stat().st_size)})")
        output.write_json(lambda: json.dumps([as_dict(artifact) for artifact, _ in chosen], indent=2) + "\n")
        return
    with on_terminal(quiet=quiet) as progress:
        artifacts = export_model(
            model,
            to=[each.strip() for each in to.split(",")],
            folder=folder,
            name=name,
            io=io,
            batch=batch,
            integers=PORTABLE if portable else integers,
            dense=dense,
            compute=compute,
            trust=trust,
            time_limit_s=time_limit_s,
            memory_limit_bytes=None if memory_limit_gb is None else round(memory_limit_gb * 1e9),
            progress=lambda file: progress(f"exporting {file}"),
        )
    for path in (path for artifact in artifacts for path in files_of(artifact)):
        output.say(f"wrote {path} ({figures.size(path.stat().st_size)})")
    output.write_json(lambda: json.dumps([as_dict(artifact) for artifact in artifacts], indent=2) + "\n")
