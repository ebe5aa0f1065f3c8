"""A subclassed model as a functional one: its `call`, followed once with symbolic tensors, is the graph."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from slimedge.depth import any_depth
from slimedge.errors import InputError
from slimedge.lineage import lineage_of, with_lineage

if TYPE_CHECKING:
    import keras

# Layers that look their input up in a table, so that it holds whole numbers whatever its type.
_LOOK_UPS = ("Embedding",)
# Arguments of a call that are no inputs.
_NO_INPUTS = ("training", "mask")


def is_symbolic(model: keras.Model) -> bool:
    """Tell whether a model has symbolic inputs and outputs."""
    return bool(getattr(model, "inputs", None) and getattr(model, "outputs", None))


def unfolded(model: keras.Model, *, origin: str | None = None) -> keras.Model:
    """Give a functional model that computes what a subclassed one computes, with the same layers and weights.

    Its inputs are named after the arguments of `call` (or the keys of the dict that it takes), its outputs after the
    layers that make them. Keras records shapes and no types: an input that only an Embedding takes is int32, any
    other one has the model's own type.

    Args:
        model: built by a first call on data; a model that is functional already is given back as it is.
        origin: where it comes from, for messages.

    Raises:
        InputError: the model was never called, or its `call` does something that cannot be followed.

    Example:
        >>> import keras
        >>> class Doubling(keras.Model):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.dense = keras.layers.Dense(2, name="end")
        ...     def call(self, row):
        ...         return self.dense(row) * 2
        >>> model = Doubling()
        >>> _ = model(keras.ops.zeros((1, 4)))
        >>> [operation.name for operation in unfolded(model).operations]
        ['row', 'end', 'multiply']
    """
    if is_symbolic(model):
        return model
    given = origin or f"model '{model.name}'"
    shapes = getattr(model, "_build_shapes_dict", None)
    if not model.built or not shapes:
        raise InputError(
            f"{given} is a subclass of keras.Model ({type(model).__name__}) that was never called, so its input shapes "
            "are not known; call it once on an example batch first."
        )
    dtype = str(model.input_dtype)
    made = _followed(model, shapes, {}, dtype, given)
    whole = {tensor.name: "int32" for tensor in made.inputs if _is_looked_up(tensor)}
    if whole and "int" not in dtype:
        made = _followed(model, shapes, whole, dtype, given)
    return with_lineage(made, lineage_of(model))


def _followed(
    model: keras.Model, shapes: Mapping[str, Any], dtypes: Mapping[str, str], dtype: str, given: str
) -> keras.Model:
    parameters = inspect.signature(model.call).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.name not in _NO_INPUTS]
    if len(shapes) == 1:
        needed = [each for each in parameters if each.default is each.empty and each.name in names]
        if sum(each.kind is each.POSITIONAL_OR_KEYWORD for each in needed) > 1:
            raise InputError(
                f"{given} ({type(model).__name__}) takes {', '.join(names)}, and Keras records the shape of "
                f"'{names[0]}' only; give the class a build with an argument NAME_shape for each, or wrap the model in "
                "keras.Model(inputs, outputs)."
            )
        by_argument = {names[0]: next(iter(shapes.values()))}
    else:
        recorded = {name.removesuffix("_shape"): shape for name, shape in shapes.items()}
        by_argument = {name: recorded[name] for name in names if name in recorded}
    inputs = {name: _symbolic(shape, name, dtypes, dtype) for name, shape in by_argument.items()}
    structure = next(iter(inputs.values())) if len(inputs) == 1 else list(inputs.values())
    return followed(model, structure, (), inputs, given)


def followed(
    model: keras.Model, inputs: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], given: str
) -> keras.Model:
    """Give the functional model of one call of a subclassed one.

    Args:
        model: the subclassed one.
        inputs: what the new model takes: symbolic tensors, in a structure.
        args: of the call, with those tensors in them.
        kwargs: likewise.
        given: what the model is, for messages.

    Raises:
        InputError: the call does something that cannot be followed.
    """
    import keras

    fixed = {"training": False} if "training" in inspect.signature(model.call).parameters else {}
    try:
        with any_depth():
            outputs = model.call(*args, **{**kwargs, **fixed})
            return keras.Model(inputs, outputs, name=model.name)
    except Exception as error:
        reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise InputError(
            f"the call of {given} ({type(model).__name__}) cannot be followed with symbolic tensors ({reason}); write "
            "it with keras.layers and keras.ops only, or wrap the model in keras.Model(inputs, outputs)."
        ) from error


def _symbolic(shape: Any, name: str, dtypes: Mapping[str, str], dtype: str) -> Any:
    """Inputs for a structure of shapes: a shape, or a list or dict of them."""
    import keras

    if isinstance(shape, Mapping):
        return {key: _symbolic(inner, str(key), dtypes, dtype) for key, inner in shape.items()}
    if all(size is None or isinstance(size, int) for size in shape):
        return keras.Input(batch_shape=(None, *shape[1:]), dtype=dtypes.get(name, dtype), name=name)
    return [_symbolic(inner, f"{name}_{index}", dtypes, dtype) for index, inner in enumerate(shape)]


def _is_looked_up(tensor: Any) -> bool:
    takers = [node.operation for node in tensor._keras_history.operation._outbound_nodes]  # noqa: SLF001 - Keras has no public way forward
    return bool(takers) and all(type(taker).__name__ in _LOOK_UPS for taker in takers)
