"""Models of Dense layers on rows of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def linear_regression(features: int = 8) -> keras.Model:
    """Build y = w·x + b.

    Args:
        features: numbers in a row.

    Returns:
        A Sequential model from `features` (batch, features) to `target` (batch, 1).
    """
    import keras
    from keras import layers

    return keras.Sequential(
        [keras.Input((features,), name="features"), layers.Dense(1, name="target")], name="linear_regression"
    )


def binary_mlp(features: int = 10, widths: tuple[int, ...] = (64, 64)) -> keras.Model:
    """Build a multilayer perceptron for two classes.

    Args:
        features: numbers in a row.
        widths: sizes of the hidden layers.

    Returns:
        A Sequential model from `features` (batch, features) to `probability` (batch, 1).
    """
    import keras
    from keras import layers

    hidden = [layers.Dense(width, activation="relu") for width in widths]
    return keras.Sequential(
        [
            keras.Input((features,), name="features"),
            *hidden,
            layers.Dense(1, activation="sigmoid", name="probability"),
        ],
        name="binary_mlp",
    )
