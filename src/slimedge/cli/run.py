"""`slimedge run`: a recipe, from the trained model to measured files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from slimedge.cli import options
from slimedge.cli.output import Output
from slimedge.errors import GoalError, InputError
from slimedge.progress import on_terminal


def run(
    recipe: Annotated[
        str | None,
        typer.Argument(metavar="RECIPE", help="A .yaml file, or a preset: tiny, balanced, accuracy or mcu."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Folder of the run; by default RECIPE-run."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="MODEL", help="A trained .keras file, in the place of the recipe's."),
    ] = None,
    data: options.MaybeSource = None,
    labels: options.Labels = None,
    scale: options.Scale = None,
    part: options.Part = None,
    image_size: options.ImageSize = None,
    limit: options.Limit = None,
    evaluation: options.Evaluation = None,
    no_range_checks: options.NoRangeChecks = False,
    schema: Annotated[
        bool,
        typer.Option("--schema", help="Print the JSON Schema of recipes, for editors, and do nothing else."),
    ] = False,
    to_json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Run a recipe: stages, exports, targets and goals.

    Each stage is done once: a second run in the same folder does what changed, and a run that was stopped goes on. The
    folder then holds the final files and the report as a page, as JSON and as Markdown. Exits with 1 where a goal was
    missed.
    """
    output = Output(to_json, quiet)
    if schema:
        from slimedge.recipes.schema import schema as recipe_schema

        print(json.dumps(recipe_schema(), indent=2))
        return
    if recipe is None:
        raise InputError(
            "no recipe was named; give a .yaml file, or one of the presets tiny, balanced, accuracy, mcu."
        )
    given: dict[str, Any] = {
        "source": data,
        "labels": labels,
        "scale": scale,
        "part": part,
        "image-size": image_size,
        "limit": limit,
        "evaluation": options.amount(evaluation, "--samples"),
        "checks": "types" if no_range_checks else None,
    }
    from slimedge.recipes.recipe import read_recipe

    named = {name: value for name, value in given.items() if value is not None}
    read = read_recipe(recipe, model=model, data=named or None)
    where = folder or Path(f"{read.name}-run")
    options.check_folder(where, "--output")
    from slimedge.benchmarks.reporting import json as json_report
    from slimedge.benchmarks.reporting import terminal
    from slimedge.recipes.execution import execute

    try:
        with on_terminal(quiet=quiet) as progress:
            done = execute(read, where, say=output.say, progress=progress)
    except KeyboardInterrupt as stopped:
        raise KeyboardInterrupt(f"what was finished is kept in {where}, run the same to go on.") from stopped
    output.say("")
    output.show(lambda console: terminal.show(done.report, console))
    output.say("", f"the report as a page: {where / 'report.html'}")
    for file in done.files:
        output.say(f"wrote {file}")
    output.write_json(lambda: json_report.render(done.report))
    missed = [goal for goal in done.report.goals if not goal.met]
    if missed:
        raise GoalError(
            f"{len(missed)} of {len(done.report.goals)} goals missed: {missed[0].goal}, {missed[0].sentence}"
        )
