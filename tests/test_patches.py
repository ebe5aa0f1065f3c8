"""Products of patches with a kernel's matrix are what the layer computes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from slimedge.compress.patches import as_kernel, as_matrix, patches
from slimedge.graph_reading import from_model

CASES = {
    "dense": (layers.Dense(5), (4,)),
    "dense on a sequence": (layers.Dense(5), (3, 4)),
    "convolution": (layers.Conv2D(6, (3, 2), padding="same"), (7, 6, 4)),
    "strided": (layers.Conv2D(6, 3, strides=(2, 1)), (9, 7, 4)),
    "dilated": (layers.Conv2D(6, 3, dilation_rate=2, padding="same"), (9, 7, 4)),
    "grouped": (layers.Conv2D(6, 3, groups=2, padding="same"), (5, 5, 4)),
    "depthwise": (layers.DepthwiseConv2D(3, depth_multiplier=2, strides=2, padding="same"), (7, 7, 4)),
    "causal sequence": (layers.Conv1D(5, 3, dilation_rate=2, padding="causal"), (8, 4)),
    "strided sequence": (layers.Conv1D(5, 3, strides=2, padding="same"), (9, 4)),
    "depthwise sequence": (layers.DepthwiseConv1D(3, padding="same"), (8, 4)),
}


@pytest.mark.parametrize("name", CASES)
def test_patches_times_the_matrix_are_the_layer_s_output(name):
    layer, shape = CASES[name]
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layer(inputs))
    read = from_model(model).nodes[0].layer
    example = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    kernel = np.asarray(layer.kernel)

    matrix = as_matrix(read, kernel)
    products = np.einsum("pgi,gio->pgo", patches(read, example), matrix)

    expected = np.asarray(model(example))
    np.testing.assert_allclose(products.reshape(expected.shape), expected, atol=1e-5)
    assert np.array_equal(as_kernel(read, matrix, kernel.shape), kernel)
