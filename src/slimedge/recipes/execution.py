"""A whole recipe: stages, files, measurement, goals and report, in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slimedge.compress.fitting.checkpoints import interval_s
from slimedge.progress import Progress, silent
from slimedge.recipes.examples import parted
from slimedge.recipes.measuring import measured
from slimedge.recipes.reporting import report_of, write
from slimedge.recipes.run_folder import RunFolder
from slimedge.recipes.running import Made, Runner, final_name

if TYPE_CHECKING:
    from slimedge.benchmarks.reporting.report import Report
    from slimedge.recipes.recipe import RecipeFile


@dataclass(frozen=True, slots=True)
class Run:
    """What a recipe gave.

    Attributes:
        report: with the goals and their outcomes.
        files: the final model and its exports, in the run's folder.
    """

    report: Report
    files: tuple[Path, ...]


def execute(
    recipe: RecipeFile,
    folder: Path,
    *,
    say: Callable[[str], None] = lambda _: None,
    progress: Progress = silent,
) -> Run:
    """Run a recipe; what was done before in the same folder is not done again.

    Args:
        recipe: read and checked.
        folder: of the run; made where it is missing. One run at a time works in it.
        say: told what was done, line by line.
        progress: told what is being done.

    Returns:
        The report, which lies in the folder as `report.html`, `report.json` and `report.md`, and the final files.

    Raises:
        InputError: the data does not fit, another run is under way, or nothing can be written there.
        UnavailableError: a goal asks for what TFLite Micro counts, and it is not installed.
        SlimedgeError: whatever a stage, an export or a measurement finds wrong. What was finished is kept.
    """
    run = RunFolder(folder)
    interval_s()
    with run.locked():
        arena_of = _arenas(recipe)
        runner = Runner(recipe, run, say, progress)
        parts = parted(recipe, runner.original_model())
        made = runner.models(parts)
        detailed, before = measured(recipe, run, made, parts.evaluation, progress)
        say("measured: as before" if before else "measured in one interleaved run")
        files = _final(recipe, run, made)
        report = report_of(recipe, made, detailed, arena_of(files))
        write(report, run)
        run.clear()
        return Run(report, files)


def _final(recipe: RecipeFile, run: RunFolder, made: list[Made]) -> tuple[Path, ...]:
    """Put the last model and its files where the user looks for them; those of a format that is not wanted go."""
    from slimedge.benchmarks.weighing import files_of
    from slimedge.export.exporters import EXPORTERS

    last, name = made[-1], final_name(recipe)
    found = [run.put(last.model, f"{name}.keras")]
    for kind in EXPORTERS:
        if kind not in last.files:
            (run.path / f"{name}.{kind}").unlink(missing_ok=True)
            continue
        # The file itself comes last: with it, all that it names is there.
        parts = [run.put(part, part.name) for part in reversed(files_of(last.files[kind]))]
        found.append(parts[-1])
    return tuple(found)


def _arenas(recipe: RecipeFile) -> Callable[[tuple[Path, ...]], dict[str, int]]:
    """Give what measures the memory that TFLite Micro needs, where a goal asks for it; asked before any work."""
    if recipe.goals.max_arena_bytes is None:
        return lambda _: {}
    from slimedge.runtime.microcontroller.arena import arena_bytes, require

    require()
    return lambda files: {file.name: arena_bytes(file) for file in files if file.suffix == ".tflite"}
