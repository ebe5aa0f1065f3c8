"""Recommenders: embeddings of ids, beside numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

_CENSUS = {"education": 16, "occupation": 15, "country": 42, "zip_code": 1000}


def wide_and_deep(
    columns: Mapping[str, int] = _CENSUS,
    numbers: int = 6,
    width: int = 16,
    units: tuple[int, ...] = (256, 128, 64),
) -> keras.Model:
    """Build a linear model and a multilayer perceptron that are trained together.

    After Cheng et al. (2016), "Wide & Deep Learning for Recommender Systems".

    Args:
        columns: name of each categorical column to the number of its ids.
        numbers: numeric columns.
        width: size of the deep part's embeddings.
        units: of the deep part's hidden layers.

    Returns:
        A functional model from an int32 input (batch, 1) for each column and `numeric` (batch, numbers) to
        `probability` (batch, 1).
    """
    import keras
    from keras import layers

    numeric = keras.Input((numbers,), name="numeric")
    ids = [keras.Input((1,), dtype="int32", name=name) for name in columns]
    pairs = list(zip(ids, columns.values(), strict=True))
    wide = [layers.Flatten()(layers.Embedding(rows, 1)(column)) for column, rows in pairs]
    deep = [layers.Flatten()(layers.Embedding(rows, width)(column)) for column, rows in pairs]
    x = layers.Concatenate()([*deep, numeric])
    for size in units:
        x = layers.Dense(size, activation="relu")(x)
    logit = layers.Add()([*wide, layers.Dense(1)(numeric), layers.Dense(1)(x)])
    probability = layers.Activation("sigmoid", name="probability")(logit)
    return keras.Model([*ids, numeric], probability, name="wide_and_deep")


def matrix_factorization(users: int = 6040, items: int = 3706, factors: int = 64) -> keras.Model:
    """Build the product of a user's and an item's factors, plus a bias of each.

    After Koren et al. (2009), "Matrix Factorization Techniques for Recommender Systems", eq. 4.

    Args:
        users: number of user ids.
        items: number of item ids.
        factors: size of both embeddings.

    Returns:
        A functional model from int32 `user` and `item` (batch, 1) to `rating` (batch, 1).
    """
    import keras
    from keras import layers

    user = keras.Input((1,), dtype="int32", name="user")
    item = keras.Input((1,), dtype="int32", name="item")
    both = [
        layers.Flatten()(layers.Embedding(rows, factors)(given))
        for given, rows in ((user, users), (item, items))
    ]
    biases = [
        layers.Flatten()(layers.Embedding(rows, 1)(given)) for given, rows in ((user, users), (item, items))
    ]
    rating = layers.Add(name="rating")([layers.Dot(axes=1)(both), *biases])
    return keras.Model([user, item], rating, name="matrix_factorization")
