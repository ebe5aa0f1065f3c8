"""Examples bound to a model, for methods that train it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimedge.keras_file import input_specs, output_specs
from slimedge.preprocessing import starts_with_preprocessing

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data


def bound_to(model: keras.Model, data: Data) -> Data:
    """Give data bound to a model's inputs and outputs; data that is bound already is given as it is.

    Raises:
        InputError: it does not fit the model.
    """
    if data.is_bound:
        return data
    return data.bind(
        input_specs(model), preprocessing=starts_with_preprocessing(model), outputs=output_specs(model)
    )
