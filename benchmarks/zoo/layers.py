"""Layers and a model class of the zoo's own, as users write them."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="slimedge_zoo")
class AddPositions(layers.Layer):
    """Adds a learned vector for each position.

    Args:
        settings: of the Keras layer.

    Call arguments:
        inputs: (batch, positions, width), both sizes fixed.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.table: Any = None

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make one vector for each position."""
        self.table = layers.Embedding(input_shape[1], input_shape[2], name="table")
        self.table.build((input_shape[1],))

    def call(self, inputs: Any) -> Any:
        """Give the sum."""
        return inputs + self.table(ops.arange(inputs.shape[1]))


@keras.saving.register_keras_serializable(package="slimedge_zoo")
class PrependClassToken(layers.Layer):
    """Puts a learned token before the others.

    Args:
        settings: of the Keras layer.

    Call arguments:
        inputs: (batch, tokens, width).
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.token: Any = None

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the token."""
        started = keras.initializers.RandomNormal(stddev=0.5)
        self.token = self.add_weight(shape=(1, 1, input_shape[2]), initializer=started, name="token")

    def call(self, inputs: Any) -> Any:
        """Give one token more: (batch, 1 + tokens, width)."""
        token = ops.tile(self.token, (ops.shape(inputs)[0], 1, 1))
        return ops.concatenate([ops.cast(token, inputs.dtype), inputs], axis=1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Give the shape with one token more."""
        batch, tokens, width = input_shape
        return batch, None if tokens is None else tokens + 1, width


@keras.saving.register_keras_serializable(package="slimedge_zoo")
class ResidualClassifier(keras.Model):
    """A small residual net as a subclass of keras.Model, whose graph is in its `call`.

    Args:
        filters: of every convolution.
        classes: number of classes.
        settings: of the Keras model.

    Call arguments:
        image: (batch, height, width, channels).
    """

    def __init__(self, filters: int = 32, classes: int = 10, **settings: Any) -> None:
        super().__init__(**settings)
        self.filters, self.classes = filters, classes
        self.stem = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu", name="stem")
        self.first = layers.Conv2D(filters, 3, padding="same", name="first")
        self.normalize = layers.BatchNormalization(name="normalize")
        self.second = layers.Conv2D(filters, 3, padding="same", name="second")
        self.pool = layers.GlobalAveragePooling2D(name="pool")
        self.drop = layers.Dropout(0.2, name="drop")
        self.head = layers.Dense(classes, activation="softmax", name="probabilities")

    def call(self, image: Any, training: bool | None = None) -> Any:
        """Give the probabilities (batch, classes)."""
        x = self.stem(image)
        y = ops.relu(self.normalize(self.first(x), training=training))
        x = ops.relu(x + self.second(y))
        return self.head(self.drop(self.pool(x), training=training))

    def get_config(self) -> dict[str, Any]:
        """Give the arguments."""
        return {**super().get_config(), "filters": self.filters, "classes": self.classes}
