"""Which models TFMOT trains, and why it refuses the others: the bundled nets, and families of the zoo, small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from slimedge.benchmarks.demo import FOLDER
from slimedge.data import Data
from slimedge.errors import InputError

if TYPE_CHECKING:
    import keras

BUNDLED = ("resnet8", "depthwise_separable", "mobilenet_v3", "dense_autoencoder")
ROWS = (
    "vgg16",
    "resnet50",
    "resnet50v2",
    "inceptionv3",
    "xception",
    "mobilenet",
    "mobilenetv2",
    "mobilenetv3small",
    "densenet121",
    "nasnetmobile",
    "efficientnetb0",
    "efficientnetv2b0",
    "convnexttiny",
    "unet",
    "text_cnn",
    "bert_like",
    "vit",
)
MODELS = (*BUNDLED, *ROWS)
EXAMPLES = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a model.

    Attributes:
        model: a bundled net or a row of the zoo.
        refusal: why TFMOT does not train it; None where it does.
    """

    model: str
    refusal: str | None


def asked(name: str) -> Answer:
    """Let TFMOT train a model for a step.

    Args:
        name: one of `MODELS`.
    """
    from slimedge.benchmarks.zoo.inputs import examples
    from slimedge.compress.training import train
    from slimedge.keras_file import input_specs

    model = _model(name)
    data = Data.load({key: np.asarray(array) for key, array in examples(model, EXAMPLES).items()})
    try:
        train(model, data.bind(input_specs(model), checks="types"), batch_size=EXAMPLES, engine="tfmot")
    except InputError as error:
        return Answer(name, str(error))
    return Answer(name, None)


def _model(name: str) -> keras.Model:
    from slimedge.benchmarks.zoo.rows import build, row
    from slimedge.keras_file import load_model

    return load_model(FOLDER / f"{name}.keras") if name in BUNDLED else build(row(name), small=True)
