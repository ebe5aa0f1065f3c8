"""Nets whose weights are rounded, each rounded and exported once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import keras
import numpy as np
from keras import layers
from test_weight_only import bound, text_gru, text_lstm, transformer

from slimedge import lineage as lineages
from slimedge.artifact import Step
from slimedge.compress.quantization import quantize
from slimedge.export.exporters import EXPORTERS, Settings
from slimedge.export.trial import Trial
from slimedge.lineage import lineage_of

Arrays = dict[str, np.ndarray]
FOUR, HALF, EIGHT = "weight_only_wi4_afp32", "fp16", "weight_only_wi8_afp32"
# Scheme and block size.
SCHEMES = {"fp16": (HALF, None), "4 bits": (FOUR, None), "4 bits in blocks of 16": (FOUR, 16)}


def convolutions() -> keras.Model:
    inputs = keras.Input((8, 8, 16), name="picture")
    x = layers.Conv2D(24, 3, padding="same", use_bias=False, name="full")(inputs)
    x = layers.ReLU()(layers.BatchNormalization(name="normed")(x))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = layers.SeparableConv2D(16, 3, name="separable")(x)
    x = layers.Conv2DTranspose(8, 2, strides=2, name="transposed")(x)
    return keras.Model(inputs, layers.Dense(20, name="dense")(layers.Flatten()(x)))


def einsums() -> keras.Model:
    inputs = keras.Input((5, 32), name="steps")
    x = layers.EinsumDense("abc,cde->abde", output_shape=(None, 4, 16), name="heads")(inputs)
    x = layers.EinsumDense("abde,def->abf", output_shape=(None, 48), name="joined")(x)
    return keras.Model(inputs, layers.Bidirectional(layers.LSTM(16), name="both_ways")(x))


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "convolutions": convolutions,
    "einsums": einsums,
    "text_lstm": text_lstm,
    "text_gru": text_gru,
    "transformer": transformer,
}


@cache
def network_of(name: str) -> keras.Model:
    keras.utils.set_random_seed(5)
    network = NETWORKS[name]()
    generator = np.random.default_rng(5)
    for variable in network.variables:
        if variable.name in {"bias", "beta", "moving_mean"}:
            variable.assign(generator.normal(0, 0.2, variable.shape))
        elif variable.name in {"gamma", "moving_variance"}:
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
        elif variable.name == "embeddings":
            variable.assign(generator.normal(0, 1, variable.shape))
    return network


@cache
def rounded(name: str, kind: str) -> keras.Model:
    network, (scheme, block_size) = network_of(name), SCHEMES[kind]
    return quantize(network, bound(network), scheme=scheme, block_size=block_size)


def export(exporter: str, network: keras.Model, scheme: str | None, block_size: int | None) -> Any:
    metadata = {"lineage": lineages.to_json([Step("export", {})])}
    settings = Settings("float32", 1, "u8u8", metadata, scheme=scheme, block_size=block_size)
    return EXPORTERS[exporter](network, settings)


@cache
def exported(exporter: str, name: str, kind: str) -> tuple[bytes, Trial]:
    found: tuple[bytes, Trial] = export(exporter, rounded(name, kind), *SCHEMES[kind])
    return found


@cache
def float_bytes(exporter: str, name: str) -> int:
    return len(export(exporter, network_of(name), None, None)[0])


def weights_of(network: keras.Model) -> Arrays:
    """Kernels and tables by path, without the numbers that Keras gives inner layers."""
    named = [one for one in network.weights if one.name.endswith(("kernel", "embeddings"))]
    return {re.sub(r"_\d+(?=/)", "", variable.path): np.asarray(variable) for variable in named}


def settings_of(network: keras.Model) -> dict[str, Any]:
    return dict(lineage_of(network)[-1].settings)


def storage(content: bytes) -> dict[str, int]:
    """What a file's lineage says of the types of its weights."""
    text = content[content.index(b'"weight_storage":') + 17 :]
    found: dict[str, int] = json.loads(text[: text.index(b"}") + 1])
    return found
