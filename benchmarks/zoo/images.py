"""Convolutional nets from and to pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def mnist_cnn(
    shape: tuple[int, int, int] = (28, 28, 1),
    filters: tuple[int, ...] = (32, 64, 64),
    units: int = 64,
    classes: int = 10,
) -> keras.Model:
    """Build the convolutional net that most tutorials begin with.

    After LeCun et al. (1998), "Gradient-Based Learning Applied to Document Recognition".

    Args:
        shape: height, width and channels.
        filters: of the convolutions; max pooling lies between them.
        units: of the hidden Dense layer.
        classes: number of classes.

    Returns:
        A Sequential model from `image` (batch, *shape) to `probabilities` (batch, classes).
    """
    import keras
    from keras import layers

    model = keras.Sequential([keras.Input(shape, name="image")], name="mnist_cnn")
    for number, width in enumerate(filters):
        if number:
            model.add(layers.MaxPooling2D())
        model.add(layers.Conv2D(width, 3, activation="relu"))
    model.add(layers.Flatten())
    model.add(layers.Dense(units, activation="relu"))
    model.add(layers.Dense(classes, activation="softmax", name="probabilities"))
    return model


def unet(
    shape: tuple[int, int, int] = (128, 128, 3), filters: tuple[int, ...] = (16, 32, 64, 128)
) -> keras.Model:
    """Build a U-Net with transposed convolutions and skip connections.

    After Ronneberger et al. (2015), "U-Net: Convolutional Networks for Biomedical Image Segmentation".

    Args:
        shape: height, width and channels; both sizes divisible by 2 to the number of filters less one.
        filters: of each level, from the top down.

    Returns:
        A functional model from `image` (batch, *shape) to `mask` (batch, height, width, 1) in 0…1.
    """
    import keras
    from keras import layers

    def twice(x: Any, width: int) -> Any:
        for _ in range(2):
            x = layers.Conv2D(width, 3, padding="same", activation="relu", kernel_initializer="he_normal")(x)
        return x

    x = image = keras.Input(shape, name="image")
    skips = []
    for width in filters[:-1]:
        skips.append(twice(x, width))
        x = layers.MaxPooling2D()(skips[-1])
    x = twice(x, filters[-1])
    for width, skip in zip(reversed(filters[:-1]), reversed(skips), strict=True):
        x = layers.Conv2DTranspose(width, 2, strides=2, padding="same")(x)
        x = twice(layers.Concatenate()([x, skip]), width)
    return keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x), name="unet")


def dcgan_generator(
    latent: int = 100, size: int = 4, filters: tuple[int, ...] = (256, 128, 64)
) -> keras.Model:
    """Build a DCGAN's generator: transposed convolutions with stride 2, of size 5 and at last of size 4.

    After Radford et al. (2016), "Unsupervised Representation Learning with Deep Convolutional Generative
    Adversarial Networks".

    Args:
        latent: numbers that a picture is made from.
        size: height and width of the first map.
        filters: of the first map, and of each one after it but the picture; each doubles height and width.

    Returns:
        A functional model from `latent` (batch, latent) to `picture` (batch, height, height, 3) in −1…1.
    """
    import keras
    from keras import layers

    noise = keras.Input((latent,), name="latent")
    x = layers.Dense(size * size * filters[0], use_bias=False)(noise)
    x = layers.LeakyReLU(0.2)(layers.BatchNormalization()(x))
    x = layers.Reshape((size, size, filters[0]))(x)
    for width in filters[1:]:
        x = layers.Conv2DTranspose(width, 5, strides=2, padding="same", use_bias=False)(x)
        x = layers.LeakyReLU(0.2)(layers.BatchNormalization()(x))
    picture = layers.Conv2DTranspose(3, 4, strides=2, padding="same", activation="tanh", name="picture")(x)
    return keras.Model(noise, picture, name="dcgan_generator")
