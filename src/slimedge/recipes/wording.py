"""The settings of a stage in words, for the report: those that are not its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from slimedge.recipes.settings import as_json, default_of

if TYPE_CHECKING:
    from slimedge.recipes.stages import NamedStage


def in_words(named: NamedStage) -> str:
    """Give the settings of a stage that are not its defaults.

    Example:
        >>> from slimedge.recipes.stages import made
        >>> in_words(made("prune", {"sparsity": 0.8, "exclude": ("first", "dense_*"), "epochs": 2}))
        'sparsity 0.8, exclude first and dense_*'
        >>> in_words(made("quantize", {"bits": {"conv_*": 4}, "observers": {}}))
        'bits conv_*=4'
    """
    stage: Any = named.stage
    usual = {each.name: as_json(default_of(each)) for each in fields(stage)}
    return ", ".join(
        f"{name.replace('_', '-')} {_text(value)}"
        for name, value in named.settings.items()
        if value != usual[name] and value is not None
    )


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return " and ".join(f"{key}={_text(each)}" for key, each in value.items()) or "none"
    if isinstance(value, list | tuple):
        return " and ".join(_text(each) for each in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
