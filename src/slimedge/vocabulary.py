"""How many ids an input may hold: as many as the tables have rows that they are looked up in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimedge.graph import Layer, Node, Value
from slimedge.graph_reading import from_model
from slimedge.keras_file import input_specs

if TYPE_CHECKING:
    import keras

# Layers and operations that hand integers on as they are.
_PASSING = frozenset({"Cast", "ExpandDims", "Flatten", "GetItem", "Identity", "Reshape", "Squeeze"})


def vocabularies(model: keras.Model) -> dict[str, int]:
    """Map each integer input that is looked up to the number of ids that every table on its way knows.

    Args:
        model: built; tables in nested models and inside of other layers are found as well.

    Example:
        >>> import keras
        >>> ids = keras.Input((3,), dtype="int32", name="ids")
        >>> vocabularies(keras.Model(ids, keras.layers.Embedding(9, 2)(ids)))
        {'ids': 9}
    """
    if not any("int" in spec.dtype for spec in input_specs(model)):
        return {}
    graph = from_model(model)
    consumers = graph.consumers()
    found = {
        name: _smallest(value, consumers) for value, name in zip(graph.inputs, graph.input_names, strict=True)
    }
    return {name: rows for name, rows in found.items() if rows is not None}


def _smallest(value: Value, consumers: dict[Value, list[Node]]) -> int | None:
    found: list[int | None] = []
    for node in consumers.get(value, []):
        if node.layer.kind in _PASSING:
            found += [_smallest(passed, consumers) for passed in node.outputs]
        else:
            found.append(_rows(node.layer))
    return min((rows for rows in found if rows is not None), default=None)


def _rows(layer: Layer) -> int | None:
    return min((len(array) for name, array in layer.weights if name == "embeddings"), default=None)
