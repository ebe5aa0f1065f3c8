"""Transformers: an encoder of text, a decoder of text, an encoder of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def bert_like(
    vocabulary: int = 30_522,
    length: int = 128,
    width: int = 256,
    heads: int = 4,
    depth: int = 4,
    classes: int = 2,
) -> keras.Model:
    """Build an encoder with a classifier on its first token; by default of BERT-mini's size.

    After Devlin et al. (2019), "BERT: Pre-training of Deep Bidirectional Transformers for Language
    Understanding"; normalization follows each addition, as there.

    Args:
        vocabulary: number of token ids.
        length: tokens in a text.
        width: of a token.
        heads: of the attention.
        depth: number of blocks.
        classes: number of classes.

    Returns:
        A functional model from int32 `token_ids` (batch, length) to logits `classes` (batch, classes).
    """
    import keras
    from keras import layers

    from slimedge.benchmarks.zoo.layers import AddPositions

    token_ids = keras.Input((length,), dtype="int32", name="token_ids")
    x = layers.Embedding(vocabulary, width)(token_ids)
    x = layers.LayerNormalization(epsilon=1e-12)(AddPositions()(x))
    for _ in range(depth):
        attended = layers.MultiHeadAttention(heads, width // heads, dropout=0.1)(x, x)
        x = layers.LayerNormalization(epsilon=1e-12)(layers.Add()([x, attended]))
        x = layers.LayerNormalization(epsilon=1e-12)(layers.Add()([x, _feed_forward(x, width)]))
    pooled = layers.Dense(width, activation="tanh", name="pooler")(x[:, 0])
    return keras.Model(token_ids, layers.Dense(classes, name="classes")(pooled), name="bert_like")


def gpt_like(
    vocabulary: int = 8000, length: int = 128, width: int = 256, heads: int = 4, depth: int = 4
) -> keras.Model:
    """Build a decoder that predicts each token from those before it.

    After Radford et al. (2019), "Language Models are Unsupervised Multitask Learners" (GPT-2);
    normalization comes before each block, as there.

    Args:
        vocabulary: number of token ids.
        length: tokens in a text.
        width: of a token.
        heads: of the attention.
        depth: number of blocks.

    Returns:
        A functional model from int32 `token_ids` (batch, length) to logits `next_token` (batch, length,
        vocabulary).
    """
    import keras
    from keras import layers, ops

    token_ids = keras.Input((length,), dtype="int32", name="token_ids")
    positions = ops.zeros_like(token_ids) + ops.arange(length, dtype="int32")
    x = layers.Embedding(vocabulary, width, name="tokens")(token_ids)
    x = layers.Add()([x, layers.Embedding(length, width, name="positions")(positions)])
    for _ in range(depth):
        y = layers.LayerNormalization(epsilon=1e-5)(x)
        y = layers.MultiHeadAttention(heads, width // heads)(y, y, use_causal_mask=True)
        x = layers.Add()([x, y])
        x = layers.Add()([x, _feed_forward(layers.LayerNormalization(epsilon=1e-5)(x), width)])
    x = layers.LayerNormalization(epsilon=1e-5)(x)
    return keras.Model(
        token_ids, layers.Dense(vocabulary, use_bias=False, name="next_token")(x), name="gpt_like"
    )


def vision_transformer(
    shape: tuple[int, int, int] = (32, 32, 3),
    patch: int = 4,
    width: int = 192,
    heads: int = 3,
    depth: int = 12,
    classes: int = 10,
) -> keras.Model:
    """Build a vision transformer with a class token; by default ViT-Ti, on CIFAR's pictures.

    After Dosovitskiy et al. (2021), "An Image is Worth 16x16 Words", figure 1.

    Args:
        shape: height, width and channels.
        patch: height and width of a patch, which divide those of the picture.
        width: of a token.
        heads: of the attention.
        depth: number of blocks.
        classes: number of classes.

    Returns:
        A functional model from `image` (batch, *shape) to logits `classes` (batch, classes).
    """
    import keras
    from keras import layers

    from slimedge.benchmarks.zoo.layers import AddPositions, PrependClassToken

    image = keras.Input(shape, name="image")
    x = layers.Conv2D(width, patch, strides=patch, name="patches")(image)
    x = layers.Reshape((-1, width))(x)
    x = AddPositions()(PrependClassToken()(x))
    for _ in range(depth):
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        x = layers.Add()([x, layers.MultiHeadAttention(heads, width // heads)(y, y)])
        x = layers.Add()([x, _feed_forward(layers.LayerNormalization(epsilon=1e-6)(x), width)])
    x = layers.LayerNormalization(epsilon=1e-6)(x[:, 0])
    return keras.Model(image, layers.Dense(classes, name="classes")(x), name="vision_transformer")


def _feed_forward(x: Any, width: int) -> Any:
    from keras import layers

    return layers.Dense(width)(layers.Dense(4 * width, activation="gelu")(x))
