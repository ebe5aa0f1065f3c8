"""4-bit and float16 weights of every kind of layer: in Keras, and exactly the same numbers in both formats."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from keras import layers
from onnx import numpy_helper
from small_models import examples
from test_weight_only import bound, text_gru, text_lstm, transformer

from slimedge import lineage as lineages
from slimedge.artifact import Step
from slimedge.cli.running import run
from slimedge.compress.quantization import Quantize, quantize
from slimedge.compress.weight_only import to_half
from slimedge.errors import InputError
from slimedge.export.exporters import EXPORTERS, Settings
from slimedge.export.trial import Trial
from slimedge.export.verify import fidelity
from slimedge.export.worker import keras_outputs
from slimedge.keras_file import load_model, save_model
from slimedge.lineage import lineage_of, with_lineage

Arrays = dict[str, np.ndarray]
FOUR, HALF, EIGHT = "weight_only_wi4_afp32", "fp16", "weight_only_wi8_afp32"
# Scheme and block size.
SCHEMES = {"fp16": (HALF, None), "4 bits": (FOUR, None), "4 bits in blocks of 16": (FOUR, 16)}


def convolutions() -> keras.Model:
    inputs = keras.Input((8, 8, 16), name="picture")
    x = layers.Conv2D(24, 3, padding="same", use_bias=False, name="full")(inputs)
    x = layers.ReLU()(layers.BatchNormalization(name="normed")(x))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = layers.SeparableConv2D(16, 3, name="separable")(x)
    x = layers.Conv2DTranspose(8, 2, strides=2, name="transposed")(x)
    return keras.Model(inputs, layers.Dense(20, name="dense")(layers.Flatten()(x)))


def einsums() -> keras.Model:
    inputs = keras.Input((5, 32), name="steps")
    x = layers.EinsumDense("abc,cde->abde", output_shape=(None, 4, 16), name="heads")(inputs)
    x = layers.EinsumDense("abde,def->abf", output_shape=(None, 48), name="joined")(x)
    return keras.Model(inputs, layers.Bidirectional(layers.LSTM(16), name="both_ways")(x))


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "convolutions": convolutions,
    "einsums": einsums,
    "text_lstm": text_lstm,
    "text_gru": text_gru,
    "transformer": transformer,
}


@cache
def network_of(name: str) -> keras.Model:
    keras.utils.set_random_seed(5)
    network = NETWORKS[name]()
    generator = np.random.default_rng(5)
    for variable in network.variables:
        if variable.name in {"bias", "beta", "moving_mean"}:
            variable.assign(generator.normal(0, 0.2, variable.shape))
        elif variable.name in {"gamma", "moving_variance"}:
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
        elif variable.name == "embeddings":
            variable.assign(generator.normal(0, 1, variable.shape))
    return network


@cache
def rounded(name: str, kind: str) -> keras.Model:
    network, (scheme, block_size) = network_of(name), SCHEMES[kind]
    return quantize(network, bound(network), scheme=scheme, block_size=block_size)


def export(exporter: str, network: keras.Model, scheme: str | None, block_size: int | None) -> Any:
    metadata = {"lineage": lineages.to_json([Step("export", {})])}
    settings = Settings("float32", 1, "u8u8", metadata, scheme=scheme, block_size=block_size)
    return EXPORTERS[exporter](network, settings)


@cache
def exported(exporter: str, name: str, kind: str) -> tuple[bytes, Trial]:
    found: tuple[bytes, Trial] = export(exporter, rounded(name, kind), *SCHEMES[kind])
    return found


@cache
def float_bytes(exporter: str, name: str) -> int:
    return len(export(exporter, network_of(name), None, None)[0])


def weights_of(network: keras.Model) -> Arrays:
    """Kernels and tables by path, without the numbers that Keras gives inner layers."""
    named = [one for one in network.weights if one.name.endswith(("kernel", "embeddings"))]
    return {re.sub(r"_\d+(?=/)", "", variable.path): np.asarray(variable) for variable in named}


def settings_of(network: keras.Model) -> dict[str, Any]:
    return dict(lineage_of(network)[-1].settings)


def in_lines(array: np.ndarray, axis: int, size: int) -> list[np.ndarray]:
    """Each run of `size` numbers along an axis."""
    turned = np.moveaxis(array, axis, -1)
    return [
        line[start : start + size]
        for line in turned.reshape(-1, turned.shape[-1])
        for start in range(0, len(line), size)
    ]


def rounded_by_hand(line: np.ndarray) -> np.ndarray:
    """Integers in -7…7 times the largest number over 7, in the float64 of plain Python."""
    scale = float(np.float32(max(abs(float(number)) for number in line) / 7))
    return np.float32([round(float(number) / scale) * scale for number in line])


def test_4_bits_are_integers_to_7_with_a_scale_for_each_output_channel() -> None:
    before, after = weights_of(network_of("text_lstm")), weights_of(rounded("text_lstm", "4 bits"))
    for path, array in before.items():
        for exact, made in zip(array.T, after[path].T, strict=True):
            np.testing.assert_allclose(made, rounded_by_hand(exact), rtol=2e-7)
            assert len(np.unique(made)) <= 15


# By hand: the axis along which each weight's blocks lie.
BLOCK_AXES = {
    "text_lstm": {
        "table/embeddings": 1,
        "reader/lstm_cell/kernel": 0,
        "reader/lstm_cell/recurrent_kernel": 0,
        "mood/kernel": 0,
    },
    "einsums": {
        "heads/kernel": 0,
        "joined/kernel": 1,
        "both_ways/forward_lstm/lstm_cell/kernel": 0,
        "both_ways/forward_lstm/lstm_cell/recurrent_kernel": 0,
        "both_ways/backward_lstm/lstm_cell/kernel": 0,
        "both_ways/backward_lstm/lstm_cell/recurrent_kernel": 0,
    },
}


@pytest.mark.parametrize("name", BLOCK_AXES)
def test_16_numbers_that_are_summed_up_share_a_scale(name: str) -> None:
    before = weights_of(network_of(name))
    made = weights_of(rounded(name, "4 bits in blocks of 16")).values()
    after = dict(zip(before, made, strict=True))  # Keras names inner layers anew
    assert set(before) == set(BLOCK_AXES[name])
    for path, axis in BLOCK_AXES[name].items():
        lines = zip(in_lines(before[path], axis, 16), in_lines(after[path], axis, 16), strict=True)
        for exact, made in lines:
            np.testing.assert_allclose(made, rounded_by_hand(exact), rtol=2e-7)


def test_blocks_are_nearer_to_the_floats_than_channels_where_rows_differ_in_size() -> None:
    inputs = keras.Input((64,))
    network = keras.Model(inputs, layers.Dense(16, name="dense")(inputs))
    sizes = np.repeat([0.01, 1.0, 0.1, 0.03], 16)[:, None]
    kernel = np.random.default_rng(0).normal(0, sizes, (64, 16))
    network.get_layer("dense").kernel.assign(kernel)
    errors = []
    for block_size in (None, 32, 16):
        made = quantize(network, bound(network), scheme=FOUR, block_size=block_size)
        errors.append(float(np.mean((np.asarray(made.get_layer("dense").kernel) - kernel) ** 2 / sizes**2)))
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_float16_weights_are_numpys_and_biases_stay_as_they_are() -> None:
    network, made = network_of("transformer"), rounded("transformer", "fp16")
    for before, after in zip(network.weights, made.weights, strict=True):
        exact = np.asarray(before)
        wanted = (
            exact.astype(np.float16).astype(np.float32) if before.name in {"kernel", "embeddings"} else exact
        )
        np.testing.assert_array_equal(np.asarray(after), wanted)


def test_float16_rounds_as_the_standard_says() -> None:
    # IEEE 754: 11 significant bits, ties to even, subnormal steps of 2^-24, overflow from 65520 on.
    given = np.float32([1 + 2**-11, 1 + 3 * 2**-11, 2**-24, 2**-25, 1.5 * 2**-24, 65519.99, 65520, -1e6])
    wanted = np.float32([1, 1 + 2**-9, 2**-24, 0, 2**-23, 65504, np.inf, -np.inf])
    np.testing.assert_array_equal(to_half(given), wanted)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_runtimes_read_subnormal_float16_numbers_exactly(exporter: str, tmp_path: Any) -> None:
    inputs = keras.Input((16,))
    network = keras.Model(inputs, layers.Dense(16, name="tiny")(inputs))
    kernel = np.arange(-128, 128, dtype=np.float32).reshape(16, 16) * np.float32(
        3 * 2**-24
    )  # all below 2^-14
    network.get_layer("tiny").kernel.assign(kernel)
    content, _ = export(exporter, with_lineage(network, [Step("quantize", {"scheme": HALF})]), HALF, None)
    assert storage(content) == {"float16": 256}
    wanted = np.sort(kernel, axis=None)
    held = [np.sort(array, axis=None) for array in numbers_in_use(exporter, content, tmp_path)]
    assert any(np.array_equal(wanted, array) for array in held)


def test_batchnorm_is_folded_before_weights_become_float16() -> None:
    made = rounded("convolutions", "fp16")
    assert settings_of(made)["folded"] == ["normed"]
    full, normed = (network_of("convolutions").get_layer(name) for name in ("full", "normed"))
    gain = np.asarray(normed.gamma) / np.sqrt(np.asarray(normed.moving_variance) + normed.epsilon)
    wanted = (np.asarray(full.kernel, np.float64) * gain).astype(np.float32).astype(np.float16)
    np.testing.assert_allclose(np.asarray(made.get_layer("full").kernel), wanted, rtol=2e-3)
    for array in weights_of(made).values():
        np.testing.assert_array_equal(array.astype(np.float16), array)


def test_weights_beyond_float16_stay_float_and_are_listed() -> None:
    inputs = keras.Input((16,))
    x = layers.Dense(16, name="usual")(inputs)
    network = keras.Model(inputs, layers.Dense(16, name="huge")(x))
    kernel = np.asarray(network.get_layer("huge").kernel) * 1000
    kernel[3, 4] = -70_000
    network.get_layer("huge").kernel.assign(kernel)
    made = quantize(network, bound(network), scheme=HALF)
    reason = "its kernel has numbers that float16, which ends at 65504, cannot hold"
    assert settings_of(made)["float_layers"] == {"huge": reason}
    assert settings_of(made)["rounded_layers"] == ["usual"]
    np.testing.assert_array_equal(np.asarray(made.get_layer("huge").kernel), kernel)
    inputs_ = examples(network, count=4)
    for exporter in EXPORTERS:
        content, trial = export(exporter, made, HALF, None)
        assert fidelity(keras_outputs(made, inputs_), trial.run(inputs_)).max_error < 1e-6
        assert storage(content) == {"float16": 256, "float32": 256}
    network.get_layer("usual").kernel.assign(np.full((16, 16), np.nan))
    with pytest.raises(
        InputError, match=r"^16 bits make no weight .* smaller \(usual: its kernel has numbers .*\.$"
    ):
        quantize(network, bound(network), scheme=HALF)


def storage(content: bytes) -> dict[str, int]:
    """What a file's lineage says of the types of its weights."""
    text = content[content.index(b'"weight_storage":') + 17 :]
    found: dict[str, int] = json.loads(text[: text.index(b"}") + 1])
    return found


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("kind", SCHEMES)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_computes_what_the_rounded_keras_model_computes(name: str, kind: str, exporter: str) -> None:
    _, trial = exported(exporter, name, kind)
    inputs = examples(network_of(name), count=5, seed=2)
    assert fidelity(keras_outputs(rounded(name, kind), inputs), trial.run(inputs)).max_error <= 1e-6


def numbers_in_use(exporter: str, content: bytes, tmp_path: Any) -> list[np.ndarray]:
    """The float weights that a runtime computes with after loading."""
    if exporter == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "loaded.onnx"), 3
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return [numpy_helper.to_array(one) for one in onnx.load(tmp_path / "loaded.onnx").graph.initializer]
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(
        model_content=content, experimental_preserve_all_tensors=True, experimental_op_resolver_type=plain
    )
    interpreter.allocate_tensors()
    for given in interpreter.get_input_details():
        interpreter.set_tensor(given["index"], np.zeros(given["shape"], given["dtype"]))
    interpreter.invoke()
    made = {int(index) for op in interpreter._get_ops_details() for index in op["outputs"]}
    return [np.array(interpreter.get_tensor(index)) for index in made]


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("kind", SCHEMES)
def test_a_runtime_loads_the_numbers_of_keras_to_the_last_bit(
    kind: str, exporter: str, tmp_path: Any
) -> None:
    content, _ = exported(exporter, "transformer", kind)
    held = [
        np.sort(array, axis=None) for array in numbers_in_use(exporter, content, tmp_path) if array.size >= 64
    ]
    for path, array in weights_of(rounded("transformer", kind)).items():
        if exporter == "onnx" and kind == "fp16" and "table" in path:
            continue  # only the rows that are looked up become floats
        wanted = np.sort(array, axis=None)
        assert any(np.array_equal(wanted, other) for other in held), path


@pytest.mark.parametrize("kind", SCHEMES)
@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_unpacks_weights_once_when_it_loads_them(name: str, kind: str, tmp_path: Any) -> None:
    content, _ = exported("onnx", name, kind)
    numbers_in_use("onnx", content, tmp_path)
    loaded = onnx.load(tmp_path / "loaded.onnx").graph
    stored = {one.name for one in loaded.initializer}
    unpacked = [node.op_type for node in loaded.node if all(given in stored for given in node.input if given)]
    assert not unpacked
    types = {numpy_helper.to_array(one).dtype.name for one in loaded.initializer}
    assert "int4" not in types


@pytest.mark.parametrize("name", NETWORKS)
def test_both_of_litert_s_kernels_give_the_same(name: str) -> None:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    for kind in SCHEMES:
        content, trial = exported("tflite", name, kind)
        plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        runner = Interpreter(model_content=content, experimental_op_resolver_type=plain).get_signature_runner(
            "serving_default"
        )
        inputs = examples(network_of(name), count=1, seed=2)
        expected = trial.run(inputs)
        for output, array in runner(**inputs).items():
            np.testing.assert_allclose(array, expected[output], atol=2e-6)


TYPES = {
    ("onnx", "fp16"): {"float16"},
    ("tflite", "fp16"): {"float16"},
    ("onnx", "4 bits"): {"int4"},
    ("tflite", "4 bits"): {"int4", "int8"},  # kernels of convolutions
    ("onnx", "4 bits in blocks of 16"): {"int4"},
    ("tflite", "4 bits in blocks of 16"): {"int4", "int8"},
}


@pytest.mark.parametrize(("exporter", "kind"), TYPES)
def test_a_file_says_in_which_types_it_holds_its_weights(exporter: str, kind: str) -> None:
    found = storage(exported(exporter, "convolutions", kind)[0])
    assert set(found) == TYPES[exporter, kind]
    counts = {path: array.size for path, array in weights_of(rounded("convolutions", kind)).items()}
    assert sum(found.values()) == sum(counts.values())
    if "int8" in found:
        assert found["int4"] == counts["dense/kernel"]


def dense() -> keras.Model:
    inputs = keras.Input((256,), name="features")
    return keras.Model(inputs, layers.Dense(10)(layers.Dense(512, activation="relu", name="wide")(inputs)))


@pytest.mark.parametrize(
    ("scheme", "block_size", "onnx_share", "tflite_share"),
    # Bytes a weight over 4: half; 4 bits and a scale (TFLite: a zero point of 8 bytes, too) a channel or a block of 32.
    [
        (HALF, None, 2, 2),
        (EIGHT, None, 1, 1),
        (FOUR, None, 0.5, 0.5),
        (FOUR, 32, 0.5 + 4 / 32, 0.5 + 12 / 32),
    ],
)
def test_bytes_are_those_of_the_bits_and_scales(
    scheme: str, block_size: int | None, onnx_share: float, tflite_share: float
) -> None:
    keras.utils.set_random_seed(1)
    network = dense()
    made = quantize(network, bound(network), scheme=scheme, block_size=block_size)
    weights = sum(array.size for array in weights_of(network).values())
    for exporter, share in (("onnx", onnx_share), ("tflite", tflite_share)):
        content, _ = export(exporter, made, scheme, block_size)
        scales = 522 * (4 if exporter == "onnx" else 12) if block_size is None and scheme != HALF else 0
        rest = 522 * 4 + 4_000  # biases, names, structure
        assert share * weights + scales <= len(content) <= share * weights + scales + rest


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_files_of_a_recurrent_net_shrink_with_their_bits(exporter: str) -> None:
    name = "text_lstm"
    sizes = [len(exported(exporter, name, kind)[0]) for kind in ("4 bits", "4 bits in blocks of 16", "fp16")]
    assert sizes == sorted(sizes)
    assert sizes[0] < 0.3 * float_bytes(exporter, name)
    assert sizes[-1] < 0.6 * float_bytes(exporter, name)


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("block_size", [None, 32])
def test_scales_that_another_rounding_chose_are_found_exactly(exporter: str, block_size: int | None) -> None:
    # As GPTQ and AdaRound leave them: integer · scale, the end of the grid reached or not.
    generator = np.random.default_rng(0)
    network = dense()
    reach = generator.integers(1, 8, 512)
    integers = np.rint(generator.uniform(-1, 1, (256, 512)) * reach)
    groups = 1 if block_size is None else 256 // block_size
    scale = generator.lognormal(-4, 1, (groups, 512)).astype(np.float32)
    kernel = integers.astype(np.float32) * np.repeat(scale, 256 // groups, axis=0)
    network.get_layer("wide").kernel.assign(kernel)
    settings = {"scheme": FOUR} | ({"block_size": block_size} if block_size else {})
    content, trial = export(exporter, with_lineage(network, [Step("quantize", settings)]), FOUR, block_size)
    assert storage(content)["int4"] == kernel.size
    inputs = {"features": np.eye(256, dtype=np.float32)}
    for output, array in keras_outputs(network, inputs).items():
        np.testing.assert_allclose(trial.run(inputs)[output], array, atol=1e-6)


def test_an_odd_number_of_4_bit_weights_is_kept() -> None:
    inputs = keras.Input((33,))
    network = keras.Model(inputs, layers.Dense(7)(inputs))
    made = quantize(network, bound(network), scheme=FOUR)
    given = examples(network, count=3)
    for exporter in EXPORTERS:
        content, trial = export(exporter, made, FOUR, None)
        assert storage(content) == {"int4": 231}
        assert fidelity(keras_outputs(made, given), trial.run(given)).max_error < 1e-6


def test_only_the_rows_of_a_table_in_blocks_that_are_looked_up_are_put_together() -> None:
    inputs = keras.Input((6,), dtype="int32", name="ids")
    x = layers.Embedding(300, 64, name="table")(inputs)
    network = keras.Model(inputs, layers.Dense(16, name="end")(layers.GlobalAveragePooling1D()(x)))
    made = quantize(network, bound(network), scheme=FOUR, block_size=16)
    content, trial = export("tflite", made, FOUR, 16)
    given = {"ids": np.random.default_rng(0).integers(0, 300, (20, 6)).astype(np.int32)}
    assert fidelity(keras_outputs(made, given), trial.run(given)).max_error < 1e-6
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    sizes = {detail["index"]: np.prod(detail["shape"]) for detail in interpreter.get_tensor_details()}
    operators = interpreter._get_ops_details()
    whole = [op["op_name"] for op in operators if any(sizes[out] >= 300 * 64 for out in op["outputs"])]
    assert whole == ["DEQUANTIZE"]


def test_a_square_matrix_of_one_block_a_column_is_turned_back() -> None:
    inputs = keras.Input((5, 32))
    x = layers.EinsumDense("abc,dc->abd", output_shape=(None, 32))(inputs)
    network = keras.Model(inputs, layers.EinsumDense("abc,cd->abd", output_shape=(None, 32))(x))
    made = quantize(network, bound(network), scheme=FOUR, block_size=32)
    given = examples(network, count=3)
    for exporter in EXPORTERS:
        content, trial = export(exporter, made, FOUR, 32)
        assert storage(content) == {"int4": 2 * 32 * 32}
        assert fidelity(keras_outputs(made, given), trial.run(given)).max_error < 1e-6


def old_forms() -> keras.Model:
    """Operators whose ONNX form is another one in operator set 21, in a loop's body too."""
    inputs = keras.Input((6, 16), name="steps")
    first, second = keras.ops.split(inputs, 2, axis=-1)
    x = layers.SimpleRNN(16, activation="relu")(layers.Concatenate()([first, second]))
    x = layers.Concatenate()([x, keras.ops.max(inputs, axis=1), keras.ops.mean(second, axis=1)])
    y = keras.ops.logsumexp(inputs, axis=-1) * keras.ops.prod(first, axis=-1)
    return keras.Model(inputs, layers.Concatenate()([layers.Dense(24)(x), y]))


def test_operators_that_changed_before_opset_21_compute_the_same() -> None:
    network = old_forms()
    made = quantize(network, bound(network), scheme=FOUR)
    content, trial = export("onnx", made, FOUR, None)
    model = onnx.load_from_string(content)
    assert [(entry.domain, entry.version) for entry in model.opset_import if not entry.domain] == [("", 21)]
    kinds = {node.op_type for node in model.graph.node}
    assert {"Split", "ReduceMax", "ReduceMean", "ReduceProd"} <= kinds
    given = examples(network, count=4)
    assert fidelity(keras_outputs(made, given), trial.run(given)).max_error < 1e-6


def test_where_onnx_cannot_raise_its_opset_4_bits_are_kept_in_8(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("no adapter")

    monkeypatch.setattr("onnx.version_converter.convert_version", fails)
    content, trial = export("onnx", rounded("einsums", "4 bits"), FOUR, None)
    assert storage(content)["int8"] == sum(
        array.size for array in weights_of(rounded("einsums", "4 bits")).values()
    )
    assert "int4" not in storage(content)
    given = examples(network_of("einsums"), count=4)
    assert fidelity(keras_outputs(rounded("einsums", "4 bits"), given), trial.run(given)).max_error < 1e-6


def test_layers_without_blocks_are_listed_with_the_reason() -> None:
    found = settings_of(rounded("convolutions", "4 bits in blocks of 16"))
    assert found["block_size"] == 16
    assert found["layers_without_blocks"]["full"] == "its kernel is no matrix"
    assert "dense" not in found["layers_without_blocks"]
    inputs = keras.Input((40,))
    network = keras.Model(inputs, layers.Dense(32, name="last")(layers.Dense(32, name="first")(inputs)))
    made = quantize(network, bound(network), scheme=FOUR, block_size=16)
    reason = "its kernel has 40 numbers in a line, no multiple of 16"
    assert settings_of(made)["layers_without_blocks"] == {"first": reason}
    kernel, exact = (np.asarray(model.get_layer("first").kernel) for model in (made, network))
    for column, wanted in zip(kernel.T, exact.T, strict=True):
        np.testing.assert_allclose(column, rounded_by_hand(wanted), rtol=2e-7)


def test_a_block_size_that_fits_no_layer_is_refused_in_one_sentence() -> None:
    network = network_of("text_gru")
    sentence = (
        r"^no weight of model .* has blocks of 24 \(table: its embeddings has 16 numbers in a line, .*\.$"
    )
    with pytest.raises(InputError, match=sentence):
        quantize(network, bound(network), scheme=FOUR, block_size=24)


@pytest.mark.parametrize("size", [-32, 0, 1, 15])
def test_small_blocks_are_refused(size: int) -> None:
    network = network_of("text_lstm")
    with pytest.raises(InputError, match=rf"^the block size is {size}; it can be 16 or more"):
        quantize(network, bound(network), scheme=FOUR, block_size=size)


@pytest.mark.parametrize("scheme", ["auto", "static_wi8_ai8", EIGHT, HALF])
def test_blocks_are_for_4_bits_only(scheme: str) -> None:
    network = network_of("text_lstm")
    with pytest.raises(
        InputError, match=rf"block size of 32 was given with the scheme {scheme}; blocks are for"
    ):
        quantize(network, bound(network), scheme=scheme, block_size=32)


def test_the_stage_does_what_the_function_does() -> None:
    network = network_of("text_lstm")
    made = Quantize(scheme=FOUR, block_size=16)(network, bound(network))
    for one, other in zip(made.weights, rounded("text_lstm", "4 bits in blocks of 16").weights, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("kind", SCHEMES)
def test_saved_and_loaded_again_a_model_keeps_scheme_blocks_and_numbers(kind: str, tmp_path: Any) -> None:
    made = rounded("einsums", kind)
    save_model(made, tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert (settings_of(loaded)["scheme"], settings_of(loaded).get("block_size")) == SCHEMES[kind]
    for one, other in zip(made.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    with pytest.raises(InputError, match="is quantized already"):
        quantize(loaded, bound(network_of("einsums")), scheme=EIGHT)


def test_the_command_line_takes_a_block_size_and_says_what_it_did(tmp_path: Any, capsys: Any) -> None:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((40,), name="features")
    x = layers.Dense(64, activation="relu", name="first")(inputs)
    save_model(keras.Model(inputs, layers.Dense(8, name="last")(x)), tmp_path / "model.keras")
    np.savez(
        tmp_path / "data.npz", features=np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    )
    command = ["quantize", str(tmp_path / "model.keras"), "--data", str(tmp_path / "data.npz")]
    command += ["--scheme", FOUR, "-o", str(tmp_path / "small.keras")]
    assert run([*command, "--block-size", "32"]) == 0
    said = capsys.readouterr().out
    assert "weights of 2 layers rounded to 4 bits in blocks of 32" in said
    assert (
        "first has a scale for each channel: its kernel has 40 numbers in a line, no multiple of 32" in said
    )
    loaded = settings_of(load_model(tmp_path / "small.keras"))
    assert (loaded["scheme"], loaded["block_size"]) == (FOUR, 32)
    assert run([*command, "--block-size", "8"]) == 2
    assert capsys.readouterr().err.startswith("slimedge: the block size is 8; it can be 16 or more")
