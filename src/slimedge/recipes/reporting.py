"""The report of a run: the story stage by stage, and the files that the user takes away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from slimedge.files import atomic_path
from slimedge.recipes.goals import outcomes
from slimedge.recipes.running import Made

if TYPE_CHECKING:
    from slimedge.benchmarks.comparing import Detailed
    from slimedge.benchmarks.reporting.report import Report
    from slimedge.recipes.recipe import RecipeFile
    from slimedge.recipes.run_folder import RunFolder


def report_of(
    recipe: RecipeFile,
    made: Sequence[Made],
    detailed: Detailed,
    arenas: dict[str, int],
) -> Report:
    """Put a report together.

    Args:
        recipe: that was run.
        made: the original and the model after each stage.
        detailed: what was measured of their files.
        arenas: bytes that TFLite Micro needs for a final file, by its name.
    """
    from slimedge.benchmarks.reporting.report import Chapter, Report
    from slimedge.benchmarks.size import file_bytes
    from slimedge.benchmarks.weighing import files_of

    final = made[-1].files.values()
    lineage = {
        artifact.path.name: artifact.lineage
        for one in made
        for artifact in one.files.values()
        if artifact.lineage
    }
    compared = {variant.name for each in detailed.comparisons for variant in each.variants}
    chapters = tuple(
        Chapter(
            title=one.title,
            settings=one.settings,
            variants=tuple(name for each in one.files.values() if (name := each.path.name) in compared),
            seconds=one.seconds,
            reused=one.reused,
        )
        for one in made[1:]
    )
    return Report(
        title=f"{recipe.model.stem} by {recipe.name}, stage by stage",
        comparisons=detailed.comparisons,
        goals=outcomes(
            recipe.goals,
            detailed.comparisons,
            file_bytes={artifact.path.name: file_bytes(files_of(artifact)) for artifact in final},
            arena_bytes=arenas,
        ),
        lineage=lineage,
        details=detailed.details,
        stages=chapters,
    )


def write(report: Report, folder: RunFolder) -> None:
    """Write a report as a page, as JSON and as Markdown."""
    from slimedge.benchmarks.reporting import html, markdown
    from slimedge.benchmarks.reporting import json as json_report

    renderers: dict[str, Callable[[Report], str]] = {
        "report.json": json_report.render,
        "report.md": markdown.render,
        "report.html": html.render,
    }
    for name, render in renderers.items():
        with atomic_path(folder.path / name) as temporary:
            temporary.write_text(render(report), encoding="utf-8")
