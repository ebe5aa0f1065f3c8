"""A Keras model, of any make, read into a `slimedge.graph.Graph`; the model is never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from slimedge.errors import InputError
from slimedge.graph import Graph, Layer, Node, Value, fresh, mapper, values_in
from slimedge.graph_making import cannot_copy
from slimedge.keras_file import input_specs, input_structure, output_specs, output_structure, settle
from slimedge.unfolding import followed, is_symbolic, unfolded

if TYPE_CHECKING:
    import keras


@dataclass(slots=True)
class _Reader:
    """Collects nodes while it walks a model; one `Layer` per Keras operation keeps sharing."""

    layers: dict[int, Layer] = field(default_factory=dict)
    operations: dict[str, Any] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def layer_of(self, operation: Any, prefix: str) -> Layer:
        if id(operation) not in self.layers:
            if hasattr(operation, "save_assets"):
                raise InputError(
                    f"layer '{operation.name}' ({type(operation).__name__}) keeps a vocabulary that neither ONNX nor "
                    "TFLite can hold; leave it out of the model, and give the model the numbers it makes."
                )
            config = _config_of(operation)
            name = config.get("name", operation.name)
            taken = {layer.name for layer in self.layers.values()}
            config["name"] = fresh(f"{prefix}_{name}" if name in taken and prefix else name, taken)
            weights = tuple(
                (variable.name, np.asarray(variable)) for variable in getattr(operation, "weights", [])
            )
            self.layers[id(operation)] = Layer(type(operation), config, weights)
            self.operations[config["name"]] = operation
        return self.layers[id(operation)]

    def read(self, inputs: list[Any], outputs: list[Any], given: list[Value], prefix: str) -> list[Value]:
        import keras

        values: dict[int, Value] = {id(tensor): value for tensor, value in zip(inputs, given, strict=True)}

        def to_value(leaf: Any) -> Any:
            return values[id(leaf)] if isinstance(leaf, keras.KerasTensor) else leaf

        for keras_node in _sorted_nodes(inputs, outputs):
            operation = keras_node.operation
            args = keras.tree.map_structure(to_value, tuple(keras_node.arguments.args))
            kwargs = keras.tree.map_structure(to_value, dict(keras_node.arguments.kwargs))
            opened, fed = _opened(operation, args, kwargs)
            if fed is not None:
                inner = self.read(list(opened.inputs), list(opened.outputs), fed, prefix=operation.name)
            else:
                layer = self.layer_of(operation, prefix)
                made = tuple(Value(tuple(t.shape), str(t.dtype)) for t in keras_node.outputs)
                name = fresh(layer.name, self.names)
                self.names.add(name)
                self.nodes.append(Node(name, layer.name, layer, args, kwargs, made))
                inner = list(made)
            values.update((id(t), value) for t, value in zip(keras_node.outputs, inner, strict=True))
        return [values[id(tensor)] for tensor in outputs]


def from_model(model: keras.Model) -> Graph:
    """Read a model; nested models are flattened, and a subclassed one is followed through its call.

    Args:
        model: functional, Sequential, or a subclass that was called once; it stays as it is, weights are copied.

    Returns:
        Its calls as data. A layer of a nested model keeps its name unless another has it.

    Raises:
        InputError: the model is not built, or its call cannot be followed; or a layer has no config.
    """
    return _read(model)[0]


def operations_of(model: keras.Model) -> dict[str, Any]:
    """Give the layers and operations of a model by the names that `from_model` gives to what it makes of them.

    Raises:
        InputError: as of `from_model`.
    """
    return _read(model)[1].operations


def _read(model: keras.Model) -> tuple[Graph, _Reader]:
    import keras

    if isinstance(model, keras.Model) and not isinstance(model, keras.Sequential):
        model = unfolded(model)
    if not _is_functional(model):
        raise InputError(
            f"model '{model.name}' ({type(model).__name__}) has no functional graph to rewrite; build it from "
            "keras.Input (functional or Sequential with an Input), or wrap its call in keras.Model(inputs, outputs)."
        )
    settle(model)
    given = [Value(tuple(tensor.shape), str(tensor.dtype)) for tensor in model.inputs]
    reader = _Reader()
    outputs = reader.read(list(model.inputs), list(model.outputs), given, prefix="")
    by_tensor = {id(t): v for t, v in zip(model.inputs, given, strict=True)}
    by_tensor.update((id(t), v) for t, v in zip(model.outputs, outputs, strict=True))

    def structure(of: Any) -> Any:
        return keras.tree.map_structure(lambda tensor: by_tensor[id(tensor)], of)

    graph = Graph(
        name=model.name,
        inputs=tuple(given),
        input_names=tuple(spec.name for spec in input_specs(model)),
        outputs=tuple(outputs),
        output_names=tuple(spec.name for spec in output_specs(model)),
        nodes=tuple(reader.nodes),
        input_structure=structure(input_structure(model)),
        output_structure=structure(output_structure(model)),
    )
    return graph, reader


def _config_of(operation: Any) -> dict[str, Any]:
    try:
        return dict(operation.get_config())
    except NotImplementedError as error:
        raise cannot_copy(operation.name, type(operation).__name__, error) from error


def _is_functional(operation: Any) -> bool:
    """Whether an operation is a model whose whole computation is its graph of layers."""
    from keras import Model, Sequential

    if not isinstance(operation, Model):
        return False
    caller = next(ancestor for ancestor in type(operation).__mro__ if "call" in vars(ancestor))
    if not caller.__module__.startswith("keras."):
        return False
    if isinstance(operation, Sequential):
        return bool(operation.built and operation.inputs)
    return hasattr(operation, "_nodes_by_depth")


def _opened(
    operation: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Any, list[Value] | None]:
    """Give a nested model as one with a graph, and what each of its inputs gets; None where it stays one layer."""
    import keras

    if _is_functional(operation):
        return operation, _fed(operation, args, kwargs)
    if not isinstance(operation, keras.Model) or is_symbolic(operation) or kwargs.get("mask") is not None:
        return operation, None
    fed = list(dict.fromkeys(values_in((args, dict(kwargs)))))
    inputs = {value: keras.Input(batch_shape=value.shape, dtype=value.dtype) for value in fed}
    fill = mapper(lambda value: inputs[value])
    try:
        whole = followed(
            operation, list(inputs.values()), fill(args), fill(dict(kwargs)), f"model '{operation.name}'"
        )
    except InputError:
        return operation, None
    return whole, fed


def _fed(model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Value] | None:
    """Give what each input of a nested model gets, as Keras finds it; None where Keras would change it on the way."""
    import keras

    given = args[0] if args else kwargs.get("inputs")
    wanted = input_structure(model)
    if kwargs.get("mask") is not None or len(args) > 1:
        return None
    if isinstance(given, dict) and not isinstance(wanted, dict):
        names = [tensor.name for tensor in model.inputs]
        if not set(names) <= set(given):
            return None
        given = [given[name] for name in names]
    fed = keras.tree.flatten(given)
    fits = len(fed) == len(model.inputs) and all(
        isinstance(value, Value) and len(value.shape) == len(tensor.shape) and value.dtype == tensor.dtype
        for value, tensor in zip(fed, model.inputs, strict=False)
    )
    return fed if fits else None


def _sorted_nodes(inputs: list[Any], outputs: list[Any]) -> list[Any]:
    """Sort Keras nodes topologically without recursion, so that depth is no limit."""
    stop = {id(tensor) for tensor in inputs}
    done: dict[int, Any] = {}
    stack: list[tuple[Any, bool]] = [(tensor, False) for tensor in reversed(outputs)]
    while stack:
        item, ready = stack.pop()
        if ready:
            done.setdefault(id(item), item)
            continue
        if id(item) in stop:
            continue
        operation, index, _ = item._keras_history
        node = operation._inbound_nodes[index]
        if id(node) in done:
            continue
        stack.append((node, True))
        stack.extend((tensor, False) for tensor in reversed(node.input_tensors))
    return list(done.values())
