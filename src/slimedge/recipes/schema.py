"""The JSON Schema of recipes, for editors: `python -m slimedge.recipes.schema > docs/recipe.schema.json`."""

from __future__ import annotations

import json
import sys
from typing import Any

from slimedge.recipes.models import recipe_model

DIALECT = "https://json-schema.org/draft/2020-12/schema"
EXAMPLE: dict[str, Any] = {
    "model": "resnet8.keras",
    "data": {"source": "fashion-mnist", "scale": "1/255", "calibration": 1000},
    "stages": [{"prune-channels": {"macs": 0.45, "epochs": 2}}, {"train": {"epochs": 2, "loss": "labels"}}],
    "exports": ["onnx", "tflite"],
    "goals": {"max-accuracy-drop": 1.0, "min-speedup": 2, "max-bytes": "60 kB"},
}


def schema() -> dict[str, Any]:
    """Give the JSON Schema (Draft 2020-12) of a recipe.

    What it describes can still be refused when a recipe is read: the order of stages, numbers out of range, files that
    are not there.
    """
    described = recipe_model().model_json_schema(by_alias=True)
    for each in (described, *described["$defs"].values()):
        for key in each["properties"].values():
            key.pop("title", None)  # which only repeats its name
    return {"$schema": DIALECT, **described, "title": "A recipe of slimedge", "examples": [EXAMPLE]}


def as_text() -> str:
    """Give the schema as it is published."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_text())
