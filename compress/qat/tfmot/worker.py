"""TFMOT's training, in the process that is TFMOT's own.

Importing TFMOT sets TF_USE_LEGACY_KERAS for the process that does it, and tf.keras is Keras 2 there from then on. So
nothing that a user's process imports may import this.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from numpy.typing import NDArray

from slimedge.compress.fitting.goals import Goal
from slimedge.compress.fitting.losses import FINISH
from slimedge.compress.fitting.schedule import cosine
from slimedge.compress.fitting.settings import FitSettings
from slimedge.compress.qat.tfmot.tf_keras_model import check_same, rebuilt
from slimedge.errors import InputError
from slimedge.isolation import tell

# How many of the examples that both Keras see tell whether the model is the same.
COMPARED = 32
BATCH = 128
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
        folder: with `description.json`, `weights.npz`, and arrays in .npy files: `input_N` to train on, `label_NAME`,
            `few_N` (inputs of some examples) and `expected_N` (the float model's outputs for them).
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
    description = json.loads((at / "description.json").read_text())
    tf_keras.utils.set_random_seed(settings["seed"])
    with np.load(at / "weights.npz") as arrays:
        network = rebuilt(description, arrays)
    few = _arrays(at, "few")
    compared = [array[:COMPARED] for array in few]
    expected = [array[:COMPARED] for array in _arrays(at, "expected")]
    check_same(description, _outputs(network, compared), expected)
    quantized = _quantized(network, description["name"], exclude)
    held = _held(quantized)
    for where in ("before", "after"):
        for name, ends in starts.get(where, {}).items():
            if name in held[where]:
                for variable, end in zip(held[where][name], ends, strict=True):
                    variable.assign(end)
    losses = _fit(network, quantized, at, FitSettings(**settings), [Goal(**goal) for goal in goals])
    for index, array in enumerate(_outputs(quantized, few)):
        np.save(at / f"found_{index}.npy", array)
    trained: dict[str, Any] = _trained(quantized, description)
    np.savez(at / "trained.npz", **trained)
    ranges = {
        where: {name: [float(end.numpy()) for end in ends] for name, ends in named.items()}
        for where, named in held.items()
    }
    return {"ranges": ranges, "losses": losses}


def _arrays(folder: Path, name: str) -> list[NDArray[Any]]:
    count = len(list(folder.glob(f"{name}_*.npy")))
    return [np.load(folder / f"{name}_{index}.npy", mmap_mode="r") for index in range(count)]


def _outputs(network: Any, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    batches = [
        [
            np.asarray(array)
            for array in tf.nest.flatten(network([a[at : at + BATCH] for a in inputs], training=False))
        ]
        for at in range(0, len(inputs[0]), BATCH)
    ]
    return [np.concatenate(pieces) for pieces in zip(*batches, strict=True)]


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
    """Give what TFMOT says, without the names of its modules and what it advises, but with that of the layer."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.sub(r"Layer (\S+?):<class '[\w.]*?(\w+)'>", r"layer '\1' (\2)", text)
    text = re.sub(r"^.*in user code: .*?\b\w+Error: ", "", text)  # AutoGraph tells its way there first
    text = re.sub(r"Exception encountered when calling layer \S+ \(type \w+\)\. ", "", text)
    text = re.sub(r"<function (\w+) at \w+>", r"'\1'", text)
    told = re.split(r"\.\s", text)[0][:200].rstrip(".")
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


def _fit(
    network: Any, quantized: Any, folder: Path, settings: FitSettings, goals: Sequence[Goal]
) -> list[float]:
    inputs = _arrays(folder, "input")
    labels = {
        goal.label: np.load(folder / f"label_{index}.npy", mmap_mode="r")
        for index, goal in enumerate(goals)
        if goal.label is not None
    }
    size = min(settings.batch_size, len(inputs[0]))
    steps = settings.epochs * (len(inputs[0]) // size)
    rate = cosine(tf_keras.optimizers.schedules, settings.learning_rate, steps)
    optimizer = tf_keras.optimizers.Adam(rate)
    variables = quantized.trainable_variables
    losses_of = [goal.loss() for goal in goals]
    distilled = any(goal.label is None for goal in goals)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator, unused-ignore]
    def step(feeds: list[Any], given: list[Any]) -> Any:
        exact = tf.nest.flatten(network(feeds, training=False)) if distilled else []
        targets = [
            given[index] if goal.label is not None else FINISH[goal.function](exact[index])
            for index, goal in enumerate(goals)
        ]
        with tf.GradientTape() as tape:
            made = tf.nest.flatten(quantized(feeds, training=True))
            loss = tf.add_n(
                [loss_of(one, target) for loss_of, one, target in zip(losses_of, made, targets, strict=True)]
            )
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    done, history = 0, []
    for epoch in range(settings.epochs):
        losses = []
        for rows in _batches(len(inputs[0]), size, (settings.seed, epoch)):
            feeds = [tf.convert_to_tensor(array[rows]) for array in inputs]
            given = [
                tf.zeros(()) if goal.label is None else tf.convert_to_tensor(labels[goal.label][rows])
                for goal in goals
            ]
            loss = float(step(feeds, given))
            done += 1
            if not math.isfinite(loss):
                raise settings.diverged(f"the loss became {loss} in step {done} of {steps}")
            losses.append(loss)
            tell(
                f"training with TFMOT, epoch {epoch + 1} of {settings.epochs}, loss {loss:.4f}", done / steps
            )
        history.append(float(np.mean(losses)))
    return history


def _batches(examples: int, size: int, seed: tuple[int, int]) -> Iterator[NDArray[np.int64]]:
    """Give the rows of whole batches, in the order of this epoch."""
    order = np.random.default_rng(seed).permutation(examples)
    for at in range(0, examples - size + 1, size):
        yield np.sort(order[at : at + size])


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
