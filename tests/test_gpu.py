"""GPUs, imitated by SwiftShader: models run on them as on the CPU, all of them or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import swiftshader
import tiny_files
from tflite_models import buffer, schema, tensor, written

from slimedge.artifact_file import read_artifact
from slimedge.benchmarks.demo import FOLDER, SAMPLE
from slimedge.errors import InputError, UnavailableError
from slimedge.export.onnx_half import compute_in_halves
from slimedge.runtime.backends import BACKENDS, backend_file
from slimedge.runtime.backends.litert_gpu import refusal
from slimedge.runtime.ops import count_ops
from slimedge.runtime.targets import Target

IMAGES = 6
NODES = 15  # of ResNet-8 in TFLite: nine convolutions, three sums, a mean, a dense layer and softmax


@pytest.fixture(scope="module")
def gpu():
    """Child processes find SwiftShader, and no other GPU."""
    try:
        variables = swiftshader.environment()
    except RuntimeError as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def no_gpu(monkeypatch, tmp_path):
    """Child processes find no Vulkan driver."""
    monkeypatch.setenv("VK_DRIVER_FILES", str(tmp_path / "no_driver.json"))
    monkeypatch.delenv("ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER", raising=False)


@pytest.fixture(scope="module")
def resnet8(tmp_path_factory):
    """The bundled ResNet-8 in both formats."""
    from slimedge.export.exporting import export_model

    onnx, tflite = export_model(FOLDER / "resnet8.keras", folder=tmp_path_factory.mktemp("resnet8"))
    return {"ort": onnx, "litert": tflite}


@pytest.fixture(scope="module")
def images():
    with np.load(FOLDER / SAMPLE) as sample:
        return sample["image_test"][:IMAGES].astype(np.float32) / 255


PROVIDERS = [("litert", "gpu"), ("ort", "webgpu")]


@pytest.mark.parametrize(("name", "provider"), PROVIDERS)
def test_resnet8_answers_as_on_the_cpu(gpu, resnet8, images, name, provider):
    with BACKENDS[name].open(resnet8[name], threads=1) as session:
        exact = session.predict({"image": images})["probabilities"]
    with BACKENDS[name].open(resnet8[name], threads=1, provider=provider) as session:
        assert session.provider == provider
        found = session.predict({"image": images})["probabilities"]
    assert np.max(exact) > 0.9
    np.testing.assert_allclose(found, exact, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "provider"), PROVIDERS)
def test_every_node_is_the_gpus_and_the_kernel_figure_waits_for_it(
    gpu, resnet8, images, name, provider, tmp_path
):
    path = tmp_path / "image.npy"
    np.save(path, images[:1])
    script = Path(__file__).with_name("gpu_process.py")
    command = [sys.executable, script, backend_file(name), resnet8[name].path, path, provider]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(result.stdout)
    assert told["provider"] == provider
    (nodes,) = told["ops"].values()
    assert list(told["ops"]) == [provider]
    assert nodes >= NODES
    assert told["error"] <= 1e-6
    assert told["providers"][provider] is told["providers"]["cpu"] is None
    if name == "litert":  # ONNX Runtime's plug-in does not tell which device Vulkan chose
        assert told["device"].startswith(swiftshader.DEVICE)
        assert told["devices"] == {"gpu": told["device"]}
    assert not told["cpu_is_resident"]
    # Handing the work over takes a hundredth of the time: a figure that does not wait for the answer is far below.
    assert 0.25 * told["end_to_end_s"] < told["kernel_s"] < 2 * told["end_to_end_s"]


def test_an_int8_file_whose_layers_the_gpu_can_run_gives_the_same_integers(gpu, tmp_path):
    artifact = tiny_files.tflite(tmp_path / "i.tflite", integer=True)
    inputs = tiny_files.examples(3)
    with BACKENDS["litert"].open(artifact, threads=1, provider="gpu") as session:
        assert session.provider == "gpu"
        outputs = session.predict(inputs)
    for name, expected in tiny_files.integer_answers(inputs).items():
        np.testing.assert_allclose(outputs[name], expected, atol=1e-6)
    counts = count_ops(artifact, Target("litert", "gpu"))
    assert (counts.integer_ops, counts.total_ops, dict(counts.providers)) == (0, 2, {"gpu": 2})


def test_int8_nodes_that_webgpu_has_not_are_the_cpus_where_that_is_allowed(gpu, tmp_path):
    artifact = tiny_files.integer_onnx(tmp_path / "i.onnx")
    with (
        pytest.raises(UnavailableError, match=r"WebGpuExecutionProvider cannot run all of i\.onnx"),
        BACKENDS["ort"].open(artifact, threads=1, provider="webgpu"),
    ):
        pass
    inputs = tiny_files.examples(3)
    with BACKENDS["ort"].open(artifact, threads=1, provider="webgpu", allow_fallback=True) as session:
        assert session.provider == "cpu"  # of three nodes there is not one that it has
        outputs = session.predict(inputs)
    for name, expected in tiny_files.integer_answers(inputs).items():
        np.testing.assert_allclose(outputs[name], expected, atol=1e-6)


def strided_pointwise(path):
    """An int8 convolution of 1x1 with strides, which LiteRT 2.3 takes to its GPU and computes wrongly there."""
    generator = np.random.default_rng(0)
    kernel = generator.integers(-127, 128, (8, 1, 1, 4)).astype(np.int8)
    tensors = [
        tensor("x", (1, 8, 8, 4), "INT8", scale=0.02, zero_point=0),
        tensor("y", (1, 4, 4, 8), "INT8", scale=0.05, zero_point=0),
        tensor("kernel", kernel.shape, "INT8", buffer=1, scale=[0.01] * 8, zero_point=[0] * 8),
        tensor("bias", (8,), "INT32", buffer=2, scale=[0.0002] * 8, zero_point=[0] * 8),
    ]
    options = schema.Conv2DOptionsT()
    options.strideW = options.strideH = 2
    return _of_ops(
        path, tensors, [("CONV_2D", [0, 2, 3], 1, options)], [buffer(kernel), buffer(np.zeros(8, np.int32))]
    )


def mixed(path):
    """Two ops that a GPU runs around one that LiteRT's does not."""
    tensors = [tensor(name, (1, 4)) for name in ("x", "y", "a", "b")]
    ops = [("ABS", [0], 2, None), ("LOG_SOFTMAX", [2], 3, schema.LogSoftmaxOptionsT()), ("ABS", [3], 1, None)]
    return _of_ops(path, tensors, ops, [])


def _of_ops(path, tensors, ops, buffers):
    graph, made = schema.SubGraphT(), schema.ModelT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = tensors, [0], [1], []
    made.version, made.subgraphs, made.buffers, made.operatorCodes = 3, [graph], [buffer(), *buffers], []
    for index, (kind, inputs, output, options) in enumerate(ops):
        operator, code = schema.OperatorT(), schema.OperatorCodeT()
        operator.opcodeIndex, operator.inputs, operator.outputs = index, inputs, [output]
        if options is not None:
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
        code.version = 3 if kind == "CONV_2D" else 1
        graph.operators.append(operator)
        made.operatorCodes.append(code)
    return read_artifact(written(made, path))


def test_a_model_that_the_gpu_computes_wrongly_is_an_error_with_the_difference(gpu, tmp_path):
    artifact = strided_pointwise(tmp_path / "pointwise.tflite")
    with (
        pytest.raises(
            UnavailableError, match=r"computes pointwise\.tflite wrongly: its output 'y' is .* off"
        ),
        BACKENDS["litert"].open(artifact, threads=1, provider="gpu"),
    ):
        pass
    with BACKENDS["litert"].open(artifact, threads=1, provider="gpu", allow_fallback=True) as session:
        assert session.provider == "xnnpack"


def test_an_op_that_the_gpu_has_not_is_named_and_counted(gpu, tmp_path):
    artifact = mixed(tmp_path / "mixed.tflite")
    with (
        pytest.raises(
            UnavailableError, match=r"does not run LOG_SOFTMAX of mixed\.tflite; use --allow-fallback"
        ),
        BACKENDS["litert"].open(artifact, threads=1, provider="gpu"),
    ):
        pass
    x = np.float32([[-1, 2, 0.5, -4]])
    with BACKENDS["litert"].open(artifact, threads=1, provider="gpu", allow_fallback=True) as session:
        assert session.provider == "gpu+cpu"
        found = session.predict({"x": x})["y"]
    shifted = np.abs(x) - np.log(np.sum(np.exp(np.abs(x))))
    np.testing.assert_allclose(found, np.abs(shifted), atol=1e-5)
    counts = count_ops(artifact, Target("litert", "gpu"), options={"allow_fallback": True})
    assert dict(counts.providers) == {"gpu": 1, "cpu": 2}


def test_a_file_that_computes_in_16_bits_needs_a_gpu_that_does(gpu, tmp_path):
    import onnx

    artifact = tiny_files.float_onnx(tmp_path / "half.onnx")
    onnx.save(compute_in_halves(onnx.load(artifact.path)), artifact.path)
    inputs = tiny_files.examples(3)
    with BACKENDS["ort"].open(artifact, threads=1) as session:
        found = session.predict(inputs)["zeta"]
    np.testing.assert_allclose(found, tiny_files.answers(**inputs)["zeta"], atol=5e-3)
    with (
        pytest.raises(
            UnavailableError, match=r"half\.onnx on this device: .* requires f16 .*computes in float32"
        ),
        BACKENDS["ort"].open(artifact, threads=1, provider="webgpu"),
    ):
        pass


def test_a_batch_that_the_file_leaves_open_can_be_any(gpu, tmp_path):
    artifact = tiny_files.float_onnx(tmp_path / "f.onnx")
    with BACKENDS["ort"].open(artifact, threads=1, provider="webgpu") as session:
        for count in (1, 5):
            inputs = tiny_files.examples(count)
            np.testing.assert_allclose(
                session.predict(inputs)["zeta"], tiny_files.answers(**inputs)["zeta"], atol=1e-6
            )


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_options_of_the_gpu_reach_it(gpu, tmp_path, precision):
    artifact = tiny_files.tflite(tmp_path / "f.tflite", integer=False)
    inputs = tiny_files.examples(1)
    options = {"precision": precision, "hint_waiting_for_completion": "true"}
    with BACKENDS["litert"].open(artifact, threads=1, provider="gpu", provider_options=options) as session:
        found = session.predict(inputs)["zeta"]
    # SwiftShader has no numbers of 16 bits, so both are exact here.
    np.testing.assert_allclose(found, tiny_files.answers(**inputs)["zeta"], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "provider", "options", "message"),
    [
        ("litert", "gpu", {"abacus": "1"}, "no option 'abacus'; it has precision, "),
        ("litert", "gpu", {"precision": "fp8"}, "precision is 'fp8'; give fp32 or fp16"),
        ("litert", "cpu", {"precision": "fp16"}, "given for the cpu, which takes none"),
        ("ort", "webgpu", {"abacus": "1"}, "no option 'abacus'; it has .*preferredLayout"),
        ("ort", "webgpu", {"validationMode": "strong"}, "'strong'}: Invalid validation mode: strong"),
        ("ort", "webgpu", {"device": "npu"}, "device is 'npu'; WebGpuExecutionProvider has cpu here"),
        ("ort", "cpu", {"threads": "1"}, "given for the cpu, which takes none"),
    ],
)
def test_an_option_that_there_is_not_is_one_sentence(gpu, tmp_path, name, provider, options, message):
    make = {"litert": lambda path: tiny_files.tflite(path, integer=False), "ort": tiny_files.float_onnx}[name]
    artifact = make(tmp_path / ("f.onnx" if name == "ort" else "f.tflite"))
    with (
        pytest.raises(InputError, match=message) as caught,
        BACKENDS[name].open(artifact, threads=1, provider=provider, provider_options=options),
    ):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "provider", "message"),
    [
        ("litert", "gpu", r"LiteRT's GPU accelerator finds no .*install.*--allow-fallback"),
        ("ort", "webgpu", r"WebGpuExecutionProvider.* finds no device.*libvulkan1.*--allow-fallback"),
    ],
)
def test_without_a_gpu_the_fix_is_named_or_the_row_says_cpu(no_gpu, tmp_path, name, provider, message):
    if Path("/sys/class/drm").exists() and list(Path("/sys/class/drm").glob("card*")):
        pytest.skip("a GPU is here")
    make = {"litert": lambda path: tiny_files.tflite(path, integer=False), "ort": tiny_files.float_onnx}[name]
    artifact = make(tmp_path / ("f.onnx" if name == "ort" else "f.tflite"))
    with (
        pytest.raises(UnavailableError, match=message),
        BACKENDS[name].open(artifact, threads=1, provider=provider),
    ):
        pass
    with BACKENDS[name].open(artifact, threads=1, provider=provider, allow_fallback=True) as session:
        assert session.provider == {"litert": "xnnpack", "ort": "cpu"}[name]


def test_a_damaged_file_does_not_end_the_process(gpu, tmp_path):
    artifact = tiny_files.tflite(tmp_path / "cut.tflite", integer=False)
    content = artifact.path.read_bytes()
    artifact.path.write_bytes(content[: len(content) // 2])
    with (
        pytest.raises(InputError, match=r"LiteRT cannot load cut\.tflite"),
        BACKENDS["litert"].open(artifact, threads=1, provider="gpu"),
    ):
        pass


def test_what_litert_prints_is_read_for_its_reasons():
    assert "finds no Vulkan loader" in refusal(
        "Warning: Couldn't load Vulkan: libvulkan.so.1: cannot open\n", "m"
    )
    assert "finds no GPU" in refusal("ERROR: [delegate_webgpu.cc:359] No adapters found\n", "m")
    assert refusal("INFO: [a.cc:1] fine\nERROR: [b.cc:2] The shader is too long.\n", "m.tflite") == (
        "LiteRT's GPU accelerator does not run m.tflite: The shader is too long; use the target 'litert', or "
        "--allow-fallback."
    )
    assert "it gives no reason" in refusal("", "m")


def test_variables_are_the_childrens_only(gpu):
    assert os.environ["LD_LIBRARY_PATH"] == str(swiftshader.FOLDER)
    assert not any("swiftshader" in line for line in Path("/proc/self/maps").read_text().splitlines())
