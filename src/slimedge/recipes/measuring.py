"""What a recipe's files are worth: all of them in one interleaved run, kept like every other step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from slimedge.recipes.keys import key_of
from slimedge.recipes.run_folder import RunFolder
from slimedge.recipes.running import Made

if TYPE_CHECKING:
    from slimedge.benchmarks.comparing import Detailed
    from slimedge.data import Data
    from slimedge.progress import Progress
    from slimedge.recipes.recipe import RecipeFile

MEASURED = "measured.json"
NAME = "measure"


def measured(
    recipe: RecipeFile, folder: RunFolder, made: Sequence[Made], data: Data, progress: Progress
) -> tuple[Detailed, bool]:
    """Compare the files after each stage with those of the original, on every target.

    Args:
        recipe: what is measured, and how long.
        folder: of the run.
        made: the original and the model after each stage.
        data: to score on, bound.
        progress: told what is being done.

    Returns:
        A comparison for each format that a target runs, and whether it was measured before: the same files, examples
        and machine.

    Raises:
        SlimedgeError: whatever measuring finds wrong.
    """
    from pydantic import TypeAdapter

    from slimedge.benchmarks.comparing import Conditions, Detailed, compare_groups_detailed
    from slimedge.runtime.jobs import environment_here

    formats = formats_of(recipe)
    environment = asdict(environment_here(recipe.threads, ()))
    key = key_of(
        NAME,
        files=[[one.files[kind].sha256 for one in made] for kind in formats],
        names=[one.title for one in made],
        data=data.fingerprint,
        targets=list(recipe.targets),
        effort=recipe.effort,
        threads=recipe.threads,
        environment=environment,
    )
    adapter: Any = TypeAdapter(Detailed)
    found = folder.done(NAME, key)
    if found is not None:
        kept: Detailed = adapter.validate_json((found.folder / MEASURED).read_bytes())
        return kept, True
    detailed = compare_groups_detailed(
        [[one.files[kind] for one in made] for kind in formats],
        data,
        Conditions(targets=recipe.targets, threads=recipe.threads, effort=recipe.effort),
        progress=progress,
    )
    work = folder.making(key)
    (work.out / MEASURED).write_bytes(adapter.dump_json(detailed))
    folder.keep(NAME, key)
    return detailed, False


def formats_of(recipe: RecipeFile) -> list[str]:
    """Give the exported formats that a target of the recipe runs, in the order of its exports; all without targets."""
    if not recipe.targets:
        return list(recipe.exports.to)
    from slimedge.runtime.backends import BACKENDS
    from slimedge.runtime.targets import parse_target

    run = {str(kind) for name in recipe.targets for kind in BACKENDS[parse_target(name).backend].formats}
    return [kind for kind in recipe.exports.to if kind in run]
