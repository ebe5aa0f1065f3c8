"""The stages that a recipe can name: a new one is a line in `STAGES`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

from slimedge.errors import InputError
from slimedge.recipes.settings import as_json
from slimedge.registry import Registry
from slimedge.stage import Stage

# Frozen dataclasses with a method `check()`, which raises InputError for settings that cannot be used, and which takes
# no library that is slow to import.
STAGES = Registry(
    "stage",
    {
        "student": "slimedge.compress.students:Student",
        "prune-channels": "slimedge.compress.channel_pruning:PruneChannels",
        "factorize": "slimedge.compress.factorization:Factorize",
        "distill": "slimedge.compress.distillation:Distill",
        "prune": "slimedge.compress.pruning:Prune",
        "cluster": "slimedge.compress.clustering:Cluster",
        "quantize": "slimedge.compress.quantization:Quantize",
        "train": "slimedge.compress.training:Train",
        "quantize-for": "slimedge.benchmarks.quantizing_stage:QuantizeFor",
    },
)

# Where the names stand that a setting can have, behind a dot the key of a mapping that holds them. A setting that is
# not here is left to the `check` of its stage.
CHOICES: Mapping[str, Mapping[str, str]] = {
    "student": {"weights": "slimedge.compress.students:WEIGHTS"},
    "distill": {
        "schedule": "slimedge.compress.fitting.schedule:SCHEDULES",
        "optimizer": "slimedge.compress.fitting.optimizers:OPTIMIZERS",
        "precision": "slimedge.compress.fitting.settings:PRECISIONS",
        "strategy": "slimedge.compress.fitting.strategies:STRATEGIES",
    },
    "prune-channels": {
        "criterion": "slimedge.compress.channels.criteria:CRITERIA",
        "ranking": "slimedge.compress.channels.choosing:RANKINGS",
    },
    "factorize": {"ways": "slimedge.compress.low_rank.ways:WAYS"},
    "prune": {
        "ranking": "slimedge.compress.sparsity.ranking:RANKINGS",
        "engine": "slimedge.compress.pruning:ENGINES",
    },
    "cluster": {
        "init": "slimedge.compress.clusters:INITIALIZATIONS",
        "granularity": "slimedge.compress.clustering:GRANULARITIES",
    },
    "quantize": {
        "scheme": "slimedge.compress.quantization:SCHEMES",
        "methods": "slimedge.compress.methods:METHODS",
        "granularity": "slimedge.compress.quantization:GRANULARITIES",
    },
    "train": {
        "ranges": "slimedge.compress.qat.settings:CHOICES.ranges",
        "gradients": "slimedge.compress.qat.settings:CHOICES.gradients",
        "batchnorm": "slimedge.compress.qat.settings:CHOICES.batchnorm",
        "engine": "slimedge.compress.training:ENGINES",
        "schedule": "slimedge.compress.fitting.schedule:SCHEDULES",
        "optimizer": "slimedge.compress.fitting.optimizers:OPTIMIZERS",
    },
}


@dataclass(frozen=True, slots=True)
class NamedStage:
    """A stage of a recipe.

    Attributes:
        name: in `STAGES`.
        stage: ready to be called with a model and data.
        settings: every field of it by its name in Python, as JSON values.
    """

    name: str
    stage: Stage
    settings: Mapping[str, Any]


def choices_of(name: str) -> dict[str, tuple[str, ...]]:
    """Give the names that settings of a stage can have, by setting."""
    found = {}
    for setting, place in CHOICES.get(name, {}).items():
        module, _, attribute = place.partition(":")
        attribute, _, key = attribute.partition(".")
        names = getattr(import_module(module), attribute)
        found[setting] = tuple(names[key] if key else names)
    return found


def made(name: str, settings: Mapping[str, Any]) -> NamedStage:
    """Make a stage, and check what it is told.

    Args:
        name: in `STAGES`.
        settings: by field; what is not there has its default.

    Raises:
        InputError: one of them cannot be used.
    """
    stage: Any = STAGES[name](**settings)
    stage.check()
    return NamedStage(name, stage, {each.name: as_json(getattr(stage, each.name)) for each in fields(stage)})


def culprits(name: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """Find the settings that cannot be used, each with the sentence that refuses it.

    A check tells the first thing that is wrong. What it is wrong with is the setting without which it says something
    else; that one is then left out, and the rest is looked at again.

    Args:
        name: in `STAGES`.
        settings: by field.

    Returns:
        Sentences by field; by the empty name what none of the settings alone is to blame for.

    Example:
        >>> list(culprits("prune", {"sparsity": 1.5, "engine": "keras", "epochs": -1}))
        ['sparsity', 'epochs']
    """
    left = dict(settings)
    found: dict[str, str] = {}
    while (sentence := _refusal(name, left)) is not None:
        blamed = [key for key in left if _refusal(name, _without(left, key)) != sentence]
        if not blamed:
            # Where something was left out before, that may be all that is missing now.
            return found or {"": sentence}
        found[blamed[-1]] = sentence
        left = _without(left, blamed[-1])
    return found


def _without(settings: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != key}


def _refusal(name: str, settings: Mapping[str, Any]) -> str | None:
    try:
        made(name, settings)
    except InputError as error:
        return str(error)
    return None
