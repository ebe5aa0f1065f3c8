from __future__ import annotations

import pytest
import tiny_files

from slimedge.errors import InputError
from slimedge.runtime import availability
from slimedge.runtime.availability import available_targets
from slimedge.runtime.backends import BACKENDS
from slimedge.runtime.backends.ort import Ort
from slimedge.runtime.targets import Target, parse_target, target_for


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ort", Target("ort", "cpu")),
        ("ort:cpu", Target("ort", "cpu")),
        (" ORT:CUDA ", Target("ort", "cuda")),
        ("litert", Target("litert", "cpu")),
        ("reference", Target("reference", "cpu")),
        ("ssh://pi@board/litert", Target("litert", device="ssh://pi@board")),
        ("ssh://Board:2222", Target("", device="ssh://Board:2222")),
        ("local?cores=1&memory=64M", Target("", device="local?cores=1&memory=64M")),
        ("local/ort?cores=1", Target("ort", device="local?cores=1")),
        ("ort:cuda?device_id=1", Target("ort", "cuda", options=(("device_id", "1"),))),
        (
            "ssh://pi@board/ort:cuda?python=venv/bin/python&device_id=1",
            Target("ort", "cuda", "ssh://pi@board?python=venv/bin/python", (("device_id", "1"),)),
        ),
    ],
)
def test_a_name_is_a_backend_and_maybe_a_provider(name, expected):
    assert parse_target(name) == expected


def test_a_target_is_written_as_it_is_named():
    assert [str(parse_target(name)) for name in ("ort", "ort:cpu", "ort:cuda")] == ["ort", "ort", "ort:cuda"]


@pytest.mark.parametrize(
    "name",
    [
        "ssh://pi@board:2222/litert",
        "ssh://pi@board",
        "ssh://pi@board/ort:cuda?python=venv/bin/python&device_id=1",
        "local?cores=1&memory=64M",
        "local/litert?cores=1",
        "ort:cuda?device_id=1",
    ],
)
def test_a_target_reads_what_it_writes(name):
    assert str(parse_target(name)) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shh://pi@board/litert", "there is no device 'shh'; did you mean 'ssh'"),
        ("board/litert", "there is no device 'board'"),
        ("ssh:///litert", "'ssh://' names no host"),
        ("ssh://-oProxyCommand=x/litert", "names no host"),
        ("ssh://pi@board:99999/litert", "names no host"),
        ("ssh://pi@board?python=a;b", "python=a;b is not allowed"),
        (
            "ssh://pi@board?cores=1",
            "'cores' in the target 'ssh://pi@board\\?cores=1' is no setting of the device ssh",
        ),
        ("ssh://pi@board?python", "write each setting once, as KEY=VALUE"),
        ("local?cores=1&cores=2", "write each setting once"),
        ("local?cores=0", "cores=0 is not allowed; this machine has 1 to"),
        ("local?memory=1M", "memory=1M is not allowed; give 32M or more"),
        ("local?memory=much", "memory=much is not allowed"),
        ("local://here/litert", "this machine is plainly 'local'"),
        ("reference?precision=fp16", "'precision' in the target 'reference\\?precision=fp16' is no setting"),
        ("ssh://pi@board?precision=fp16", "is no setting of the device ssh"),
    ],
)
def test_a_name_that_says_nothing_is_told_what_is_wrong(name, message):
    with pytest.raises(InputError, match=message):
        parse_target(name)


@pytest.mark.parametrize(
    ("format_", "expected"), [("onnx", "ssh://pi@board/ort"), ("tflite", "ssh://pi@board/litert")]
)
def test_a_device_runs_each_format_on_its_usual_runtime(format_, expected):
    assert str(target_for(tiny_files.artifact(f"m.{format_}"), "ssh://pi@board")) == expected


def test_a_device_elsewhere_runs_no_keras_file():
    with pytest.raises(InputError, match=r"runs \.onnx, \.tflite and was given m\.keras"):
        target_for(tiny_files.artifact("m.keras"), "ssh://pi@board")


def test_a_backend_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(
        InputError, match=r"there is no target 'lightrt'; did you mean 'litert'.*reference, ort"
    ):
        parse_target("lightrt")


def test_a_device_that_is_misspelt_is_told_with_those_that_are():
    with pytest.raises(InputError, match=r"there is no target 'arm46'; did you mean 'arm64'"):
        parse_target("arm46")


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
    monkeypatch.setattr(availability, "BACKENDS", {name: BACKENDS[name] for name in ("ort", "litert")})
    found = {str(each.target): each for each in available_targets()}
    assert found["litert"].reason is None
    assert found["litert"].version[0].isdigit()
    assert (found["ort"].version, found["ort"].reason) == (None, "it was left at home; pip install it")


def test_a_provider_that_cannot_be_used_is_listed_with_what_to_do(monkeypatch):
    import onnxruntime as ort

    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("CUDA is here")
    monkeypatch.setattr(availability, "BACKENDS", {"ort": BACKENDS["ort"]})
    found = {str(each.target): each for each in available_targets()}
    assert found["ort"].reason is None
    assert "pip install onnxruntime-gpu" in found["ort:cuda"].reason
