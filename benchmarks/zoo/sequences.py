"""Dilated causal convolutions over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def wavenet(
    length: int = 1024,
    channels: int = 32,
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128) * 2,
    levels: int = 256,
) -> keras.Model:
    """Build a WaveNet: gated dilated causal convolutions with residual and skip connections.

    After van den Oord et al. (2016), "WaveNet: A Generative Model for Raw Audio", eq. 2 and figure 4.

    Args:
        length: samples.
        channels: of the residual path and the gates; the skip path has twice as many.
        dilations: of the layers, in order.
        levels: of a sample (µ-law).

    Returns:
        A functional model from `audio` (batch, length, 1) to logits `levels` (batch, length, levels).
    """
    import keras
    from keras import layers

    audio = keras.Input((length, 1), name="audio")
    x = layers.Conv1D(channels, 2, padding="causal")(audio)
    skips = []
    for dilation in dilations:
        filtered = layers.Conv1D(channels, 2, dilation_rate=dilation, padding="causal", activation="tanh")(x)
        gate = layers.Conv1D(channels, 2, dilation_rate=dilation, padding="causal", activation="sigmoid")(x)
        gated = layers.Multiply()([filtered, gate])
        skips.append(layers.Conv1D(2 * channels, 1)(gated))
        x = layers.Add()([x, layers.Conv1D(channels, 1)(gated)])
    x = layers.ReLU()(layers.Add()(skips))
    x = layers.Conv1D(2 * channels, 1, activation="relu")(x)
    return keras.Model(audio, layers.Conv1D(levels, 1, name="levels")(x), name="wavenet")


def temporal_conv_net(
    shape: tuple[int, int] = (128, 9),
    channels: int = 64,
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16),
    classes: int = 6,
) -> keras.Model:
    """Build a temporal convolutional net of residual blocks, on windows of sensor readings.

    After Bai et al. (2018), "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for
    Sequence Modeling", figure 1.

    Args:
        shape: time steps and sensors.
        channels: of every convolution.
        dilations: of the blocks, in order.
        classes: number of classes.

    Returns:
        A functional model from `signal` (batch, *shape) to `probabilities` (batch, classes).
    """
    import keras
    from keras import layers

    def block(x: Any, dilation: int) -> Any:
        y = x
        for _ in range(2):
            y = layers.Conv1D(channels, 3, dilation_rate=dilation, padding="causal", activation="relu")(y)
            y = layers.SpatialDropout1D(0.1)(y)
        if x.shape[-1] != channels:
            x = layers.Conv1D(channels, 1)(x)
        return layers.ReLU()(layers.Add()([x, y]))

    x = signal = keras.Input(shape, name="signal")
    for dilation in dilations:
        x = block(x, dilation)
    x = layers.GlobalAveragePooling1D()(x)
    probabilities = layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(signal, probabilities, name="temporal_conv_net")
