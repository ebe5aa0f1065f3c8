"""The nets of keras.applications, with no downloaded weights, and narrow or shallow ones of each family."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

# Means and variances of ImageNet's channels in 0…1, which the published weights have in these layers.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_VARIANCE = (0.229**2, 0.224**2, 0.225**2)


def application(
    name: str,
    shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 1000,
    *,
    small: bool = False,
    **settings: Any,
) -> keras.Model:
    """Build a net of keras.applications, or one of its family that is small enough for a test.

    It ends in logits: the softmax of an untrained net is nearly uniform over a thousand classes, so that
    differences in it say nothing.

    A small one has fewer or narrower blocks where Keras has a general constructor of the family. Where it
    has none (VGG, Xception, Inception), the blocks are there with an eighth or a sixteenth of the channels:
    VGG's without its dense layers of 4096, Inception's up to one of the first blocks.

    Args:
        name: of the class, such as "ResNet50"; its Keras page names the paper.
        shape: height, width and channels.
        classes: number of classes.
        small: build a small one of the family.
        settings: further arguments of the class, or of the family's constructor here.

    Returns:
        A functional model from `image` (batch, *shape) to `predictions` (batch, classes).
    """
    import keras

    common = {
        "weights": None,
        "input_tensor": keras.Input(shape, name="image"),
        "input_shape": shape,
        "classes": classes,
        "classifier_activation": None,
    }
    constructor = _SMALL[name] if small else getattr(keras.applications, name)
    return _like_imagenet(constructor(**common, **settings))


def _like_imagenet(model: Any) -> keras.Model:
    """Give Normalization layers that were never adapted what the published weights have there."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.input_mean is None:
            layer.adapt_mean.assign(_IMAGENET_MEAN)
            layer.adapt_variance.assign(_IMAGENET_VARIANCE)
            layer.finalize_state()
    found: keras.Model = model
    return found


def _thin(name: str, factor: int, last: str = "") -> Callable[..., Any]:
    """Make a class's net with its channel counts divided by a number, up to a layer of that name or whole."""

    def build(classes: int, classifier_activation: None, **settings: Any) -> Any:
        import keras

        def thinner(layer: Any) -> Any:
            config = layer.get_config()
            if "filters" in config:
                config["filters"] //= factor
            return type(layer).from_config(config)

        end = last or "avg_pool"
        wide = _without_weights(lambda: getattr(keras.applications, name)(**settings))
        body = keras.Model(wide.inputs, wide.get_layer(end).output)
        body = keras.models.clone_model(body, clone_function=thinner)
        x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(body.outputs[0]) if last else body.outputs[0]
        head = keras.layers.Dense(classes, activation=classifier_activation, name="predictions")
        return keras.Model(body.inputs, head(x), name=f"{name.lower()}_small")

    return build


def _without_weights(build: Callable[[], Any]) -> Any:
    """Build a model only to look at: its variables have no values, which is most of the work."""
    import keras

    done = []

    def run() -> None:
        with keras.StatelessScope(initialize_variables=False):
            done.append(build())

    # Keras lists variables without a value per thread, and fills them later; the list ends with the thread.
    thread = threading.Thread(target=run, name="slimedge-architecture", daemon=True)
    thread.start()
    thread.join()
    return done[0]


def _resnet(
    blocks: tuple[int, ...] = (1, 2, 1),
    filters: tuple[int, ...] = (8, 16, 24),
    *,
    preactivation: bool = False,
    **settings: Any,
) -> Any:
    from keras.src.applications import resnet

    stack = resnet.stack_residual_blocks_v2 if preactivation else resnet.stack_residual_blocks_v1

    unstrided = len(blocks) - 1 if preactivation else 0

    def stacks(x: Any) -> Any:
        for number, (width, depth) in enumerate(zip(filters, blocks, strict=True)):
            x = stack(x, width, depth, stride1=1 if number == unstrided else 2, name=f"small{number}")
        return x

    return resnet.ResNet(stacks, preact=preactivation, use_bias=True, **settings, name="resnet_small")


def _resnet_v2(**settings: Any) -> Any:
    return _resnet((2, 2, 2), preactivation=True, **settings)


def _narrow(name: str, alpha: float) -> Callable[..., Any]:
    """Make a MobileNet with a width multiplier."""

    def build(**settings: Any) -> Any:
        import keras

        return getattr(keras.applications, name)(**settings, alpha=alpha)

    return build


def _densenet(blocks: tuple[int, ...] = (1, 2, 2, 1), **settings: Any) -> Any:
    from keras.src.applications import densenet

    return densenet.DenseNet(list(blocks), **settings, name="densenet_small")


def _nasnet(**settings: Any) -> Any:
    from keras.src.applications import nasnet

    return nasnet.NASNet(**settings, penultimate_filters=96, num_blocks=1, stem_block_filters=8)


def _efficientnet(width: float = 0.25, depth: float = 0.25, **settings: Any) -> Any:
    from keras.src.applications import efficientnet

    return efficientnet.EfficientNet(width, depth, 32, **settings, name="efficientnet_small")


def _efficientnet_v2(width: float = 0.25, depth: float = 0.25, **settings: Any) -> Any:
    from keras.src.applications import efficientnet_v2

    return efficientnet_v2.EfficientNetV2(width, depth, 32, **settings, name="efficientnetv2-b0")


def _convnext(**settings: Any) -> Any:
    from keras.src.applications import convnext

    return convnext.ConvNeXt([1, 1, 2, 1], [8, 16, 24, 32], **settings, name="convnext_small")


_SMALL: dict[str, Callable[..., Any]] = {
    "VGG16": _thin("VGG16", 8, "block5_pool"),
    "ResNet50": _resnet,
    "ResNet152": _resnet,
    "ResNet50V2": _resnet_v2,
    "InceptionV3": _thin("InceptionV3", 16, "mixed4"),
    "InceptionResNetV2": _thin("InceptionResNetV2", 16, "block35_3_ac"),
    "Xception": _thin("Xception", 8),
    "MobileNet": _narrow("MobileNet", 0.25),
    "MobileNetV2": _narrow("MobileNetV2", 0.35),
    "MobileNetV3Small": _narrow("MobileNetV3Small", 0.35),
    "DenseNet121": _densenet,
    "DenseNet201": _densenet,
    "NASNetMobile": _nasnet,
    "EfficientNetB0": _efficientnet,
    "EfficientNetB4": _efficientnet,
    "EfficientNetV2B0": _efficientnet_v2,
    "ConvNeXtTiny": _convnext,
}
