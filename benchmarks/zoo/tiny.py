"""Nets like the reference models of MLPerf Tiny.

Banbury et al. (2021), "MLPerf Tiny Benchmark"; not trained, so no result of that benchmark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def image_classification(shape: tuple[int, int, int] = (32, 32, 3), classes: int = 10) -> keras.Model:
    """Build the ResNet-8 that slimedge's demo has, for CIFAR-10's pictures.

    Args:
        shape: height, width and channels.
        classes: number of classes.

    Returns:
        A functional model from `image` (batch, *shape) to `probabilities` (batch, classes).
    """
    from slimedge.benchmarks.models import resnet8

    return resnet8(shape, classes)


def keyword_spotting(
    shape: tuple[int, int, int] = (49, 10, 1), filters: int = 64, blocks: int = 4, classes: int = 12
) -> keras.Model:
    """Build a DS-CNN.

    After Zhang et al. (2017), "Hello Edge: Keyword Spotting on Microcontrollers".

    Args:
        shape: frames, coefficients (MFCC) and 1.
        filters: of every convolution.
        blocks: depthwise-pointwise pairs after the first convolution.
        classes: number of words.

    Returns:
        A functional model from `mfcc` (batch, *shape) to `probabilities` (batch, classes).
    """
    import keras
    from keras import layers

    mfcc = keras.Input(shape, name="mfcc")
    x = layers.Conv2D(filters, (10, 4), strides=2, padding="same")(mfcc)
    x = layers.Dropout(0.2)(_bn_relu(x))
    for _ in range(blocks):
        x = _bn_relu(layers.DepthwiseConv2D(3, padding="same")(x))
        x = _bn_relu(layers.Conv2D(filters, 1)(x))
    x = layers.AveragePooling2D(x.shape[1:3])(layers.Dropout(0.4)(x))
    x = layers.Flatten()(x)
    return keras.Model(
        mfcc, layers.Dense(classes, activation="softmax", name="probabilities")(x), name="ds_cnn"
    )


def visual_wake_words(
    shape: tuple[int, int, int] = (96, 96, 3), alpha: float = 0.25, blocks: int = 13, classes: int = 2
) -> keras.Model:
    """Build a MobileNetV1 with a quarter of its channels.

    After Howard et al. (2017), "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
    Applications", table 1.

    Args:
        shape: height, width and channels.
        alpha: width multiplier.
        blocks: how many of the 13 depthwise-pointwise pairs there are.
        classes: number of classes.

    Returns:
        A functional model from `image` (batch, *shape) to `probabilities` (batch, classes).
    """
    import keras
    from keras import layers

    pairs = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    image = keras.Input(shape, name="image")
    x = layers.Conv2D(int(32 * alpha), 3, strides=2, padding="same", use_bias=False)(image)
    x = _bn_relu(x)
    for filters, strides in pairs[:blocks]:
        x = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(x)
        x = _bn_relu(x)
        x = _bn_relu(layers.Conv2D(int(filters * alpha), 1, use_bias=False)(x))
    x = layers.GlobalAveragePooling2D()(x)
    probabilities = layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(image, probabilities, name="mobilenet_v1_025")


def anomaly_detection(features: int = 640, width: int = 128, code: int = 8, depth: int = 4) -> keras.Model:
    """Build an autoencoder of Dense layers, with BatchNorm and ReLU after each but the last.

    After Koizumi et al. (2020), "Description and Discussion on DCASE2020 Challenge Task 2".

    Args:
        features: log-mel energies of five frames.
        width: of the hidden layers.
        code: width of the middle.
        depth: hidden layers before the middle, and as many after it.

    Returns:
        A functional model from `spectrum` (batch, features) to `reconstruction` (batch, features).
    """
    import keras
    from keras import layers

    x = spectrum = keras.Input((features,), name="spectrum")
    for units in (*[width] * depth, code, *[width] * depth):
        x = _bn_relu(layers.Dense(units)(x))
    return keras.Model(spectrum, layers.Dense(features, name="reconstruction")(x), name="autoencoder")


def _bn_relu(x: Any) -> Any:
    from keras import layers

    return layers.ReLU()(layers.BatchNormalization()(x))
