"""The steps that led to a model: kept beside a Keras model object, and written into files as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from slimedge.artifact import Step

if TYPE_CHECKING:
    import keras

# Not an attribute of the model: Keras tracks, saves and locks those.
_LINEAGES: WeakKeyDictionary[keras.Model, tuple[Step, ...]] = WeakKeyDictionary()


def lineage_of(model: keras.Model) -> tuple[Step, ...]:
    """Give the steps that led to a model, oldest first; empty where none are known."""
    return _LINEAGES.get(model, ())


def with_lineage(model: keras.Model, lineage: Sequence[Step]) -> keras.Model:
    """Note the steps that led to a model, in place of those noted before.

    Args:
        model: any; it is not changed.
        lineage: the steps, oldest first.

    Returns:
        The same model.
    """
    _LINEAGES[model] = tuple(lineage)
    return model


def quantization_of(lineage: Sequence[Step]) -> Mapping[str, Any] | None:
    """Give the settings of the last quantization among steps, None where there is none.

    Example:
        >>> quantization_of([Step("quantize", {"scheme": "weight_only_wi8_afp32"}), Step("export", {})])
        {'scheme': 'weight_only_wi8_afp32'}
    """
    return next((step.settings for step in reversed(lineage) if step.name == "quantize"), None)


def to_json(lineage: Sequence[Step]) -> list[dict[str, Any]]:
    """Give steps as JSON values.

    Example:
        >>> to_json([Step("prune", {"sparsity": 0.5})])
        [{'name': 'prune', 'settings': {'sparsity': 0.5}}]
    """
    return [{"name": step.name, "settings": dict(step.settings)} for step in lineage]


def from_json(values: Any) -> tuple[Step, ...]:
    """Read steps out of parsed JSON of any kind; what is no step is left out.

    Example:
        >>> from_json([{"name": "prune", "settings": {"sparsity": 0.5}}, 3])
        (Step(name='prune', settings={'sparsity': 0.5}),)
    """
    return tuple(
        Step(value["name"], value["settings"])
        for value in (values if isinstance(values, list) else [])
        if isinstance(value, dict)
        and isinstance(value.get("name"), str)
        and isinstance(value.get("settings"), dict)
    )
