"""A Keras model, float or quantized, as one ONNX file."""

from __future__ import annotations

import gc
import json
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from slimedge import notes
from slimedge.errors import CheckError, ConversionError, InputError
from slimedge.export.exporters import DYNAMIC, Settings, check_compute, check_io, with_storage
from slimedge.export.recurrent import Joint, without_recurrences
from slimedge.export.tensorflow_graph import inlined, without_erfc
from slimedge.export.tracing import Traced, Weight, trace, wide_activations
from slimedge.export.trial import OnnxTrial
from slimedge.export.weight_grid import Rounding, is_weight, rounding_of
from slimedge.keras_file import input_specs, output_specs

if TYPE_CHECKING:
    import keras
    from onnx import ModelProto

OPSET = 17
# tf2onnx's handlers read small constants (paddings, biases); larger ones only pass through.
LARGEST_CONSTANT = 4096
# Protocol buffers end at 2 GiB.
LARGEST_FILE_BYTES = 2**31 - 1


def to_onnx(
    model: keras.Model,
    *,
    integers: str = "u8s8",
    io: str = "float32",
    scheme: str | None = None,
    block_size: int | None = None,
    compute: str = "float32",
    metadata: Mapping[str, Any] | None = None,
) -> ModelProto:
    """Convert a model.

    Args:
        model: built; a quantized one (with `FakeQuant` layers) becomes QDQ with int8 kernels, per-channel
            scales and int32 biases.
        integers: types of activations and kernels, one of `slimedge.integers.INTEGERS`.
        io: `float32`, or `int8` or `int16` for integer inputs and outputs of a statically quantized model.
        scheme: how the model was quantized; None where it is float.
        block_size: how many weights share a scale; None for a scale for each channel.
        compute: `float32`, or `float16` for a float model whose operators compute in that.
        metadata: JSON values for the file's `slimedge` property.

    Returns:
        The model with Keras names and a symbolic batch.

    Raises:
        ConversionError: tf2onnx cannot convert an op.
        InputError: integer I/O of a float model, float16 in one that computes on integers, an input that is also an
            output, or a file over 2 GiB.
    """
    from slimedge.export.onnx_weights import round_dynamically

    layers = {layer.name for layer in model._flatten_layers()}
    check_io(model, io)
    check_compute(model, compute, scheme)
    passed = {spec.name for spec in input_specs(model)} & {spec.name for spec in output_specs(model)}
    if passed:
        raise InputError(
            f"output '{min(passed)}' of model '{model.name}' has the name of an input, and ONNX has one name for "
            "both; leave that output away, or make it with a layer of its own name (keras.layers.Identity)."
        )
    inner, recurrences = without_recurrences(model)
    traced = trace(inner, batch=None, leave_out=_is_left_out)
    if sum(weight.value.nbytes for weight in traced.left_out.values()) > LARGEST_FILE_BYTES:
        raise InputError(f"model '{model.name}' is over ONNX's limit of 2 GiB for one file.")
    # TensorFlow takes fewer characters in a name than Keras, so inputs go by position.
    given = {spec.name: tensor.name for tensor, spec in zip(traced.inputs, input_specs(inner), strict=False)}
    made = {name: tensor.name for name, tensor in traced.outputs.items()}
    joints = [
        Joint(recurrence, made[recurrence.given], [given[name] for name in recurrence.made])
        for recurrence in recurrences
    ]
    proto = _lower(
        traced,
        layers,
        {given[spec.name]: spec.name for spec in input_specs(model)},
        {made[spec.name]: spec.name for spec in output_specs(model)},
        joints,
        wide={layer.name for layer in wide_activations(model)},
        integers=integers,
        io=io,
        rounding=rounding_of(scheme, block_size),
        halves=compute == "float16",
        metadata=dict(metadata or {}),
    )
    return round_dynamically(proto, integers=integers) if scheme == DYNAMIC else proto


def export_onnx(model: keras.Model, settings: Settings) -> tuple[bytes, OnnxTrial]:
    """Make and check an ONNX file; see `slimedge.export.exporters.Exporter`.

    Raises:
        CheckError: the conversion left nothing, or ONNX's own checker refuses it.
    """
    import onnx

    proto = to_onnx(
        model,
        integers=settings.integers,
        io=settings.io,
        scheme=settings.scheme,
        block_size=settings.block_size,
        compute=settings.compute,
        metadata=settings.metadata,
    )
    if not proto.graph.node or not proto.graph.output:
        raise CheckError("the ONNX conversion left a model without operators or outputs; it was not kept.")
    grids = grids_of(proto)
    content = proto.SerializeToString()
    del proto
    gc.collect()
    try:
        onnx.checker.check_model(content, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        first = next(iter(str(error).strip().splitlines()), "no reason was given")
        raise CheckError(
            f"ONNX's checker refuses the file ({first[:200].rstrip('.')}); it was not kept."
        ) from error
    return content, OnnxTrial(content, grids)


def grids_of(proto: ModelProto) -> dict[str, Any]:
    """Give scale, zero point and dtype of each quantized input and output of a converted model, by name."""
    text = next(entry.value for entry in proto.metadata_props if entry.key == notes.KEY)
    return dict(json.loads(text)["grids"])


def _is_left_out(weight: Weight) -> bool:
    return weight.scale is not None or weight.value.ndim > 2 or weight.value.size > LARGEST_CONSTANT


def _lower(
    traced: Traced,
    layers: set[str],
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    joints: Sequence[Joint],
    *,
    wide: Collection[str],
    integers: str,
    io: str,
    rounding: Rounding | None,
    halves: bool,
    metadata: dict[str, Any],
) -> ModelProto:
    from slimedge.export import onnx_integers, onnx_opset, onnx_padding, onnx_rounding
    from slimedge.export import onnx_lowering as lowering
    from slimedge.export.onnx_graph import OnnxGraph
    from slimedge.export.onnx_half import compute_in_halves
    from slimedge.export.onnx_naming import name_after_layers
    from slimedge.export.onnx_recurrent import join
    from slimedge.export.onnx_transposed import as_convolutions, mend_paddings
    from slimedge.export.onnx_weights import store_weights

    proto = _convert(traced)
    if wide or (rounding is not None and rounding.bits == 4):
        proto = onnx_opset.with_all_widths(proto)
    if wide and not onnx_opset.has_all_widths(proto):
        raise ConversionError(
            "an operator of the model has no form in the first ONNX operator set with 16-bit activations; export to "
            "TFLite, or quantize with static_wi8_ai8."
        )
    graph = OnnxGraph(proto)
    onnx_integers.widen_activations(graph, wide, layers)
    sizes = lowering.sizes_of(graph)
    lowering.drop_reshapes(graph, sizes)
    lowering.fuse_dense(graph, sizes)
    lowering.fill_weights(graph, traced.left_out)
    for joint in joints:
        join(graph, joint, apart=rounding is not None and rounding.bits < 16)
    if joints:
        lowering.drop_identities(graph)
    lowering.fold_affine(graph)
    lowering.bias_before_squeeze(graph)
    onnx_integers.quantize_biases(graph)
    onnx_rounding.drop_clipped_relus(graph)
    onnx_padding.keep_zero_padding(graph)
    mend_paddings(graph)
    as_convolutions(graph)
    if halves:
        weights = (array.size for array in graph.constants.values() if is_weight(array))
        metadata = with_storage(metadata, {"float16": sum(weights)})
    elif rounding is not None:
        metadata = with_storage(metadata, store_weights(graph, rounding))
    elif integers == "s8s8":
        onnx_integers.signed_activations(graph)
    elif integers == "u8u8":
        onnx_integers.unsigned_kernels(graph)
    onnx_rounding.integer_relus(graph)
    onnx_rounding.squeeze_after_rounding(graph)
    onnx_padding.pad_integers(graph)
    name_after_layers(graph, layers, inputs, outputs)
    metadata["inputs"], metadata["outputs"] = graph.inputs, list(outputs.values())
    metadata["grids"] = _grids(graph, graph.inputs, "QuantizeLinear") | _grids(
        graph, graph.outputs, "DequantizeLinear"
    )
    if io != "float32":
        onnx_integers.integer_io(graph)
    proto = graph.finish()
    if halves:
        proto = compute_in_halves(proto)
    proto.producer_name = "slimedge"
    proto.graph.name = "model"
    proto.doc_string = ""
    entry = proto.metadata_props.add()
    entry.key, entry.value = notes.KEY, json.dumps(metadata, separators=(",", ":"))
    return proto


def _grids(graph: Any, names: list[str], kind: str) -> dict[str, Any]:
    """Scale and zero point of each quantized input or output, by name; null for a float one."""
    producers, consumers = graph.producers(), graph.consumers()
    found: dict[str, Any] = {}
    for name in names:
        near = consumers.get(name, []) if kind == "QuantizeLinear" else [producers.get(name)]
        node = next((node for node in near if node is not None and node.op_type == kind), None)
        if node is None:
            found[name] = None
            continue
        zero = graph.constants[node.input[2]]
        found[name] = {
            "scale": float(graph.constants[node.input[1]]),
            "zero_point": int(zero),
            "dtype": str(zero.dtype),
        }
    return found


def _convert(traced: Traced) -> ModelProto:
    import logging

    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    definition = traced.definition
    names = [tensor.name for tensor in traced.inputs]
    outputs = [tensor.name for tensor in traced.outputs.values()]
    if definition.library.function:
        definition = inlined(definition, [*names, *outputs])
    without_erfc(definition)
    gc.collect()
    convert = partial(
        tf2onnx.convert.from_graph_def, name="model", input_names=names, output_names=outputs, opset=OPSET
    )
    try:
        try:
            # It would copy the whole graph before each of its optimizers, for the case that one fails.
            tf2onnx.constants.ENV_TF2ONNX_CATCH_ERRORS = "FALSE"
            proto, _ = convert(definition)
        except Exception:  # noqa: BLE001 - then with a copy before each
            tf2onnx.constants.ENV_TF2ONNX_CATCH_ERRORS = "TRUE"
            proto, _ = convert(definition)
    except Exception as error:  # tf2onnx raises whatever its handlers raise
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConversionError(
            f"tf2onnx could not convert the model to ONNX: {first}; `slimedge inspect` shows its layers, "
            "replace the one named here or export to TFLite."
        ) from error
    _check_known(proto)
    return cast("ModelProto", proto)


def _check_known(proto: ModelProto) -> None:
    """Refuse an op that tf2onnx does not know: it only logs it, and leaves it in the graph."""
    from onnx import defs

    for node in proto.graph.node:
        if not node.domain and not defs.has(node.op_type, OPSET):
            raise ConversionError(
                f"tf2onnx has no ONNX form of TensorFlow's {node.op_type} (in {node.name}); replace that layer or "
                "export to TFLite."
            )
