"""The small classifiers that slimedge is measured on: ResNet-8, a depthwise-separable net, and an LSTM.

ResNet-8 follows MLPerf Tiny's image-classification model (Banbury et al., 2021, "MLPerf Tiny
Benchmark"); the depthwise-separable net follows MobileNetV1 (Howard et al., 2017).
The LSTM (Hochreiter and Schmidhuber, 1997) reads a word letter by letter.
"""

from __future__ import annotations

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
        x = layers.DepthwiseConv2D(
            3,
            strides=strides,
            padding="same",
            use_bias=False,
            depthwise_initializer="he_normal",
            name=f"block{block}_depthwise",
        )(x)
        x = layers.BatchNormalization(name=f"block{block}_depthwise_bn")(x)
        x = layers.ReLU(6.0, name=f"block{block}_depthwise_relu")(x)
        x = _conv_bn(x, filters, 1, 1, f"block{block}_pointwise")
        x = layers.ReLU(6.0, name=f"block{block}_pointwise_relu")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(image, outputs, name="depthwise_separable")


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
