"""A functional Keras model as plain data: layers with their weights, calls, and the values between them.

Rewrites (folding, splitting, quantizing, pruning) are functions from `Graph` to `Graph`; only
`to_model` makes Keras objects again. The user's model is read, never changed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.depth import any_depth
from slimedge.errors import InputError
from slimedge.keras_file import input_specs, input_structure, output_specs, output_structure, settle
from slimedge.unfolding import followed, is_symbolic, unfolded

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor that flows between calls; two values are the same only if they are one object.

    Attributes:
        shape: sizes, None where any size goes (the batch).
        dtype: Keras name of the element type.
    """

    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A Keras layer or operation taken apart: enough to make it again.

    One `Layer` object in several nodes is one shared layer.

    Attributes:
        type: its class.
        config: what `from_config` takes.
        weights: in the order of `layer.weights`, each with its variable's name.
    """

    type: type
    config: Mapping[str, Any]
    weights: tuple[tuple[str, NDArray[Any]], ...] = ()

    @property
    def kind(self) -> str:
        """The class name (`Conv2D`); that of a class which is not Keras' own has its module before it."""
        name, module = self.type.__name__, self.type.__module__
        return name if module.partition(".")[0] in {"keras", "slimedge"} else f"{module}.{name}"

    @property
    def name(self) -> str:
        """The Keras name."""
        return str(self.config.get("name", self.kind))

    def weight(self, name: str) -> NDArray[Any] | None:
        """Give the weight of that name, or None."""
        return next((array for weight, array in self.weights if weight == name), None)

    def changed(self, *, weights: Mapping[str, NDArray[Any]] | None = None, **config: Any) -> Layer:
        """Give a copy with other settings, and with all weights replaced where they are given."""
        kept = self.weights if weights is None else tuple(weights.items())
        return Layer(self.type, {**self.config, **config}, kept)


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One call of a layer.

    Attributes:
        name: unique in its graph.
        source: name of the layer of the user's model that it stands for.
        layer: what is called.
        args: positional arguments, with `Value`s at the places of tensors.
        kwargs: named arguments, likewise.
        outputs: the values that it makes.
    """

    name: str
    source: str
    layer: Layer
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[Value, ...]

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The values among the arguments, in order."""
        return tuple(_values_in((self.args, dict(self.kwargs))))

    @property
    def output(self) -> Value:
        """The first (mostly the only) output."""
        return self.outputs[0]


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Calls in an order in which they can be made.

    Attributes:
        name: of the model.
        inputs: with `input_names`, in Keras order.
        outputs: with `output_names`, in Keras order.
        nodes: topologically sorted.
        input_structure: what the model's call takes (a tensor, list or dict) with `Value`s in it.
        output_structure: what it gives, likewise.
    """

    name: str
    inputs: tuple[Value, ...]
    input_names: tuple[str, ...]
    outputs: tuple[Value, ...]
    output_names: tuple[str, ...]
    nodes: tuple[Node, ...]
    input_structure: Any
    output_structure: Any

    def producers(self) -> dict[Value, Node]:
        """Map each value to the node that makes it."""
        return {value: node for node in self.nodes for value in node.outputs}

    def consumers(self) -> dict[Value, list[Node]]:
        """Map each value to the nodes that take it, in order; model outputs are not among them."""
        found: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in dict.fromkeys(node.inputs):
                found.setdefault(value, []).append(node)
        return found

    def calls(self) -> dict[Layer, int]:
        """Count how often each layer is called."""
        counts: dict[Layer, int] = {}
        for node in self.nodes:
            counts[node.layer] = counts.get(node.layer, 0) + 1
        return counts

    def fresh_name(self, wanted: str) -> str:
        """Give `wanted`, or with a number behind it where that is taken."""
        taken = {node.name for node in self.nodes} | {node.layer.name for node in self.nodes}
        return _fresh(wanted, taken | set(self.input_names))

    def with_nodes(self, nodes: Iterable[Node], replaced: Mapping[Value, Value] | None = None) -> Graph:
        """Give the graph with other nodes; `replaced` redirects values wherever they are used."""
        moved = dict(replaced or {})

        def final(value: Value) -> Value:
            while value in moved:
                value = moved[value]
            return value

        redirect = _mapper(final)
        rewired = tuple(
            replace(node, args=redirect(node.args), kwargs=redirect(dict(node.kwargs))) for node in nodes
        )
        return replace(
            self,
            nodes=_without_dead(rewired, tuple(map(final, self.outputs))),
            outputs=tuple(map(final, self.outputs)),
            output_structure=redirect(self.output_structure),
        )


@dataclass(slots=True)
class _Reader:
    """Collects nodes while it walks a model; one `Layer` per Keras operation keeps sharing."""

    layers: dict[int, Layer] = field(default_factory=dict)
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
            config["name"] = _fresh(f"{prefix}_{name}" if name in taken and prefix else name, taken)
            weights = tuple(
                (variable.name, np.asarray(variable)) for variable in getattr(operation, "weights", [])
            )
            self.layers[id(operation)] = Layer(type(operation), config, weights)
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
                name = _fresh(layer.name, self.names)
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

    return Graph(
        name=model.name,
        inputs=tuple(given),
        input_names=tuple(spec.name for spec in input_specs(model)),
        outputs=tuple(outputs),
        output_names=tuple(spec.name for spec in output_specs(model)),
        nodes=tuple(reader.nodes),
        input_structure=structure(input_structure(model)),
        output_structure=structure(output_structure(model)),
    )


def with_values(
    graph: Graph, values: Mapping[Value, Value], layers: Mapping[Layer, Layer] | None = None
) -> Graph:
    """Give a graph with other values in the places of some, inputs and outputs included, and other layers."""

    def final(value: Value) -> Value:
        return values.get(value, value)

    redirect, changed = _mapper(final), layers or {}
    return replace(
        graph,
        inputs=tuple(map(final, graph.inputs)),
        outputs=tuple(map(final, graph.outputs)),
        nodes=tuple(
            replace(
                node,
                layer=changed.get(node.layer, node.layer),
                args=redirect(node.args),
                kwargs=redirect(dict(node.kwargs)),
                outputs=tuple(map(final, node.outputs)),
            )
            for node in graph.nodes
        ),
        input_structure=redirect(graph.input_structure),
        output_structure=redirect(graph.output_structure),
    )


def with_arguments(structure: Any, values: Mapping[Value, Value]) -> Any:
    """Give a structure of arguments with other values in the places of some."""
    return _mapper(lambda value: values.get(value, value))(structure)


def to_model(graph: Graph, *, kept: bool = True) -> keras.Model:
    """Make a new functional Keras model with the same names, structure and weights.

    Args:
        graph: any; the layer that makes a model output takes that output's name.
        kept: whether the model is for the user; one that is only run for a moment does without the layers'
            initializers, which would draw random numbers for weights that are replaced at once.

    Returns:
        A model that shares nothing with the one that the graph was read from.

    Raises:
        InputError: a layer cannot be made again from its config.
    """
    import keras

    tensors: dict[Value, Any] = {}
    for value, name in zip(graph.inputs, graph.input_names, strict=True):
        tensors[value] = keras.Input(batch_shape=value.shape, dtype=value.dtype, name=name)
    renamed = layer_names(graph)
    made: dict[Layer, Any] = {}
    fill = _mapper(lambda value: tensors[value])
    for node in graph.nodes:
        layer = node.layer
        operation = made.get(layer)
        if operation is None:
            plain = layer if kept else layer.changed(**_zero_initializers(layer))
            operation = made[layer] = _made(plain, renamed[layer])
        outputs = operation(*fill(node.args), **fill(dict(node.kwargs)))
        tensors.update(zip(node.outputs, keras.tree.flatten(outputs), strict=True))
    for layer, operation in made.items():
        if layer.weights:
            try:
                operation.set_weights([array for _, array in layer.weights])
            except ValueError as error:
                raise _cannot_copy(layer.name, layer.kind, error) from error
    with any_depth():
        model = keras.Model(fill(graph.input_structure), fill(graph.output_structure), name=graph.name)
    for layer in model._flatten_layers():
        if hasattr(layer, "finalize_state"):  # Normalization computes with a copy of its weights
            layer.finalize_state()
    return model


def _zero_initializers(layer: Layer) -> dict[str, Any]:
    return {name: "zeros" for name, value in layer.config.items() if name.endswith("_initializer") and value}


def layer_names(graph: Graph) -> dict[Layer, str]:
    """Give the name of each layer in the model that `to_model` makes; one that makes a model output has that's name."""
    producers = graph.producers()
    names: dict[Layer, str] = {}
    for value, wanted in zip(graph.outputs, graph.output_names, strict=True):
        if value in producers:
            names.setdefault(producers[value].layer, wanted)
    taken = set(names.values()) | set(graph.input_names)
    for node in graph.nodes:
        if node.layer not in names:
            name = node.layer.name
            if name in taken:
                name = _fresh(f"{name}_{node.layer.kind.lower()}", taken)
            names[node.layer] = name
            taken.add(name)
    return names


def _config_of(operation: Any) -> dict[str, Any]:
    try:
        return dict(operation.get_config())
    except NotImplementedError as error:
        raise _cannot_copy(operation.name, type(operation).__name__, error) from error


def _made(layer: Layer, name: str) -> Any:
    """A new Keras layer or operation from its config."""
    try:
        return layer.type.from_config({**layer.config, "name": name})  # type: ignore[attr-defined]
    except (TypeError, ValueError, KeyError, AttributeError, NotImplementedError) as error:
        raise _cannot_copy(layer.name, layer.kind, error) from error


def _cannot_copy(name: str, kind: str, error: Exception) -> InputError:
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return InputError(
        f"layer '{name}' ({kind}) cannot be made again from its config ({reason[:200].rstrip('.')}); a Lambda is "
        "better a registered layer class, and such a class needs a get_config with every argument of __init__."
    )


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
    fed = list(dict.fromkeys(_values_in((args, dict(kwargs)))))
    inputs = {value: keras.Input(batch_shape=value.shape, dtype=value.dtype) for value in fed}
    fill = _mapper(lambda value: inputs[value])
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


def _without_dead(nodes: tuple[Node, ...], outputs: tuple[Value, ...]) -> tuple[Node, ...]:
    needed = set(outputs)
    kept: list[Node] = []
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    return tuple(reversed(kept))


def _values_in(structure: Any) -> list[Value]:
    import keras

    return [leaf for leaf in keras.tree.flatten(structure) if isinstance(leaf, Value)]


def _mapper(change: Callable[[Value], Any]) -> Callable[[Any], Any]:
    import keras

    def on(structure: Any) -> Any:
        return keras.tree.map_structure(
            lambda leaf: change(leaf) if isinstance(leaf, Value) else leaf, structure
        )

    return on


def _fresh(wanted: str, taken: set[str]) -> str:
    if wanted not in taken:
        return wanted
    return next(name for n in itertools.count(1) if (name := f"{wanted}_{n}") not in taken)
