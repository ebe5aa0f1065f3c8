"""The zoo's models as data: a row for each, with its constructor's arguments at both sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from slimedge.registry import Registry

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class Row:
    """One model of the zoo.

    Attributes:
        name: unique, in snake_case.
        title: for a table.
        family: what its kind is called.
        constructor: `"module:function"`.
        full: keyword arguments of the constructor at full size.
        small: keyword arguments at the size that tests build in a second or two.
        basic: part of the shorter list, of the models that everybody tries first.
    """

    name: str
    title: str
    family: str
    constructor: str
    full: Mapping[str, Any]
    small: Mapping[str, Any]
    basic: bool = False


def row(name: str) -> Row:
    """Find a row.

    Raises:
        InputError: there is none of that name; it lists the names that there are.
    """
    Registry("zoo model", {one.name: one.constructor for one in ROWS}).check(name)
    return next(one for one in ROWS if one.name == name)


def build(row: Row, *, small: bool = False, seed: int = 0) -> keras.Model:
    """Build a row's model, with seeded weights that are scaled as `well_scaled` says.

    Args:
        row: any.
        small: at the size for tests.
        seed: of all weights; the same seed gives the same.

    Returns:
        A built model, not compiled.
    """
    from slimedge.benchmarks.zoo.scaling import well_scaled
    from slimedge.compress.fresh_weights import seeded

    constructor = Registry("constructor", {row.name: row.constructor})[row.name]
    with seeded(seed):
        model: keras.Model = constructor(**(row.small if small else row.full))
    return well_scaled(model, seed)


def _row(
    name: str, title: str, family: str, constructor: str, full: Mapping[str, Any], /, **small: Any
) -> Row:
    return Row(name, title, family, f"slimedge.benchmarks.zoo.{constructor}", full, small)


def _application(kind: str, family: str, size: int = 32, *, name: str = "", **small: Any) -> Row:
    """Describe a net of keras.applications; `small` are settings of its family's small constructor."""
    # Where 75 or 71 pixels are the least, they are for the small one, too.
    least = size if size < _LARGE else 64
    return _row(
        name or kind.lower(),
        f"{kind}, {size}×{size}",
        family,
        "applications:application",
        {"name": kind, "shape": (size, size, 3)},
        **{"name": kind, "shape": (least, least, 3), "classes": 10, "small": True, **small},
    )


_LARGE = 160
_TEXT = {"vocabulary": 50, "length": 12, "width": 8}
_PICTURE = {"shape": (16, 16, 3), "filters": (4, 8)}

_BASIC: tuple[Row, ...] = (
    _row("linear_regression", "Linear regression", "Dense", "dense:linear_regression", {}),
    _row("binary_mlp", "MLP, two classes", "Dense", "dense:binary_mlp", {}, widths=(16, 16)),
    _row("mnist_cnn", "MNIST CNN", "CNN", "images:mnist_cnn", {}, filters=(4, 8, 8), units=8),
    _row(
        "text_cnn", "Text CNN", "Text CNN", "text:text_cnn", {}, vocabulary=50, length=40, width=8, filters=8
    ),
    _row(
        "text_lstm",
        "Text LSTM",
        "LSTM",
        "text:text_recurrent",
        {"kind": "lstm"},
        kind="lstm",
        units=8,
        **_TEXT,
    ),
    _row(
        "text_gru",
        "Text GRU, masked",
        "GRU",
        "text:text_recurrent",
        {"kind": "gru"},
        kind="gru",
        units=8,
        **_TEXT,
    ),
    _row(
        "text_bidirectional_lstm",
        "Text LSTM, bidirectional",
        "Bidirectional LSTM",
        "text:text_recurrent",
        {"kind": "bidirectional"},
        kind="bidirectional",
        units=8,
        **_TEXT,
    ),
    _row(
        "text_stacked_lstm",
        "Text LSTM, three layers",
        "Stacked LSTM",
        "text:text_recurrent",
        {"kind": "stacked"},
        kind="stacked",
        units=8,
        **_TEXT,
    ),
    _application("VGG16", "VGG"),
    _application("ResNet50", "ResNet v1"),
    _application("ResNet152", "ResNet v1", blocks=(2, 4, 2)),
    _application("ResNet50V2", "ResNet v2"),
    _application("InceptionV3", "Inception", 75),
    _application("InceptionResNetV2", "Inception", 75),
    _application("Xception", "Xception", 71),
    _application("MobileNet", "MobileNet v1"),
    _application("MobileNetV2", "MobileNet v2"),
    _application("MobileNetV3Small", "MobileNet v3"),
    _application("DenseNet121", "DenseNet"),
    _application("DenseNet201", "DenseNet", blocks=(2, 3, 5, 3)),
    _application("NASNetMobile", "NASNet"),
    _application("EfficientNetB0", "EfficientNet"),
    _application("EfficientNetB4", "EfficientNet", depth=0.4),
    _application("EfficientNetV2B0", "EfficientNet v2"),
    _application("ConvNeXtTiny", "ConvNeXt"),
    _application("MobileNetV2", "MobileNet v2", 224, name="mobilenetv2_224"),
    _application("ResNet50", "ResNet v1", 224, name="resnet50_224"),
    _application("EfficientNetB0", "EfficientNet", 160, name="efficientnetb0_160"),
    _application("VGG16", "VGG", 224, name="vgg16_224"),
    _row(
        "tiny_resnet8",
        "MLPerf-Tiny-like ResNet-8",
        "MLPerf Tiny",
        "tiny:image_classification",
        {},
        shape=(16, 16, 3),
    ),
    _row(
        "tiny_ds_cnn",
        "MLPerf-Tiny-like DS-CNN",
        "MLPerf Tiny",
        "tiny:keyword_spotting",
        {},
        shape=(20, 10, 1),
        filters=8,
        blocks=2,
    ),
    _row(
        "tiny_mobilenet_v1",
        "MLPerf-Tiny-like MobileNetV1-0.25",
        "MLPerf Tiny",
        "tiny:visual_wake_words",
        {},
        shape=(32, 32, 3),
        blocks=4,
    ),
    _row(
        "tiny_autoencoder",
        "MLPerf-Tiny-like autoencoder",
        "MLPerf Tiny",
        "tiny:anomaly_detection",
        {},
        features=40,
        width=16,
        depth=2,
    ),
)

_FURTHER: tuple[Row, ...] = (
    _row("unet", "U-Net", "U-Net", "images:unet", {}, shape=(32, 32, 3), filters=(4, 8, 8)),
    _row(
        "dcgan_generator",
        "DCGAN generator",
        "GAN",
        "images:dcgan_generator",
        {},
        latent=16,
        filters=(8, 8, 4),
    ),
    _row(
        "wavenet",
        "WaveNet",
        "WaveNet",
        "sequences:wavenet",
        {},
        length=48,
        channels=4,
        dilations=(1, 2, 4),
        levels=8,
    ),
    _row("tcn", "TCN", "TCN", "sequences:temporal_conv_net", {}, shape=(32, 4), channels=8, dilations=(1, 2)),
    _row(
        "bert_like",
        "BERT-like encoder",
        "Transformer",
        "transformers:bert_like",
        {},
        heads=2,
        depth=1,
        **_TEXT,
    ),
    _row(
        "gpt_like", "GPT-like decoder", "Transformer", "transformers:gpt_like", {}, heads=2, depth=1, **_TEXT
    ),
    _row(
        "vit",
        "ViT",
        "Transformer",
        "transformers:vision_transformer",
        {},
        shape=(16, 16, 3),
        width=8,
        heads=2,
        depth=1,
    ),
    _row(
        "wide_and_deep",
        "Wide & Deep",
        "Recommender",
        "recommenders:wide_and_deep",
        {},
        columns={"education": 16, "zip_code": 40},
        width=4,
        units=(16, 8),
    ),
    _row(
        "matrix_factorization",
        "Matrix factorization",
        "Recommender",
        "recommenders:matrix_factorization",
        {},
        users=30,
        items=20,
        factors=8,
    ),
    _row(
        "siamese", "Siamese", "Siamese", "structures:siamese", {}, shape=(16, 16, 1), filters=(4, 8), units=8
    ),
    _row("multi_output", "Several outputs", "Multi-output", "structures:multi_output", {}, **_PICTURE),
    _row("nested", "Functional in Sequential", "Nested", "structures:nested", {}, **_PICTURE),
    _row(
        "preprocessing", "Preprocessing inside", "Preprocessing", "structures:preprocessing", {}, **_PICTURE
    ),
    _row("mixed_precision", "mixed_float16", "Mixed precision", "structures:mixed_precision", {}, **_PICTURE),
    _row(
        "channels_first",
        "Channels first",
        "Channels first",
        "structures:channels_first",
        {},
        shape=(3, 16, 16),
        filters=(4, 8),
    ),
    _row(
        "subclassed",
        "Subclass of keras.Model",
        "Subclassed",
        "structures:subclassed",
        {},
        shape=(16, 16, 3),
        filters=8,
    ),
)

ROWS: tuple[Row, ...] = (*(replace(one, basic=True) for one in _BASIC), *_FURTHER)
