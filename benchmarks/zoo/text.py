"""Text classifiers on token ids: convolutional and recurrent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def text_cnn(
    vocabulary: int = 20_000, length: int = 400, width: int = 128, filters: int = 128, kernel: int = 5
) -> keras.Model:
    """Build a convolutional text classifier for two classes.

    After Kim (2014), "Convolutional Neural Networks for Sentence Classification".

    Args:
        vocabulary: number of token ids.
        length: tokens in a text.
        width: size of an embedding.
        filters: of both convolutions.
        kernel: tokens that a convolution sees.

    Returns:
        A functional model from int32 `token_ids` (batch, length) to `probability` (batch, 1).
    """
    import keras
    from keras import layers

    token_ids = keras.Input((length,), dtype="int32", name="token_ids")
    x = layers.Embedding(vocabulary, width)(token_ids)
    x = layers.Conv1D(filters, kernel, activation="relu")(x)
    x = layers.MaxPooling1D(kernel)(x)
    x = layers.Conv1D(filters, kernel, activation="relu")(x)
    x = layers.GlobalMaxPooling1D()(x)
    x = layers.Dropout(0.5)(layers.Dense(filters, activation="relu")(x))
    return keras.Model(
        token_ids, layers.Dense(1, activation="sigmoid", name="probability")(x), name="text_cnn"
    )


def text_recurrent(
    kind: str = "lstm",
    vocabulary: int = 10_000,
    length: int = 80,
    width: int = 128,
    units: int = 128,
    classes: int = 3,
) -> keras.Model:
    """Build a recurrent text classifier.

    After Hochreiter and Schmidhuber (1997), "Long Short-Term Memory"; Cho et al. (2014), "Learning Phrase
    Representations using RNN Encoder-Decoder" (GRU); Schuster and Paliwal (1997), "Bidirectional
    Recurrent Neural Networks".

    Args:
        kind: "lstm"; "gru", which also masks the id 0; "bidirectional", an LSTM both ways; or "stacked",
            three LSTMs.
        vocabulary: number of token ids.
        length: tokens in a text.
        width: size of an embedding.
        units: of each recurrent layer.
        classes: number of classes.

    Returns:
        A functional model from int32 `token_ids` (batch, length) to `probabilities` (batch, classes).
    """
    import keras
    from keras import layers

    recurrent: dict[str, list[Any]] = {
        "lstm": [layers.LSTM(units)],
        "gru": [layers.GRU(units)],
        "bidirectional": [layers.Bidirectional(layers.LSTM(units))],
        "stacked": [*(layers.LSTM(units, return_sequences=True) for _ in range(2)), layers.LSTM(units)],
    }
    token_ids = keras.Input((length,), dtype="int32", name="token_ids")
    x = layers.Embedding(vocabulary, width, mask_zero=kind == "gru")(token_ids)
    for layer in recurrent[kind]:
        x = layer(x)
    probabilities = layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(token_ids, probabilities, name=f"text_{kind}")
