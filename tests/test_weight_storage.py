"""Weights of 4 and 8 bits and float16 in files: exactly the numbers of Keras, in as few bytes as they need."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import onnx
import pytest
from keras import layers
from onnx import numpy_helper
from small_models import examples
from test_weight_only import bound
from weight_nets import (
    EIGHT,
    FOUR,
    HALF,
    NETWORKS,
    SCHEMES,
    export,
    exported,
    float_bytes,
    network_of,
    rounded,
    storage,
    weights_of,
)

from slimedge.artifact import Step
from slimedge.compress.quantization import quantize
from slimedge.export.exporters import EXPORTERS
from slimedge.export.verify import fidelity
from slimedge.export.worker import keras_outputs
from slimedge.lineage import with_lineage


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
