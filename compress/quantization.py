"""Post-training quantization: one call, and one registered function for each scheme."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from slimedge.canonical import canonical
from slimedge.compress.layer_bits import LayerBits, check_layer_bits
from slimedge.compress.methods import METHODS
from slimedge.compress.observers import maker
from slimedge.compress.settings import Settings
from slimedge.errors import InputError
from slimedge.keras_file import input_specs
from slimedge.lineage import lineage_of, quantization_of
from slimedge.preprocessing import starts_with_preprocessing
from slimedge.registry import Registry
from slimedge.weight_rounding import FOUR_BITS, SMALLEST_BLOCK

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data

SCHEMES = Registry(
    "scheme",
    {
        "auto": "slimedge.compress.choosing:auto",
        "static_wi8_ai8": "slimedge.compress.static:static_wi8_ai8",
        "static_wi4_ai8": "slimedge.compress.static:static_wi4_ai8",
        "static_wi8_ai16": "slimedge.compress.static:static_wi8_ai16",
        "dynamic_wi8_afp32": "slimedge.compress.weight_only:dynamic_wi8_afp32",
        "weight_only_wi8_afp32": "slimedge.compress.weight_only:weight_only_wi8_afp32",
        "weight_only_wi4_afp32": "slimedge.compress.weight_only:weight_only_wi4_afp32",
        "fp16": "slimedge.compress.weight_only:fp16",
    },
)
STATIC_INT8 = "static_wi8_ai8"
GRANULARITIES = ("per_channel", "per_tensor")


@dataclass(frozen=True, slots=True)
class Quantize:
    """The stage of `quantize`.

    Args:
        scheme: a name in `SCHEMES`.
        observer: as of `quantize`.
        observers: likewise.
        exclude: names of layers that stay float.
        methods: names in `slimedge.compress.methods.METHODS`, in their order.
        granularity: `per_channel` or `per_tensor` scales of kernels.
        block_size: how many 4-bit weights share a scale.
        bits: as of `quantize`.
    """

    scheme: str = "auto"
    observer: str = "minmax"
    observers: Mapping[str, str] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    granularity: str = "per_channel"
    block_size: int | None = None
    bits: LayerBits = field(default_factory=dict)

    def __call__(self, model: keras.Model, data: Data, /) -> keras.Model:
        """Quantize a model; see `quantize`."""
        return quantize(model, data, **self.settings())

    def check(self) -> None:
        """Refuse settings that no model can be quantized with.

        Raises:
            InputError: one is outside of what is allowed.
        """
        SCHEMES.check(self.scheme)
        for name in (self.observer, *self.observers.values()):
            maker(name)
        for name in self.methods:
            METHODS.check(name)
        if self.granularity not in GRANULARITIES:
            raise InputError(f"granularity is '{self.granularity}'; it can be {' or '.join(GRANULARITIES)}.")
        _check_blocks(self.scheme, self.block_size)
        check_layer_bits(self.bits)

    def settings(self) -> dict[str, Any]:
        """Give the arguments of `quantize`."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def quantize(
    model: keras.Model,
    data: Data,
    *,
    scheme: str = "auto",
    observer: str = "minmax",
    observers: Mapping[str, str] | None = None,
    exclude: Collection[str] = (),
    methods: Sequence[str] = (),
    granularity: str = "per_channel",
    block_size: int | None = None,
    bits: LayerBits | None = None,
    progress: Callable[[int], None] | None = None,
) -> keras.Model:
    """Quantize a trained model after training.

    `static_wi8_ai8`: BatchNorm is folded, every activation of an integer layer gets a fake-quant with a calibrated
    range, and every kernel one scale per output channel. `static_wi4_ai8`: the same with kernels of 4 bits, which need
    a method such as `adaround`. `static_wi8_ai16`: that of 8 bits with activations of 16 bits around 0.
    `weight_only_wi8_afp32`: every large weight is rounded to 8 bits, with a scale per
    channel, and computing stays in float. `dynamic_wi8_afp32`: the same weights, and the runtimes round activations as
    they run. `weight_only_wi4_afp32`: every large weight is rounded to 4 bits, with a scale per output channel or per
    block. `fp16`: every large weight is rounded to float16. `auto`: static for
    convolutional and dense nets, weight-only for recurrent and attention ones; the lineage says which and why.

    Layers that are not understood stay float and are listed with their reason in the model's lineage
    (`slimedge.lineage.lineage_of`).

    Args:
        model: functional, Sequential, nested, or a subclass that was called once; it stays as it is. One that
            computes in half precision or with channels first is quantized in float32 and with channels last.
        data: calibration examples, bound to the model's inputs or bindable to them; all are used.
        scheme: a name in `SCHEMES`.
        observer: how ranges are found: `minmax`, `moving_average`, `percentile`, `entropy` or `mse`, with a setting
            as in `percentile:99.9`.
        observers: likewise for single tensors, by pattern (`{"conv_*": "mse"}`) of the name of the layer that makes
            the tensor, or of the model input that it is; the first one that fits counts.
        exclude: names of layers that stay float; that of a nested model stands for all in it.
        methods: names in `slimedge.compress.methods.METHODS` that make static quantization more exact, in the order
            in which they are applied.
        granularity: of the scales of kernels in static quantization, `per_channel` or `per_tensor`.
        block_size: how many 4-bit weights along the axis that a product sums over share a scale, 16 or more; None for a
            scale per output channel. Convolutions, and an axis that is no multiple of it, keep that.
        bits: of the weights of single layers in static quantization, 2 to 8, 16 for weights of 8 between activations of
            16, or `float`, by pattern of their names (`{"conv_*": 4, "dense": "float"}`); the first one that fits
            counts.
        progress: told the number of examples after each calibration batch.

    Returns:
        An ordinary Keras 3 model with the same inputs, outputs and names.

    Raises:
        InputError: no such scheme, observer, tensor or layer; data that does not fit; a model without a
            functional graph, without a layer that can be quantized, or quantized before.
        CheckError: a layer that computes something else when it is made again from its config and weights.
    """
    asked = Quantize(
        scheme,
        observer,
        dict(observers or {}),
        tuple(exclude),
        tuple(methods),
        granularity,
        block_size,
        dict(bits or {}),
    )
    asked.check()
    method = SCHEMES[scheme]
    model = canonical(model)
    check_float(model, exclude)
    bound = (
        data
        if data.is_bound
        else data.bind(input_specs(model), preprocessing=starts_with_preprocessing(model))
    )
    settings = Settings(
        observer=observer,
        observers=asked.observers,
        exclude=with_nested(model, exclude),
        methods=asked.methods,
        granularity=granularity,
        progress=progress,
        block_size=block_size,
        bits=asked.bits,
    )
    quantized: keras.Model = method(model, bound, settings)
    return quantized


def _check_blocks(scheme: str, block_size: int | None) -> None:
    if block_size is None:
        return
    if scheme != FOUR_BITS:
        raise InputError(
            f"a block size of {block_size} was given with the scheme {scheme}; blocks are for {FOUR_BITS}, leave the "
            "block size out or take that scheme."
        )
    if block_size < SMALLEST_BLOCK:
        raise InputError(
            f"the block size is {block_size}; it can be {SMALLEST_BLOCK} or more, 32 is usual: the scales of smaller "
            "blocks take more bytes than four bits save."
        )


def check_float(model: keras.Model, exclude: Collection[str] = ()) -> None:
    """Refuse a model that cannot be quantized again, and names of layers that it has not.

    Raises:
        InputError: it is quantized already, or a name in `exclude` is not a layer's.
    """
    if is_quantized(model):
        raise InputError(f"model '{model.name}' is quantized already; quantize the float model instead.")
    known = {layer.name for layer in model._flatten_layers(include_self=False)}
    unknown = sorted(set(exclude) - known)
    if unknown:
        raise InputError(
            f"there is no layer '{unknown[0]}' to exclude in model '{model.name}'; "
            "`slimedge inspect` lists the layers."
        )


def is_quantized(model: keras.Model) -> bool:
    """Tell whether a model has fake-quants, or a lineage with a quantization in it."""
    return bool(quantization_of(lineage_of(model))) or any(
        type(layer).__name__ == "FakeQuant" for layer in model._flatten_layers()
    )


def with_nested(model: keras.Model, names: Collection[str]) -> frozenset[str]:
    """Add the layers of each nested model that is named, by the names that they may have in the graph."""
    import keras

    found = set(names)
    for layer in model._flatten_layers(include_self=False):
        if layer.name in names and isinstance(layer, keras.Model):
            inner = [member.name for member in layer._flatten_layers(include_self=False)]
            found.update(inner, (f"{layer.name}_{name}" for name in inner))
    return frozenset(found)
