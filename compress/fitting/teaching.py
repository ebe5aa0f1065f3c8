"""The float model as a teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from slimedge.keras_file import input_structure

if TYPE_CHECKING:
    import keras

Teach = Callable[[list[Any]], list[Any]]


def teaching(teacher: keras.Model | None) -> Teach:
    """Give a compiled function from a list of inputs to the float model's outputs; where there is none, to nothing."""
    import keras
    import tensorflow as tf

    if teacher is None:
        return lambda feeds: []  # noqa: ARG005 - nothing asks it
    structure = input_structure(teacher)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator, unused-ignore]
    def teach(feeds: list[Any]) -> Any:
        given = keras.tree.pack_sequence_as(structure, feeds)
        return keras.tree.flatten(teacher(given, training=False))

    return teach  # type: ignore[no-any-return, unused-ignore]
