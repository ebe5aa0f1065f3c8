"""What a recipe may hold, as pydantic models; those of the stages are made of the stages themselves."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import MISSING
from functools import cache
from types import GenericAlias
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.json_schema import JsonSchemaValue

from slimedge.benchmarks.latency import SETTINGS
from slimedge.compress.observers import OBSERVERS
from slimedge.export.exporters import EXPORTERS, FLOATS, IO_TYPES
from slimedge.integers import INTEGERS
from slimedge.recipes.kinds import (
    UNITS,
    OneOf,
    Read,
    Shortened,
    amount_of,
    image_size_of,
    refusal,
    scale_of,
    size_of,
    some_of,
)
from slimedge.recipes.settings import settings_of
from slimedge.recipes.stages import STAGES, choices_of

EFFORTS = tuple(SETTINGS)
FORMATS = tuple(EXPORTERS)
PARTS = ("train", "test")
CHECKS = ("strict", "types")
# Settings that name an observer, in any stage.
OBSERVED = ("observer", "observers")

_TEXT: JsonSchemaValue = {"type": "string"}
_TEXTS: JsonSchemaValue = {"type": "array", "items": _TEXT}
_COUNT: JsonSchemaValue = {"type": "integer", "minimum": 0}
_SHARE: JsonSchemaValue = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
_ALL: JsonSchemaValue = {"const": "all"}
_SCALE: JsonSchemaValue = {"type": "number", "exclusiveMinimum": 0}
_BYTES: JsonSchemaValue = {"type": "integer", "minimum": 1}
_BYTES_TEXT: JsonSchemaValue = {
    "type": "string",
    "pattern": rf"^[0-9]+(\.[0-9]+)? ?({'|'.join(UNITS)})$",
    "examples": ["40 kB", "1.5 MiB"],
}
_SIDES: JsonSchemaValue = {"type": "array", "items": _BYTES, "minItems": 2, "maxItems": 2}
_SIZE_TEXT: JsonSchemaValue = {"type": "string", "pattern": "^[0-9]+x[0-9]+$", "examples": ["224x224"]}

_FORMAT: JsonSchemaValue = {"enum": list(FORMATS)}
_FORMATS: JsonSchemaValue = {"type": "array", "items": _FORMAT, "minItems": 1}

Amount = Annotated[float | int, Read(amount_of, (_COUNT, _SHARE, _ALL))]
Some = Annotated[float | int, Read(some_of, ({**_COUNT, "minimum": 1}, _SHARE, _ALL))]
Size = Annotated[int, Read(size_of, (_BYTES, _BYTES_TEXT))]


def hyphened(name: str) -> str:
    """Give the key that stands for a field."""
    return name.replace("_", "-")


def in_list(given: Any) -> Any:
    """Give a list of one where text was given."""
    return [given] if isinstance(given, str) else given


Names = Annotated[list[str], Shortened(in_list, (_TEXT,))]


class Section(BaseModel):
    """A mapping of a recipe: keys are the names of the fields with hyphens or underscores, and there are no others."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        alias_generator=hyphened,
        validate_by_name=True,
        validate_by_alias=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )


class DataSection(Section):
    """Examples: where they are, how they are read, and how many are for what."""

    source: str = Field(
        description="An .npz or .csv file, a folder of IDX files or of images, or module:function; a path is relative "
        "to the recipe."
    )
    labels: str | None = Field(None, description="Name of the array or column that holds the labels.")
    scale: Annotated[str | float, Read(scale_of, (_TEXT, _SCALE))] | None = Field(
        None,
        description="What the values are multiplied with, as 1/255, or image=1/255 for one of several inputs.",
    )
    part: Annotated[str, OneOf(PARTS)] | None = Field(
        None, description="Take one part of data that has both."
    )
    image_size: Annotated[tuple[int, int], Read(image_size_of, (_SIZE_TEXT, _SIDES))] | None = Field(
        None, description="Height and width, for a model that takes images of any size."
    )
    limit: int | None = Field(None, ge=1, description="Take at most so many examples of a tf.data.Dataset.")
    calibration: Some | None = Field(
        None,
        description="Examples to find ranges and the worth of channels on: a count, a share, or all; by default 512.",
    )
    evaluation: Some | None = Field(
        None, description="Examples to judge on; by default the test part, or a fifth where there is none."
    )
    training: Amount | None = Field(None, description="Examples to train on; by default all the rest.")
    checks: Annotated[str, OneOf(CHECKS)] = Field(
        "strict", description="types takes data whose values look wrong for the model, as meant so."
    )


class ExportsSection(Section):
    """Files to write."""

    to: Annotated[
        list[Annotated[str, OneOf(FORMATS)]], Shortened(in_list, (_FORMAT,)), Field(min_length=1)
    ] = Field(list(FORMATS), description="Formats.")
    io: Annotated[str, OneOf(tuple(IO_TYPES))] = Field(
        "float32", description="Type of inputs and outputs; int8 and int16 need integers inside."
    )
    batch: int = Field(1, ge=1, description="Fixed batch of the TFLite file; ONNX takes any.")
    integers: Annotated[str, OneOf(INTEGERS)] | None = Field(
        None,
        description="Types of the ONNX file's activations and kernels; by default those that suit this CPU.",
    )
    dense: bool = Field(
        default=False,
        description="Store zeros of pruned kernels in the TFLite file like other weights, for runtimes without "
        "DENSIFY.",
    )
    compute: Annotated[str, OneOf(FLOATS)] = Field(
        "float32",
        description="What the ONNX file of a float model computes in; float16 is for GPUs.",
    )


class GoalsSection(Section):
    """What the result must reach; a goal that is missed is an error."""

    max_accuracy_drop: float | None = Field(
        None, ge=0, le=100, description="Percentage points of accuracy that may be lost."
    )
    min_speedup: float | None = Field(None, gt=0, description="Times that a file must be faster than float.")
    max_bytes: Size | None = Field(None, description="Bytes that a file may take, as 40000 or 40 kB.")
    max_arena_bytes: Size | None = Field(
        None, description="Bytes of memory (tensor arena) that TFLite Micro may need for the TFLite file."
    )


@cache
def stage_section(name: str) -> type[Section]:
    """Give the model of a stage's settings, made of its fields and docstrings."""
    choices = choices_of(name)
    members: dict[str, Any] = {}
    stage = STAGES[name]
    for setting in settings_of(stage):
        kind = _chosen(setting.name, setting.kind, choices.get(setting.name))
        default = setting.default
        keep = {} if default is MISSING else {"default": default}
        members[setting.name] = (kind, Field(**keep, description=setting.description))
    made: type[Section] = create_model(stage.__name__, __base__=Section, **members)
    made.__doc__ = f"Settings of the stage {name}."
    return made


def _chosen(name: str, kind: Any, names: tuple[str, ...] | None) -> Any:
    """Give the kind of a setting, narrowed to the names that it can have."""
    if name in OBSERVED:
        observer = Annotated[str, OneOf(tuple(OBSERVERS), with_setting=True)]
        return GenericAlias(dict, (str, observer)) if typing.get_origin(kind) is dict else observer
    if kind == list[str]:
        if names is None:
            return Names
        inner = GenericAlias(list, (Annotated[str, OneOf(names)],))
        return Annotated[inner, Shortened(in_list, ({"enum": list(names)},))]
    return kind if names is None else Annotated[kind, OneOf(names)]


@cache
def stage_item() -> type[Section]:
    """Give the model of a stage in the list: one key, its name, with its settings."""
    members: dict[str, Any] = {
        name.replace("-", "_"): (stage_section(name) | None, Field(default=None)) for name in STAGES
    }
    made: type[Section] = create_model("Stage", __base__=Section, **members)
    made.model_config["json_schema_extra"] = {"minProperties": 1, "maxProperties": 1}
    made.__doc__ = "A stage by its name, with its settings."
    return made


def _named(given: Any) -> Any:
    """Give a stage with its settings as a mapping with one key, its name."""
    if isinstance(given, str):
        return {given: {}}
    if isinstance(given, Mapping) and len(given) != 1:
        names = ", ".join(given) or "none"
        raise refusal(
            f"a stage has one name, and here are {names}; write '- prune: {{sparsity: 0.5}}', or the settings indented "
            "under the name."
        )
    if isinstance(given, Mapping):
        return {name: {} if settings is None else settings for name, settings in given.items()}
    return given


def _source(given: Any) -> Any:
    return {"source": given} if isinstance(given, str) else given


def _formats(given: Any) -> Any:
    return {"to": given} if isinstance(given, str | list) else given


class RecipeSection(Section):
    """A recipe of slimedge: a model, data, stages of compression, exports, targets and goals."""

    model: str | None = Field(None, description="A trained .keras file; a path is relative to the recipe.")
    data: Annotated[DataSection, Shortened(_source, (_TEXT,))] | None = Field(
        None, description="Examples, or only where they are."
    )
    stages: list[Any] = Field(min_length=1, description="What is done, in this order.")
    exports: Annotated[ExportsSection, Shortened(_formats, (_FORMAT, _FORMATS))] | None = Field(
        None, description="Files to write, or only their formats; by default both."
    )
    targets: Names | None = Field(
        None,
        description="Where files are measured, as litert, ort or ort:cpu; by default the usual one of each format.",
    )
    effort: Annotated[str, OneOf(EFFORTS)] = Field("default", description="How long latency is measured.")
    threads: int = Field(1, ge=1, description="Of every runtime.")
    goals: GoalsSection | None = Field(None, description="What the result must reach.")
    seed: int = Field(
        0, ge=0, lt=2**32, description="Of the split of the data, and of every stage that names no other."
    )


@cache
def recipe_model() -> type[RecipeSection]:
    """Give the model of a whole recipe, with the stages that there are."""
    item = stage_item()
    stage: Any = Annotated[item, Shortened(_named, ({"enum": list(STAGES)},))]
    stages: Any = GenericAlias(list, (stage,))
    kept = RecipeSection.model_fields["stages"]
    members: dict[str, Any] = {"stages": (stages, Field(min_length=1, description=kept.description))}
    made: type[RecipeSection] = create_model("Recipe", __base__=RecipeSection, **members)
    made.__doc__ = RecipeSection.__doc__
    return made
