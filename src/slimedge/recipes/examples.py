"""The examples of a recipe: opened, fitted to its model, and parted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from slimedge.errors import InputError

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data
    from slimedge.recipes.contents import DataSettings, RecipeFile
    from slimedge.splitting import Splits

QUANTIZE = "quantize"


def opened_data(settings: DataSettings) -> Data:
    """Open the data of a recipe."""
    from slimedge.data import Data

    return Data.load(
        settings.source,
        labels=settings.labels,
        scale=settings.scale,
        part=settings.part,
        image_size=settings.image_size,
        limit=settings.limit,
    )


def parted(recipe: RecipeFile, model: keras.Model) -> Splits:
    """Bind the data of a recipe to its model, and part it.

    Raises:
        InputError: it does not fit, there are fewer examples than are asked for, or none for something that needs some.
    """
    from slimedge.keras_file import input_specs, output_specs
    from slimedge.preprocessing import starts_with_preprocessing

    settings = recipe.data
    bound = opened_data(settings).bind(
        input_specs(model),
        preprocessing=starts_with_preprocessing(model),
        checks=settings.checks,  # type: ignore[arg-type]
        outputs=output_specs(model),
    )
    parts = bound.split(
        seed=recipe.seed,
        calibration=settings.calibration,
        evaluation=settings.evaluation,
        training=settings.training,
    )
    for name in _needed(recipe):
        if not len(getattr(parts, name)):
            raise InputError(
                f"the data of the recipe leaves no example for {name}; give more, or ask for fewer for the other parts."
            )
    return parts


def examples_for(name: str, parts: Splits) -> Data:
    """Give the examples that a stage works on: those of the calibration where it only looks at values.

    Args:
        name: of the stage.
        parts: of the data.
    """
    return parts.calibration if name == QUANTIZE or not len(parts.training) else parts.training


def _needed(recipe: RecipeFile) -> Iterator[str]:
    """Give the parts that must not be empty; a stage that trains nothing can do with the calibration's examples."""
    yield "evaluation"
    names = {stage.name for stage in recipe.stages}
    if any(stage.settings.get("epochs") for stage in recipe.stages):
        yield "training"
    if QUANTIZE in names or recipe.data.training == 0:
        yield "calibration"
