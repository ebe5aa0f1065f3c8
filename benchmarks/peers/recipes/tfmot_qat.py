"""TensorFlow Model Optimization's quantization-aware training, in Keras 2 as it requires."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import keras
import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

LARGEST_ERROR = 1e-4
# Settings that Keras 2 writes otherwise or does not have; what they change in the outputs, the comparison tells.
UNKNOWN = frozenset({"dtype", "quantization_config", "renorm", "renorm_clipping", "renorm_momentum"})


def hard_sigmoid(x: Any) -> Any:
    """By Keras 3's definition; Keras 2 has another."""
    return tf.nn.relu6(x + 3.0) / 6.0


def hard_silu(x: Any) -> Any:
    """Which Keras 2 does not have."""
    return x * hard_sigmoid(x)


# Registered, because TFMOT copies a model by its settings.
ACTIVATIONS = {
    made.__name__: tf_keras.saving.register_keras_serializable("keras3")(made)
    for made in (hard_sigmoid, hard_silu)
}


def twin(model: Any, examples: Any) -> Any:
    """Build a Keras 3 model again in Keras 2, with its weights.

    Args:
        model: functional, of layers that Keras 2 has, each called once.
        examples: (n, …) inputs on which both have to give the same.

    Returns:
        A functional model of tf_keras.

    Raises:
        SystemExit: a layer that Keras 2 does not have, or other outputs.
    """
    tensors: dict[int, Any] = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            tensors[id(layer.output)] = tf_keras.Input(layer.batch_shape[1:], name=layer.name)
            continue
        kind = type(layer).__name__
        if not hasattr(tf_keras.layers, kind):
            raise SystemExit(f"Keras 2 has no layer {kind}")
        config = layer.get_config()
        known = {
            key: config[key] for key in config if key not in UNKNOWN and not key.endswith("_initializer")
        }
        if "activation" in known:
            known["activation"] = ACTIVATIONS.get(known["activation"], known["activation"])
        made = getattr(tf_keras.layers, kind).from_config(known)
        given = layer.input if isinstance(layer.input, list) else [layer.input]
        found = [tensors[id(tensor)] for tensor in given]
        tensors[id(layer.output)] = made(found if len(found) > 1 else found[0])
        made.set_weights(layer.get_weights())
    built = tf_keras.Model(
        [tensors[id(tensor)] for tensor in model.inputs],
        [tensors[id(tensor)] for tensor in model.outputs],
        name=model.name,
    )
    expected = model.predict(examples, verbose=0)
    error = float(np.max(np.abs(built.predict(examples, verbose=0) - expected)))
    if error > LARGEST_ERROR * float(np.ptp(expected)):
        raise SystemExit(f"the model built again in Keras 2 gives other outputs, by up to {error:.3g}")
    return built


def make(job: dict[str, Any]) -> None:
    """Train with TFMOT's fake quantization and convert to integers.

    Args:
        job: `settings` are `epochs`, `batch_size`, `learning_rate` (of Adam at its highest, after `warm_up` of the
            steps) and `seed`.
    """
    settings = job["settings"]
    tf_keras.utils.set_random_seed(settings["seed"])
    with np.load(job["training"]) as arrays:
        (name,) = (name for name in arrays.files if name != "y")
        images = arrays[name]
        answers = images if job["autoencoder"] else arrays["y"]
    model = twin(keras.saving.load_model(job["keras"], compile=False), images[:100])
    trained = tfmot.quantization.keras.quantize_model(model)
    steps = settings["epochs"] * (len(images) // settings["batch_size"])
    warm = int(settings["warm_up"] * steps)
    rate = tf_keras.optimizers.schedules.CosineDecay(
        0.0, steps - warm, warmup_target=settings["learning_rate"], warmup_steps=warm
    )
    trained.compile(
        optimizer=tf_keras.optimizers.Adam(rate),
        loss="mean_squared_error" if job["autoencoder"] else "sparse_categorical_crossentropy",
    )
    trained.fit(images, answers, batch_size=settings["batch_size"], epochs=settings["epochs"], verbose=2)
    function = tf.function(trained).get_concrete_function(
        tf.TensorSpec([1, *images.shape[1:]], tf.float32, name=name)
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], trained)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    Path(job["out"]).write_bytes(converter.convert())


if __name__ == "__main__":
    make(json.loads(Path(sys.argv[1]).read_text()))
