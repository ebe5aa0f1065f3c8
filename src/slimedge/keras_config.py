"""The architecture in a `.keras` file as JSON: what it would run is refused, what it says is read.

Nothing that a config names is imported here. The rules are stricter than Keras's safe mode: what is
not Keras's own must have been registered by the caller beforehand, or be one of slimedge's layers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimedge.artifact import TensorSpec
from slimedge.errors import InputError
from slimedge.naming import unique
from slimedge.registry import Registry

# Keras layers of slimedge's own, by registered name; one line each.
LAYERS = Registry(
    "layer",
    {
        "slimedge>FakeQuant": "slimedge.fake_quant:FakeQuant",
        "slimedge>FakeQuantWeights": "slimedge.fake_quant:FakeQuantWeights",
    },
)

# Keras layers that run code, or load files of other libraries, from what the config holds.
_RUNS_CODE = frozenset({"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__"})
# Where Keras 2 keeps its models, as tf-keras and as the Keras of TensorFlow 2.13 to 2.15.
_KERAS_2 = ("tf_keras.", "keras.src.engine.")
# Layers whose output has the shape of their input.
_KEEPS_SHAPE = frozenset(
    {
        "slimedge>FakeQuant",
        "Activation",
        "Softmax",
        "ReLU",
        "LeakyReLU",
        "ELU",
        "Dropout",
        "BatchNormalization",
        "LayerNormalization",
    }
)


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be imported or registered before Keras rebuilds a config.

    Attributes:
        layers: registered names of slimedge's own layers.
        custom: registered names of the caller's.
    """

    layers: frozenset[str]
    custom: frozenset[str]


def check(config: Any, path: Path) -> Needs:
    """Refuse a config that names code outside Keras, slimedge and what the caller has registered.

    Args:
        config: parsed JSON, of a `.keras` or `.h5` file.
        path: for messages.

    Raises:
        InputError: a layer that runs code from the file, or a class that nobody has registered; by name.
    """
    layers, custom = set(), set()
    for item, owner in _objects(config):
        name = str(item["class_name"])
        module, registered_name = item.get("module"), str(item.get("registered_name") or "")
        if str(module).startswith(_KERAS_2):
            raise InputError(
                f"{path} was saved by Keras 2, which Keras 3 does not read as .keras; open it there, save it as .h5 "
                "and give that file with --trust (trust=True in Python)."
            )
        of_keras = module is None or module == "keras" or str(module).startswith("keras.")
        if name.rpartition(".")[2] in _RUNS_CODE and of_keras and not is_registered(registered_name):
            what = "a Python lambda" if name == "__lambda__" else f"a {name} layer"
            raise InputError(
                f"{path} has {what} ('{owner}'), which would run code from the file; rebuild that part with "
                "Keras layers, or with a class that you register, and save the model again."
            )
        if registered_name in LAYERS:
            layers.add(registered_name)
        elif is_registered(registered_name):
            custom.add(registered_name)
        elif ">" in registered_name or not (of_keras or module == "builtins"):
            shown = registered_name if ">" in registered_name else f"{module}.{name}"
            raise InputError(
                f"{path} has a custom class '{shown}' (in '{owner}') that is not registered here; in Python, import "
                "it with @keras.saving.register_keras_serializable() first, then pass the loaded model object."
            )
    return Needs(frozenset(layers), frozenset(custom))


def is_registered(registered_name: str) -> bool:
    """Tell whether the caller has registered a class or function with Keras under this name."""
    # Where Keras was never imported, nobody can have registered anything.
    keras = sys.modules.get("keras")
    return (
        bool(registered_name)
        and keras is not None
        and keras.saving.get_registered_object(registered_name) is not None
    )


def _objects(config: Any) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Give every serialized object with the name of the layer that it belongs to."""
    todo: list[tuple[Any, str]] = [(config, "the model")]
    while todo:
        value, owner = todo.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                settings = value.get("config")
                own = settings.get("name") if isinstance(settings, dict) else None
                owner = own if isinstance(own, str) else owner
                yield value, owner
            todo.extend((child, owner) for child in value.values())
        elif isinstance(value, list):
            todo.extend((child, owner) for child in value)


def specs(config: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]] | None:
    """Read inputs and outputs off the config of a Functional or Sequential model.

    Returns:
        Inputs and outputs in Keras order; None where the config does not say, and Keras has to infer.
    """
    try:
        layers = config["config"]["layers"]
        if config["class_name"] == "Functional":
            ends = [_ends(config["config"][key]) for key in ("input_layers", "output_layers")]
        elif config["class_name"] == "Sequential":
            ends = [[(layers[0]["config"]["name"], 0)], [(layers[-1]["config"]["name"], 0)]]
        else:
            return None
        by_name = {layer["config"]["name"]: layer for layer in layers}
        inputs = [_input(by_name[name]) for name, _ in ends[0]]
        outputs = [
            TensorSpec(name, *_output(by_name[layer], node))
            for name, (layer, node) in zip(unique([layer for layer, _ in ends[1]]), ends[1], strict=True)
        ]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None
    return tuple(inputs), tuple(outputs)


def _ends(value: Any) -> list[tuple[str, int]]:
    """Flatten `[name, node, tensor]` triples out of lists and dicts, in Keras order."""
    if isinstance(value, dict):
        return [end for key in sorted(value) for end in _ends(value[key])]
    if len(value) == 3 and isinstance(value[0], str):
        if value[2] != 0:
            raise ValueError("a layer with several outputs: its shapes are Keras's to infer")
        return [(value[0], value[1])]
    return [end for item in value for end in _ends(item)]


def _input(layer: Mapping[str, Any]) -> TensorSpec:
    if layer["class_name"] != "InputLayer":
        raise ValueError("the shape of the input is not in the config")
    settings = layer["config"]
    return TensorSpec(settings["name"], _shape(settings["batch_shape"]), _dtype(settings["dtype"]))


def _output(layer: Mapping[str, Any], node: int) -> tuple[tuple[int | None, ...], str]:
    settings = layer["config"]
    name = layer["class_name"] if layer.get("module") == "keras.layers" else layer.get("registered_name")
    if name == "InputLayer":
        return _shape(settings["batch_shape"]), _dtype(settings["dtype"])
    if name not in _KEEPS_SHAPE and name != "Dense":
        raise ValueError("the shape of the output is Keras's to infer")
    nodes = layer.get("inbound_nodes")
    given = nodes[node]["args"][0]["config"]["shape"] if nodes else layer["build_config"]["input_shape"]
    shape = _shape(given)
    return (*shape[:-1], int(settings["units"])) if name == "Dense" else shape, _dtype(settings["dtype"])


def _shape(value: Sequence[Any]) -> tuple[int | None, ...]:
    return tuple(None if size is None else int(size) for size in value)


def _dtype(value: Any) -> str:
    name = value if isinstance(value, str) else value["config"]["name"]
    if name.startswith("mixed_") or not isinstance(name, str):
        raise ValueError("a policy, not a type")
    return str(name)
