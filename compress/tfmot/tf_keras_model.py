"""A described graph built in tf-keras; only the process that TFMOT runs in imports this."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from slimedge.compress.tfmot.description import not_rebuilt
from slimedge.errors import InputError

# Settings that have another name in Keras 2.
RENAMED = {"LeakyReLU": {"negative_slope": "alpha"}}
BASE_SETTINGS = {"name", "trainable", "dtype"}
# Of an output's range. Another order of float32 sums changes less, any mistake more.
TOLERANCE = 1e-4


def rebuilt(description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Any:
    """Build a model from what `described` gave.

    Raises:
        InputError: tf-keras has no such layer, or it does not take these settings, tensors or weights.
    """
    tensors: dict[int, Any] = {}
    for number, given in enumerate(description["inputs"]):
        tensors[number] = tf_keras.Input(
            batch_shape=given["shape"], dtype=given["dtype"], name=_scope(given["name"])
        )
    inputs = list(tensors.values())
    layers: dict[int, Any] = {}
    for node in description["nodes"]:
        number = node["layer"]
        told = description["layers"][number]
        name, kind = told["config"]["name"], told["kind"]
        try:
            layer = layers.setdefault(number, None) or _made(told)
            outputs = layer(*_filled(node["args"], tensors), **_filled(node["kwargs"], tensors))
        except (TypeError, ValueError, KeyError, AttributeError, NotImplementedError) as error:
            raise not_rebuilt(name, kind, _first_line(error)) from error
        layers[number] = layer
        tensors.update(zip(node["outputs"], tf.nest.flatten(outputs), strict=True))
    for number, layer in layers.items():
        told = description["layers"][number]
        try:
            layer.set_weights([arrays[f"{number}/{index}"] for index in range(len(told["weights"]))])
        except ValueError as error:
            raise not_rebuilt(told["config"]["name"], told["kind"], _first_line(error)) from error
        if hasattr(layer, "finalize_state"):  # Normalization computes with a copy of its weights
            layer.finalize_state()
    return tf_keras.Model(inputs, [tensors[number] for number in description["outputs"]])


def check_same(
    description: Mapping[str, Any], got: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]]
) -> None:
    """Compare the outputs of a rebuilt model with those that Keras 3 gave.

    Raises:
        InputError: one differs by more than `TOLERANCE` of its range.
    """
    for name, exact, other in zip(description["output_names"], expected, got, strict=True):
        spread = float(np.ptp(exact)) or float(np.max(np.abs(exact), initial=0)) or 1.0
        error = float(np.max(np.abs(exact - other), initial=0)) / spread
        if not error <= TOLERANCE:
            raise InputError(
                f"model '{description['name']}' computes something else in tf-keras, which TFMOT needs: output "
                f"'{name}' differs by {error:.2g} of its range; train this model with engine='keras'."
            )


def _made(told: Mapping[str, Any]) -> Any:
    kind, config = told["kind"], dict(told["config"])
    made = getattr(tf_keras.layers, kind, None)
    if made is None:
        raise ValueError("it has no such layer")
    for old, new in RENAMED.get(kind, {}).items():
        config[new] = config.pop(old)
    if isinstance(config.get("activation"), str):
        try:
            tf_keras.activations.get(config["activation"])
        except ValueError:
            raise ValueError(f"it has no activation '{config['activation']}'") from None
    taken = BASE_SETTINGS.union(inspect.signature(made.__init__).parameters)
    # What is left out here and does change what the layer computes is found by `check_same`.
    return made.from_config({name: value for name, value in config.items() if name in taken})


def _filled(structure: Any, tensors: Mapping[int, Any]) -> Any:
    if isinstance(structure, list):
        return [_filled(inner, tensors) for inner in structure]
    if isinstance(structure, dict):
        if "value" in structure:
            return tensors[structure["value"]]
        return {name: _filled(inner, tensors) for name, inner in structure["items"].items()}
    return structure


def _scope(name: str) -> str:
    """Give a name that is one of a TensorFlow scope."""
    return "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in f"input_{name}")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".:")
