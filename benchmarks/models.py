"""The small nets that slimedge is measured on: three classifiers of pictures, an autoencoder, and an LSTM.

ResNet-8 and the autoencoder follow the models of MLPerf Tiny for image classification and for anomaly detection
(Banbury et al., 2021, "MLPerf Tiny Benchmark"); the depthwise-separable net follows MobileNetV1 (Howard et al.,
2017, "MobileNets"), and the one with hard-swish and squeeze-and-excite MobileNetV3 (Howard et al., 2019, "Searching
for MobileNetV3"). The LSTM (Hochreiter and Schmidhuber, 1997) reads a word letter by letter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from slimedge.benchmarks import words

if TYPE_CHECKING:
    import keras

IMAGE_SHAPE = (28, 28, 1)
CLASSES = 10


def _conv_bn(x: Any, filters: int, kernel: int, strides: int, name: str) -> Any:
    from keras import layers

    x = layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return layers.BatchNormalization(name=f"{name}_bn")(x)


def _depthwise_bn(x: Any, kernel: int, strides: int, name: str) -> Any:
    from keras import layers

    x = layers.DepthwiseConv2D(
        kernel,
        strides=strides,
        padding="same",
        use_bias=False,
        depthwise_initializer="he_normal",
        name=f"{name}_depthwise",
    )(x)
    return layers.BatchNormalization(name=f"{name}_depthwise_bn")(x)


def resnet8(shape: tuple[int, int, int] = IMAGE_SHAPE, classes: int = CLASSES) -> keras.Model:
    """Build an untrained ResNet-8: a stem and three residual blocks of 16, 32 and 64 channels.

    Args:
        shape: input height, width and channels; float32 images in 0…1.
        classes: number of classes.

    Returns:
        A functional model from `image` (batch, *shape) to `probabilities` (batch, classes).
    """
    import keras
    from keras import layers

    image = keras.Input(shape, name="image")
    x = layers.ReLU(name="stem_relu")(_conv_bn(image, 16, 3, 1, "stem"))
    for block, filters in enumerate((16, 32, 64), start=1):
        strides = 1 if block == 1 else 2
        y = _conv_bn(x, filters, 3, strides, f"block{block}_a")
        y = layers.ReLU(name=f"block{block}_a_relu")(y)
        y = _conv_bn(y, filters, 3, 1, f"block{block}_b")
        if block > 1:
            x = _conv_bn(x, filters, 1, strides, f"block{block}_shortcut")
        x = layers.Add(name=f"block{block}_add")([x, y])
        x = layers.ReLU(name=f"block{block}_relu")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(image, outputs, name="resnet8")


def depthwise_separable(shape: tuple[int, int, int] = IMAGE_SHAPE, classes: int = CLASSES) -> keras.Model:
    """Build an untrained depthwise-separable net: a 3×3 stem and five depthwise-pointwise pairs.

    Args:
        shape: input height, width and channels; float32 images in 0…1.
        classes: number of classes.

    Returns:
        A functional model from `image` (batch, *shape) to `probabilities` (batch, classes).
    """
    import keras
    from keras import layers

    image = keras.Input(shape, name="image")
    x = layers.ReLU(6.0, name="stem_relu")(_conv_bn(image, 32, 3, 1, "stem"))
    for block, (filters, strides) in enumerate(((48, 2), (64, 1), (96, 2), (128, 1), (128, 1)), start=1):
        x = _depthwise_bn(x, 3, strides, f"block{block}")
        x = layers.ReLU(6.0, name=f"block{block}_depthwise_relu")(x)
        x = _conv_bn(x, filters, 1, 1, f"block{block}_pointwise")
        x = layers.ReLU(6.0, name=f"block{block}_pointwise_relu")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(image, outputs, name="depthwise_separable")


def _squeeze_excite(x: Any, name: str) -> Any:
    """Scale each channel by what its mean over the picture, and those of the others, say (Hu et al., 2018)."""
    from keras import layers

    channels = x.shape[-1]
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    gate = layers.Conv2D(channels // 4, 1, activation="relu", name=f"{name}_reduce")(gate)
    gate = layers.Conv2D(channels, 1, activation="hard_sigmoid", name=f"{name}_gate")(gate)
    return layers.Multiply(name=f"{name}_excite")([x, gate])


# Kernel, channels inside, channels out, squeeze-and-excite, activation and strides of each inverted residual block.
MOBILENET_V3_BLOCKS = (
    (3, 12, 16, False, "relu", 2),
    (3, 48, 24, False, "relu", 2),
    (5, 64, 32, True, "hard_swish", 1),
    (5, 96, 32, True, "hard_swish", 1),
    (5, 96, 48, True, "hard_swish", 2),
)


def mobilenet_v3(shape: tuple[int, int, int] = IMAGE_SHAPE, classes: int = CLASSES) -> keras.Model:
    """Build an untrained MobileNetV3 of five inverted residual blocks, with hard-swish and squeeze-and-excite.

    Args:
        shape: input height, width and channels; float32 images in 0…1.
        classes: number of classes.

    Returns:
        A functional model from `image` (batch, *shape) to `probabilities` (batch, classes).
    """
    import keras
    from keras import layers

    image = keras.Input(shape, name="image")
    x = layers.Activation("hard_swish", name="stem_hard_swish")(_conv_bn(image, 12, 3, 1, "stem"))
    for number, (kernel, inside, filters, excite, activation, strides) in enumerate(MOBILENET_V3_BLOCKS, 1):
        name, given = f"block{number}", x
        if inside != x.shape[-1]:
            x = _conv_bn(x, inside, 1, 1, f"{name}_expand")
            x = layers.Activation(activation, name=f"{name}_expand_{activation}")(x)
        x = _depthwise_bn(x, kernel, strides, name)
        x = layers.Activation(activation, name=f"{name}_depthwise_{activation}")(x)
        if excite:
            x = _squeeze_excite(x, name)
        x = _conv_bn(x, filters, 1, 1, f"{name}_project")
        if x.shape == given.shape:
            x = layers.Add(name=f"{name}_add")([given, x])
    x = layers.Activation("hard_swish", name="last_hard_swish")(_conv_bn(x, 128, 1, 1, "last"))
    x = layers.GlobalAveragePooling2D(name="pool", keepdims=True)(x)
    x = layers.Conv2D(448, 1, activation="hard_swish", name="head")(x)
    x = layers.Dropout(0.2, name="dropout")(layers.Flatten(name="features")(x))
    outputs = layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(image, outputs, name="mobilenet_v3")


def dense_autoencoder(shape: tuple[int, int, int] = IMAGE_SHAPE) -> keras.Model:
    """Build an untrained autoencoder of dense layers, 128 wide, that puts a picture through 8 numbers.

    Args:
        shape: input height, width and channels; float32 images in 0…1.

    Returns:
        A functional model from `image` (batch, *shape) to `reconstruction` (batch, *shape).
    """
    import keras
    from keras import layers

    image = keras.Input(shape, name="image")
    x = layers.Flatten(name="pixels")(image)
    for number, units in enumerate((128, 128, 128, 128, 8, 128, 128, 128, 128), start=1):
        x = layers.Dense(units, name=f"dense{number}")(x)
        x = layers.BatchNormalization(name=f"dense{number}_bn")(x)
        x = layers.ReLU(name=f"dense{number}_relu")(x)
    x = layers.Dense(math.prod(shape), name="last")(x)
    return keras.Model(image, layers.Reshape(shape, name="reconstruction")(x), name="dense_autoencoder")


# Those that `train_demo` trains on Fashion-MNIST.
FASHION_MNIST: Mapping[str, Callable[[], keras.Model]] = {
    build.__name__: build for build in (resnet8, depthwise_separable, mobilenet_v3, dense_autoencoder)
}
# Those of them that give the picture back instead of its class.
AUTOENCODERS = frozenset({"dense_autoencoder"})
CLASSIFIERS = tuple(name for name in FASHION_MNIST if name not in AUTOENCODERS)


def word_lstm() -> keras.Model:
    """Build an untrained LSTM that tells the language of a word.

    Padding is a letter like the others, without a mask, which would put a choice into each step of the files.

    Returns:
        A functional model from `letters` (batch, 20), int32 ids, to `language` (batch, 6).
    """
    import keras
    from keras import layers

    letters = keras.Input((words.LONGEST,), dtype="int32", name="letters")
    x = layers.Embedding(words.SYMBOLS, 32, name="embedding")(letters)
    x = layers.LSTM(128, name="lstm")(x)
    outputs = layers.Dense(len(words.LANGUAGES), activation="softmax", name="language")(x)
    return keras.Model(letters, outputs, name="word_language")
