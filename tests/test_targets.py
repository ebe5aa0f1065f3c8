from __future__ import annotations

import pytest
import tiny_files

from slimedge.errors import InputError
from slimedge.runtime import targets
from slimedge.runtime.backends import BACKENDS
from slimedge.runtime.backends.ort import Ort
from slimedge.runtime.targets import Target, available_targets, parse_target, target_for


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ort", Target("ort", "cpu")),
        ("ort:cpu", Target("ort", "cpu")),
        (" ORT:CUDA ", Target("ort", "cuda")),
        ("litert", Target("litert", "cpu")),
        ("reference", Target("reference", "cpu")),
    ],
)
def test_a_name_is_a_backend_and_maybe_a_provider(name, expected):
    assert parse_target(name) == expected


def test_a_target_is_written_as_it_is_named():
    assert [str(parse_target(name)) for name in ("ort", "ort:cpu", "ort:cuda")] == ["ort", "ort", "ort:cuda"]


def test_a_backend_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(InputError, match=r"there is no backend 'lightrt'.*reference, ort, litert"):
        parse_target("lightrt")


def test_a_colon_wants_a_provider():
    with pytest.raises(InputError, match="'ort:' names no provider"):
        parse_target("ort:")


@pytest.mark.parametrize(
    ("file", "expected"), [("m.onnx", "ort"), ("m.tflite", "litert"), ("m.keras", "reference")]
)
@pytest.mark.parametrize("name", [None, "cpu"])
def test_a_file_has_a_usual_target(file, expected, name):
    assert target_for(tiny_files.artifact(file), name) == Target(expected)


def test_a_target_that_does_not_run_a_format_says_which_does():
    with pytest.raises(
        InputError, match=r"'ort' runs \.onnx and was given m\.tflite; for \.tflite use litert"
    ):
        target_for(tiny_files.artifact("m.tflite"), "ort")


def test_what_can_run_here_is_listed_with_its_version(monkeypatch):
    monkeypatch.setattr(Ort, "missing", lambda _self: "it was left at home; pip install it")
    monkeypatch.setattr(targets, "BACKENDS", {name: BACKENDS[name] for name in ("ort", "litert")})
    found = {str(each.target): each for each in available_targets()}
    assert found["litert"].reason is None
    assert found["litert"].version[0].isdigit()
    assert (found["ort"].version, found["ort"].reason) == (None, "it was left at home; pip install it")


def test_a_provider_that_cannot_be_used_is_listed_with_what_to_do(monkeypatch):
    import onnxruntime as ort

    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("CUDA is here")
    monkeypatch.setattr(targets, "BACKENDS", {"ort": BACKENDS["ort"]})
    found = {str(each.target): each for each in available_targets()}
    assert found["ort"].reason is None
    assert "pip install onnxruntime-gpu" in found["ort:cuda"].reason
