"""The steps that led to a Keras model, kept beside the model object; saving writes them into the file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
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
