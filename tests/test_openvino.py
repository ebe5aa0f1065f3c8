"""What OpenVINO does beside the contract: both formats, its numbers, its devices and its options."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_files

from slimedge.errors import InputError, UnavailableError
from slimedge.runtime.backends import BACKENDS
from slimedge.runtime.ops import HeavyOp, count_ops
from slimedge.runtime.targets import Target, usual_target

OPENVINO = BACKENDS["openvino"]
TARGET = Target("openvino")
FILES = {
    "float onnx": ("f.onnx", tiny_files.float_onnx),
    "float tflite": ("f.tflite", lambda path: tiny_files.tflite(path, integer=False)),
    "int8 onnx": ("i.onnx", tiny_files.integer_onnx),
    "int8 tflite": ("i.tflite", lambda path: tiny_files.tflite(path, integer=True)),
}


@pytest.fixture(params=list(FILES))
def file(request, tmp_path):
    name, make = FILES[request.param]
    return request.param, make(tmp_path / name)


def no_device(name):
    import openvino

    if any(each.startswith(name) for each in openvino.Core().available_devices):
        pytest.skip(f"OpenVINO has a {name} here")


def test_both_formats_give_what_the_model_says_by_the_names_of_the_signature(file):
    kind, artifact = file
    # So near to zero that no pair of 8-bit products is beyond 16 bits, where CPUs without VNNI saturate.
    inputs = {name: np.float32(0.4) * array for name, array in tiny_files.examples(200).items()}
    with OPENVINO.open(artifact, threads=1) as session:
        outputs = session.predict(inputs)
    assert list(outputs) == ["zeta", "alpha"]
    expected = (tiny_files.answers if "float" in kind else lambda **x: tiny_files.integer_answers(x))(
        **inputs
    )
    for name, exact in expected.items():
        step = 0.0 if "float" in kind else tiny_files.GRIDS[name][0]  # it rounds halves its own way
        np.testing.assert_allclose(outputs[name], exact, atol=1e-6 + step)


def test_ops_are_those_of_the_compiled_graph_under_the_names_of_the_file(tmp_path):
    counts = count_ops(tiny_files.float_onnx(tmp_path / "f.onnx"), TARGET)
    assert counts.integer_ops == 0
    assert set(counts.heavy) == {
        HeavyOp("zeta", "FullyConnected", False),
        HeavyOp("alpha", "FullyConnected", False),
    }
    assert counts.providers == {"cpu": counts.total_ops}


def test_layers_on_integers_are_counted_as_such(tmp_path):
    counts = count_ops(tiny_files.tflite(tmp_path / "i.tflite", integer=True), TARGET)
    assert [op.integer for op in counts.heavy] == [True, True]
    assert 2 <= counts.integer_ops <= counts.total_ops


def test_it_is_no_formats_usual_runtime():
    assert {usual_target(format_).backend for format_ in OPENVINO.formats} == {"ort", "litert"}


@pytest.mark.parametrize(("provider", "remedy"), [("gpu", "intel-opencl-icd"), ("npu", "linux-npu-driver")])
def test_a_device_that_is_not_here_is_an_error_that_names_the_fix(tmp_path, provider, remedy):
    no_device(provider.upper())
    artifact = tiny_files.float_onnx(tmp_path / "f.onnx")
    with (
        pytest.raises(UnavailableError, match=f"finds no {provider.upper()}; .*{remedy}.*--allow-fallback"),
        OPENVINO.open(artifact, threads=1, provider=provider),
    ):
        pass
    with OPENVINO.open(artifact, threads=1, provider=provider, allow_fallback=True) as session:
        assert session.provider == "cpu"
    assert remedy in OPENVINO.providers()[provider]
    assert set(OPENVINO.devices()) == {name for name, why in OPENVINO.providers().items() if why is None}


def test_options_are_openvinos_own(tmp_path):
    artifact = tiny_files.float_onnx(tmp_path / "f.onnx")
    options = {"INFERENCE_PRECISION_HINT": "f16", "ENABLE_MMAP": "NO"}
    with OPENVINO.open(artifact, threads=1, provider_options=options) as session:
        assert session.predict(tiny_files.examples(1))["zeta"].shape == (1, 3)


def test_an_option_that_there_is_not_is_told_in_openvinos_words(tmp_path):
    artifact = tiny_files.float_onnx(tmp_path / "f.onnx")
    with (
        pytest.raises(
            InputError, match=r"f\.onnx: .*Unsupported property ABACUS.*; the options are .*ABACUS"
        ) as caught,
        OPENVINO.open(artifact, threads=1, provider_options={"ABACUS": "1"}),
    ):
        pass
    assert "\n" not in str(caught.value)
