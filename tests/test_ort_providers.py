"""Where ONNX Runtime's execution providers come from, and what is said where one is not there."""

from __future__ import annotations

from importlib import metadata
from types import SimpleNamespace

import pytest
import tiny_files

from slimedge.errors import UnavailableError
from slimedge.runtime.backends import BACKENDS, ort_providers
from slimedge.runtime.backends.ort import BACKEND
from slimedge.runtime.backends.ort_nodes import count_nodes
from slimedge.runtime.backends.ort_providers import (
    PROVIDERS,
    device_name,
    known,
    place,
    reason_of,
    short_name,
)

NOT_HERE = [name for name in PROVIDERS if name not in {"cpu", "webgpu"}]


def needs_absence(name):
    import onnxruntime as ort

    if PROVIDERS[name].name in ort.get_available_providers():
        pytest.skip(f"{name} is here")


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("cuda", "pip uninstall onnxruntime, then pip install onnxruntime-gpu (the two exclude each other)"),
        ("tensorrt", "pip install onnxruntime-gpu (the two exclude each other), and pip install tensorrt"),
        ("openvino", "pip install onnxruntime-ep-openvino"),
        ("directml", "on Windows, pip uninstall onnxruntime, then pip install onnxruntime-directml"),
        ("coreml", "pip install onnxruntime on macOS"),
        ("qnn", "pip install onnxruntime-qnn"),
    ],
)
def test_a_provider_that_is_not_here_names_the_command_that_would_fix_it(name, fix):
    needs_absence(name)
    with pytest.raises(ImportError) as caught:
        place(name, {})
    assert fix in str(caught.value)
    assert PROVIDERS[name].name in str(caught.value)


def test_webgpu_without_its_plug_in_names_the_extra(monkeypatch):
    monkeypatch.setattr(ort_providers.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(
        ImportError, match=r"WebGpuExecutionProvider is not installed; pip install 'slimedge\[webgpu\]'"
    ):
        place("webgpu", {})


def test_two_builds_at_once_are_told_first(monkeypatch):
    needs_absence("cuda")
    monkeypatch.setattr(metadata, "version", lambda _package: "1.31")
    with pytest.raises(ImportError, match="are both installed and overwrite each other: pip uninstall both"):
        place("cuda", {})


def test_every_name_is_told_for_one_that_there_is_not():
    with pytest.raises(
        ValueError, match=r"there is no execution provider 'dml'; ONNX Runtime knows .*directml"
    ) as caught:
        place("dml", {})
    assert all(name in str(caught.value) for name in PROVIDERS)
    assert set(PROVIDERS) < set(known())


def test_all_providers_are_listed_and_those_that_are_not_here_have_a_reason():
    found = BACKEND.providers()
    assert set(PROVIDERS) <= set(found)
    assert found["cpu"] is None
    for name in NOT_HERE:
        needs_absence(name)
        assert PROVIDERS[name].remedy.split(" (")[0] in found[name]


def hardware(kind, vendor_id, *, vendor="", device_id=0x2330, **metadata_):
    """A device as ONNX Runtime lists it, for a placing."""
    inner = SimpleNamespace(
        type=f"OrtHardwareDeviceType.{kind}",
        vendor=vendor,
        vendor_id=vendor_id,
        device_id=device_id,
        metadata=metadata_,
    )
    return SimpleNamespace(device=inner)


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (hardware("GPU", 0x1002, vendor="AMD", device_id=0x744C), "GPU AMD 1002:744c"),
        (hardware("GPU", 0x8086, Description="Some Arc"), "GPU Some Arc"),
        (hardware("NPU", 0x8086, Description="Some NPU "), "NPU Some NPU"),
        (hardware("CPU", 0x1022), None),  # stands in for a GPU that the system does not list
    ],
)
def test_a_plug_ins_device_is_named_as_far_as_it_is_known(device, expected):
    placing = ort_providers.Placing("webgpu", PROVIDERS["webgpu"], device, {})
    assert device_name(placing) == expected


def test_nvidias_driver_names_its_gpus(tmp_path, monkeypatch):
    for number, model in enumerate(("NVIDIA A", "NVIDIA B")):
        folder = tmp_path / f"0000:0{number}:00.0"
        folder.mkdir()
        (folder / "information").write_text(f"Model: \t\t {model}\nIRQ:   1\n")
    names = ort_providers.nvidia_names(str(tmp_path / "*" / "information"))
    assert names == ["NVIDIA A", "NVIDIA B"]
    monkeypatch.setattr(ort_providers, "nvidia_names", lambda: names)
    for settings, expected in (
        ({}, "NVIDIA A"),
        ({"device_id": "1"}, "NVIDIA B"),
        ({"device_id": "7"}, None),
    ):
        placing = ort_providers.Placing("cuda", PROVIDERS["cuda"], None, settings)
        assert device_name(placing) == expected


NO_ADAPTER = (
    "/a.cc:71 virtual A::B(const C&) Error: [ONNXRuntimeError] : 11 : EP_FAIL : /src/b.cc:136 ns::D::E(F*)::<lambda()>"
    " status == G::H was false. Failed to get a WebGPU adapter: No supported adapters\n\n"
)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "[ONNXRuntimeError] : 3 : NO_SUCHFILE : Load model from m.onnx failed.",
            "Load model from m.onnx failed",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : shader_helper.cc:416 GenerateSourceCode Program Transpose requires f16",
            "Program Transpose requires f16",
        ),
        (NO_ADAPTER, "Failed to get a WebGPU adapter: No supported adapters"),
        ("Unknown provider option: 'abacus'.", "Unknown provider option: 'abacus'"),
        ("", "RuntimeError"),
    ],
)
def test_what_matters_of_a_message_is_kept(message, expected):
    assert reason_of(RuntimeError(message)) == expected


def test_copies_between_devices_are_no_nodes_of_the_model():
    def node(kind, provider):
        args = {"op_name": kind, "provider": provider, "input_type_shape": [], "output_type_shape": []}
        return {"cat": "Node", "name": f"{kind}_kernel_time", "args": args}

    counted = count_nodes(
        [
            node("MemcpyFromHost", "WebGpuExecutionProvider"),
            node("Conv", "WebGpuExecutionProvider"),
            node("MemcpyToHost", "WebGpuExecutionProvider"),
            node("QuantizeLinear", "CPUExecutionProvider"),
        ],
        short_name,
    )
    assert (counted["total"], counted["providers"]) == (2, {"webgpu": 1, "cpu": 1})


# Strict: what was asked for is what runs


def test_a_provider_that_is_not_here_is_an_error_that_names_the_fix(tmp_path):
    needs_absence("cuda")
    artifact = tiny_files.float_onnx(tmp_path / "cuda.onnx")
    with (
        pytest.raises(UnavailableError, match=r"CUDAExecutionProvider.*pip install onnxruntime-gpu"),
        BACKENDS["ort"].open(artifact, threads=1, provider="cuda"),
    ):
        pass


def test_with_fallback_allowed_the_row_says_cpu(tmp_path):
    needs_absence("cuda")
    artifact = tiny_files.float_onnx(tmp_path / "cuda.onnx")
    with BACKENDS["ort"].open(artifact, threads=1, provider="cuda", allow_fallback=True) as session:
        assert session.provider == "cpu"
        assert session.predict(tiny_files.examples(1))["zeta"].shape == (1, 3)


def azure():
    import onnxruntime as ort

    if "AzureExecutionProvider" not in ort.get_available_providers():
        pytest.skip("this build of ONNX Runtime has no provider that takes no node")


def test_a_provider_that_is_here_and_takes_no_node_is_an_error(tmp_path):
    azure()
    artifact = tiny_files.float_onnx(tmp_path / "azure.onnx")
    with (
        pytest.raises(
            UnavailableError, match=r"AzureExecutionProvider cannot run all of azure.onnx: .*--allow-fallback"
        ),
        BACKENDS["ort"].open(artifact, threads=1, provider="azure"),
    ):
        pass


def test_a_provider_that_took_no_node_is_not_the_one_that_ran(tmp_path):
    azure()
    artifact = tiny_files.float_onnx(tmp_path / "azure.onnx")
    with BACKENDS["ort"].open(artifact, threads=1, provider="azure", allow_fallback=True) as session:
        assert session.provider == "cpu"
