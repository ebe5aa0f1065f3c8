"""TFMOT's training, in the process that is TFMOT's own.

Importing TFMOT sets TF_USE_LEGACY_KERAS for the process that does it, and tf.keras is Keras 2 there from then on. So
nothing that a user's process imports may import this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras

from slimedge.compress.fitting.goals import Goal
from slimedge.compress.fitting.settings import FitSettings
from slimedge.compress.tfmot.student import Student, outputs_of, told_by
from slimedge.errors import InputError

# The activations that TFMOT takes in a layer that computes something else, too.
ACTIVATIONS = {"linear", "relu", "swish", "gelu", "softmax", "sigmoid", "tanh"}
# Of an 8-bit grid with as many integers below 0 as above, as TFMOT's for weights is.
LARGEST_INTEGER = 127


def run(
    folder: str,
    settings: Mapping[str, Any],
    goals: Sequence[Mapping[str, Any]],
    exclude: Sequence[str],
    starts: Mapping[str, Mapping[str, Sequence[float]]],
) -> dict[str, Any]:
    """Rebuild, quantize and train what lies in a folder, and write the trained weights there.

    Args:
        folder: as `slimedge.compress.tfmot.student.Student` reads it.
        settings: arguments of `FitSettings`.
        goals: arguments of a `Goal` for each output.
        exclude: names of layers that stay float.
        starts: ends of ranges by tensor, as in `slimedge.compress.qat.tfmot.tensors`, where training starts with them;
            those of inputs are not used, since TFMOT takes the smallest and the largest of all values.

    Returns:
        `ranges` by tensor, likewise, and the mean `losses` of each epoch. In the folder are `trained.npz` then,
        with the weights as they came, and `found_N.npy`, the trained model's outputs for the few examples.

    Raises:
        InputError: the model cannot be rebuilt, or TFMOT does not take it.
        CheckError: the loss became NaN or infinite.
    """
    at = Path(folder)
    tf_keras.utils.set_random_seed(settings["seed"])
    student = Student(at)
    quantized = _quantized(student.network, student.description["name"], exclude)
    held = _held(quantized)
    for where in ("before", "after"):
        for name, ends in starts.get(where, {}).items():
            if name in held[where]:
                for variable, end in zip(held[where][name], ends, strict=True):
                    variable.assign(end)
    losses = student.fit(quantized, FitSettings(**settings), [Goal(**goal) for goal in goals])
    for index, array in enumerate(outputs_of(quantized, student.few)):
        np.save(at / f"found_{index}.npy", array)
    trained: dict[str, Any] = _trained(quantized, student.description)
    np.savez(at / "trained.npz", **trained)
    ranges = {
        where: {name: [float(end.numpy()) for end in ends] for name, ends in named.items()}
        for where, named in held.items()
    }
    return {"ranges": ranges, "losses": losses}


def _quantized(network: Any, name: str, exclude: Sequence[str]) -> Any:
    """Give TFMOT's quantized model of a float one.

    Raises:
        InputError: TFMOT does not take it.
    """
    annotate = tfmot.quantization.keras.quantize_annotate_layer
    try:
        if not exclude:
            return tfmot.quantization.keras.quantize_model(network)
        annotated = tf_keras.models.clone_model(
            network, clone_function=lambda layer: layer if layer.name in exclude else annotate(layer)
        )
        annotated.set_weights(network.get_weights())
        return tfmot.quantization.keras.quantize_apply(annotated)
    except Exception as error:
        raise InputError(
            f"TFMOT does not take model '{name}' ({_reason(error, network)}); train it with engine='keras', or leave "
            "such layers float with exclude."
        ) from error


def _reason(error: Exception, network: Any) -> str:
    """Give what TFMOT says, with the name of the layer that it is about."""
    told = told_by(error)
    if "ctivation" not in told:
        return told
    # TFMOT does not say which layer has the activation.
    for layer in network.layers:
        function = getattr(layer, "activation", None)
        known = ACTIVATIONS | ({"relu6"} if isinstance(layer, tf_keras.layers.Activation) else set())
        if function is not None and getattr(function, "__name__", "") not in known:
            kind = getattr(function, "__name__", type(function).__name__)
            return f"{told}; layer '{layer.name}' has '{kind}'"
    return told


def _inner(layer: Any) -> Any:
    return getattr(layer, "layer", layer) if hasattr(layer, "quantize_config") else layer


def _trained(quantized: Any, description: Mapping[str, Any]) -> dict[str, Any]:
    """Give the weights of each described layer by `LAYER/WEIGHT`, and its kernel's scale by `LAYER/scale`."""
    layers = {_inner(layer).name: layer for layer in quantized.layers}
    found = {}
    for number, told in enumerate(description["layers"]):
        layer = layers[told["config"]["name"]]
        arrays = layer.get_weights()
        if layer is not _inner(layer):
            # A wrapper gives the rounded weight in another place; Keras 3 calls a depthwise kernel plainly a kernel.
            by_name = {
                weight.name.split("/")[-1].partition(":")[0].removeprefix("depthwise_"): weight.numpy()
                for weight in layer.weights
            }
            arrays = [by_name[name] for name in told["weights"]]
            for _, _, ends in layer._weight_vars:  # noqa: SLF001 - TFMOT has no public way
                found[f"{number}/scale"] = ends["max_var"].numpy() / LARGEST_INTEGER
        found |= {f"{number}/{index}": array for index, array in enumerate(arrays)}
    return found


def _held(quantized: Any) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Give the variables of both ends of each range that TFMOT has, by tensor as in `...tfmot.tensors`."""
    tensors: dict[str, dict[str, tuple[Any, Any]]] = {"inputs": {}, "before": {}, "after": {}}
    positions = {name: str(index) for index, name in enumerate(quantized.input_names)}
    for layer in quantized.layers:
        name = _inner(layer).name
        if type(layer).__name__ == "QuantizeLayer":
            (source,) = {node.inbound_layers.name for node in layer.inbound_nodes}
            tensors["inputs"][positions[source]] = _ends(layer.quantizer_vars)
            continue
        for activation in getattr(layer, "_quantize_activations", ()):
            for where, attribute in (("before", "_pre_activation_vars"), ("after", "_post_activation_vars")):
                if hasattr(activation, attribute):
                    tensors[where][name] = _ends(getattr(activation, attribute))
        if getattr(layer, "_output_quantizers", None):
            tensors["after"][name] = _ends(layer._output_quantizer_vars)  # noqa: SLF001 - TFMOT has no public way
    return tensors


def _ends(held: Mapping[str, Any]) -> tuple[Any, Any]:
    return held["min_var"], held["max_var"]
