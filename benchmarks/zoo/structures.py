"""Ways of putting a Keras model together, rather than architectures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

Shape = tuple[int, int, int]


def siamese(
    shape: Shape = (64, 64, 1), filters: tuple[int, ...] = (32, 64, 128), units: int = 128
) -> keras.Model:
    """Build one tower that is called on two pictures, and a decision on the distance of what it gives.

    After Koch et al. (2015), "Siamese Neural Networks for One-shot Image Recognition".

    Args:
        shape: height, width and channels.
        filters: of the tower's convolutions.
        units: size of what the tower gives.

    Returns:
        A functional model from `left` and `right` (batch, *shape) to `same` (batch, 1) in 0…1.
    """
    import keras
    from keras import layers, ops

    picture = keras.Input(shape)
    tower = keras.Model(picture, layers.Dense(units)(_convolutions(picture, filters)), name="tower")
    left, right = keras.Input(shape, name="left"), keras.Input(shape, name="right")
    distance = ops.absolute(layers.Subtract()([tower(left), tower(right)]))
    same = layers.Dense(1, activation="sigmoid", name="same")(distance)
    return keras.Model([left, right], same, name="siamese")


def multi_output(
    shape: Shape = (64, 64, 3), filters: tuple[int, ...] = (16, 32, 64), classes: int = 10
) -> keras.Model:
    """Build a detector of one object: what it is, where it is, and whether there is one.

    Args:
        shape: height, width and channels.
        filters: of the shared convolutions.
        classes: number of classes.

    Returns:
        A functional model from `image` (batch, *shape) to `category` (batch, classes), `box` (batch, 4) and
        `present` (batch, 1).
    """
    import keras
    from keras import layers

    image = keras.Input(shape, name="image")
    x = _convolutions(image, filters)
    category = layers.Dense(classes, activation="softmax", name="category")(x)
    box = layers.Dense(4, name="box")(layers.Dense(filters[-1], activation="relu")(x))
    present = layers.Dense(1, activation="sigmoid", name="present")(x)
    return keras.Model(image, [category, box, present], name="multi_output")


def nested(
    shape: Shape = (64, 64, 3), filters: tuple[int, ...] = (16, 32, 64), classes: int = 5
) -> keras.Model:
    """Build a head on a functional body in a Sequential model, as in transfer learning.

    Args:
        shape: height, width and channels.
        filters: of the body's convolutions.
        classes: number of classes.

    Returns:
        A Sequential model from `image` (batch, *shape) to `probabilities` (batch, classes).
    """
    import keras
    from keras import layers

    picture = keras.Input(shape)
    body = keras.Model(picture, _convolutions(picture, filters), name="body")
    return keras.Sequential(
        [
            keras.Input(shape, name="image"),
            body,
            layers.Dropout(0.3),
            layers.Dense(filters[-1], activation="relu"),
            layers.Dense(classes, activation="softmax", name="probabilities"),
        ],
        name="nested",
    )


def preprocessing(
    shape: Shape = (64, 64, 3), filters: tuple[int, ...] = (16, 32, 64), classes: int = 5
) -> keras.Model:
    """Build a net that augments and scales its pictures itself.

    Args:
        shape: height, width and channels.
        filters: of the convolutions.
        classes: number of classes.

    Returns:
        A functional model from `image` (batch, *shape) in 0…255 to `probabilities` (batch, classes). Its
        Normalization was adapted to 64 smooth pictures.
    """
    import keras
    import numpy as np
    from keras import layers

    from slimedge.benchmarks.zoo.inputs import smooth

    normalization = layers.Normalization()
    normalization.adapt(smooth(np.random.default_rng(0), (64, *shape)))
    image = keras.Input(shape, name="image")
    x = layers.RandomFlip("horizontal")(image)
    x = layers.RandomRotation(0.1)(x)
    x = layers.RandomZoom(0.2)(x)
    x = layers.RandomTranslation(0.1, 0.1)(x)
    x = normalization(layers.Rescaling(1 / 255)(x))
    probabilities = layers.Dense(classes, activation="softmax", name="probabilities")(
        _convolutions(x, filters)
    )
    return keras.Model(image, probabilities, name="preprocessing")


def mixed_precision(
    shape: Shape = (32, 32, 3), filters: tuple[int, ...] = (16, 32, 64), classes: int = 10
) -> keras.Model:
    """Build a residual net that computes in float16 and keeps its weights, and its output, in float32.

    After Micikevicius et al. (2018), "Mixed Precision Training". The policy is that of the layers; the
    global one stays as it is.

    Args:
        shape: height, width and channels.
        filters: of the blocks.
        classes: number of classes.

    Returns:
        A functional model from `image` (batch, *shape) to float32 `probabilities` (batch, classes).
    """
    import keras
    from keras import layers

    mixed = keras.DTypePolicy("mixed_float16")
    x = image = keras.Input(shape, name="image")
    for width in filters:
        shortcut = layers.Conv2D(width, 1, strides=2, dtype=mixed)(x)
        x = layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False, dtype=mixed)(x)
        x = layers.ReLU(dtype=mixed)(layers.BatchNormalization(dtype=mixed)(x))
        x = layers.Conv2D(width, 3, padding="same", use_bias=False, dtype=mixed)(x)
        x = layers.Add(dtype=mixed)([layers.BatchNormalization(dtype=mixed)(x), shortcut])
        x = layers.ReLU(dtype=mixed)(x)
    x = layers.GlobalAveragePooling2D(dtype=mixed)(x)
    x = layers.Dense(filters[-1], activation="relu", dtype=mixed)(x)
    probabilities = layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(image, probabilities, name="mixed_precision")


def channels_first(
    shape: Shape = (3, 32, 32), filters: tuple[int, ...] = (16, 32, 64), classes: int = 10
) -> keras.Model:
    """Build a residual net whose maps have their channels before height and width.

    TensorFlow's CPU kernels refuse its convolutions, eagerly, in a graph and in `predict`; compiled by XLA
    (`tf.function(jit_compile=True)`) or through `slimedge.benchmarks.zoo.calling.call` it runs there.

    Args:
        shape: channels, height and width.
        filters: of the blocks.
        classes: number of classes.

    Returns:
        A functional model from `image` (batch, *shape) to `probabilities` (batch, classes).
    """
    import keras
    from keras import layers

    first = "channels_first"

    def conv(x: Any, width: int, strides: int = 1) -> Any:
        x = layers.Conv2D(width, 3, strides=strides, padding="same", data_format=first, use_bias=False)(x)
        return layers.BatchNormalization(axis=1)(x)

    image = keras.Input(shape, name="image")
    x = layers.ReLU()(conv(image, filters[0]))
    for width in filters:
        x = layers.ReLU()(conv(x, width))
        x = layers.ReLU()(layers.Add()([x, conv(x, width)]))
        pooled = layers.MaxPooling2D(data_format=first)(x)
        x = layers.Concatenate(axis=1)([pooled, layers.ReLU()(conv(x, width // 2, strides=2))])
    means = layers.GlobalAveragePooling2D(data_format=first)(x)
    x = layers.Conv2D(6, 1, data_format=first, activation="relu")(x)
    x = layers.Dense(filters[-1], activation="relu")(layers.Flatten(data_format=first)(x))
    x = layers.Concatenate()([means, x])
    return keras.Model(
        image, layers.Dense(classes, activation="softmax", name="probabilities")(x), name=first
    )


def subclassed(shape: Shape = (32, 32, 3), filters: int = 32, classes: int = 10) -> keras.Model:
    """Build a subclass of keras.Model by calling it once.

    Args:
        shape: height, width and channels.
        filters: of every convolution.
        classes: number of classes.

    Returns:
        A model without symbolic inputs, from `image` (batch, *shape) to probabilities (batch, classes).
    """
    import numpy as np

    from slimedge.benchmarks.zoo.layers import ResidualClassifier

    model = ResidualClassifier(filters, classes, name="subclassed")
    model(np.zeros((1, *shape), np.float32))
    built: keras.Model = model
    return built


def _convolutions(x: Any, filters: tuple[int, ...]) -> Any:
    """Put convolutions of stride 2 with BatchNorm and ReLU on a tensor, and average them over the picture."""
    from keras import layers

    for width in filters:
        x = layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    return layers.GlobalAveragePooling2D()(x)
