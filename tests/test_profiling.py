"""Real profiles: of ResNet-8, float and int8, on both runtimes; through the agent, and as users ask for them."""

from __future__ import annotations

import io
import itertools
import json
import sys
import tarfile
from pathlib import Path

import fake_backend
import numpy as np
import pytest
import tiny_files
from tflite_models import buffer, int8_model, model, tensor, written
from tiny_onnx import linear

from slimedge.artifact_file import read_artifact
from slimedge.benchmarks.profiles.profiling import profile
from slimedge.benchmarks.profiles.trace import MOST_RUNS, chrome_trace
from slimedge.errors import InputError
from slimedge.runtime import agent
from slimedge.runtime.agent_process import AgentProcess
from slimedge.runtime.devices import ssh
from slimedge.runtime.devices.local import Local
from slimedge.runtime.jobs import load_request
from slimedge.runtime.ops import heavy_ops
from slimedge.runtime.profiling import ask_profile
from slimedge.runtime.protocols import Job
from slimedge.runtime.targets import target_for

FILES = [f"{kind} {precision}" for kind in ("onnx", "tflite") for precision in ("float", "int8")]
NOISE = 0.5  # of the run: other processes use the machine while tests run


@pytest.fixture(scope="module")
def resnet8(tmp_path_factory):
    """The bundled ResNet-8 in both formats, float and int8, with the names of its layers."""
    from slimedge.benchmarks import demo
    from slimedge.benchmarks.quantizing import quantize_file
    from slimedge.export.exporting import export_model
    from slimedge.keras_file import load_model

    folder = tmp_path_factory.mktemp("resnet8")
    path, data = demo.load()
    int8 = quantize_file(path, data, folder / "resnet8_int8.keras", split={"calibration": 50}).artifact.path
    files = {}
    for precision, source in (("float", path), ("int8", int8)):
        files |= {f"{file.format} {precision}": file for file in export_model(source, folder=folder)}
    layers = {layer.name for layer in load_model(path)._flatten_layers()}
    return files, layers


@pytest.fixture(scope="module")
def found(resnet8):
    files, _ = resnet8
    return {name: profile(file) for name, file in files.items()}


def shortest_ns(each):
    """What all ops took in the run that was interrupted the least."""
    return min(sum(event.duration_ns for event in run.events) for run in each.raw.runs)


@pytest.mark.parametrize("name", FILES)
def test_the_ops_of_a_run_fit_into_it_and_fill_it(found, name):
    for run in found[name].raw.runs:
        assert sum(event.duration_ns for event in run.events) <= run.duration_ns + 1000
    assert found[name].ops_s + found[name].cut_s >= found[name].profiled_run_s * (1 - NOISE)


@pytest.mark.parametrize("name", FILES)
def test_the_layers_share_the_time_of_the_ops(found, name):
    each = found[name]

    assert sum(layer.seconds for layer in each.layers) == pytest.approx(each.ops_s, rel=0.2)
    assert sum(layer.share for layer in each.layers) == pytest.approx(1.0)


@pytest.mark.parametrize("name", FILES)
def test_every_op_with_much_arithmetic_is_there_and_takes_time(resnet8, found, name):
    heavy = {op.name for op in heavy_ops(resnet8[0][name])}

    times = {op.name: op.seconds for op in found[name].ops if op.name in heavy}

    assert set(times) == heavy
    assert len(heavy) == 10  # nine convolutions and a dense layer
    assert sum(times.values()) > 0.7 * found[name].ops_s


@pytest.mark.parametrize("name", FILES)
def test_the_layers_are_those_of_the_keras_model(resnet8, found, name):
    _, layers = resnet8
    added = {
        "image_fq",
        "probabilities_softmax",
    }  # by quantization: the input's range, and softmax on its own

    names = [layer.layer for layer in found[name].layers]

    assert len(set(names)) == len(names)
    assert {n for n in names if not n.startswith("ONNX Runtime: ")} <= layers | added
    convolutions = {layer for layer in layers if layer.endswith("_conv")}
    assert len(convolutions) == 9
    assert convolutions <= set(names)
    assert {part for layer in found[name].layers for part in layer.fused} <= layers


def test_a_trace_can_be_loaded_and_its_ops_lie_inside_their_runs(found, tmp_path):
    trace = json.loads(json.dumps(chrome_trace(found)))

    assert {event["ph"] for event in trace["traceEvents"]} == {"M", "X"}
    processes = [e for e in trace["traceEvents"] if e["name"] == "process_name"]
    assert [event["args"]["name"] for event in processes] == list(found)
    for process in processes:
        mine = [e for e in trace["traceEvents"] if e["pid"] == process["pid"]]
        threads = {e["tid"]: e["args"]["name"] for e in mine if e["name"] == "thread_name"}
        spans = [e for e in mine if e["ph"] == "X"]
        runs = [e for e in spans if threads[e["tid"]] == "runs"]
        ops = [e for e in spans if threads[e["tid"]] != "runs"]
        each = found[process["args"]["name"]]
        assert len(runs) == min(MOST_RUNS, each.runs)
        assert set(threads.values()) == {"runs", *(op.provider for op in each.ops)}
        assert min(e["ts"] for e in runs) == 0
        assert [(e["tid"], e["ts"]) for e in ops] == sorted((e["tid"], e["ts"]) for e in ops)
        assert {e["args"]["layer"] for e in ops} == {layer.layer for layer in each.layers}
        for op in ops:
            assert (
                sum(r["ts"] <= op["ts"] and op["ts"] + op["dur"] <= r["ts"] + r["dur"] + 1 for r in runs) == 1
            )
        for thread in set(threads) - {0}:
            ends = [(e["ts"], e["ts"] + e["dur"]) for e in ops if e["tid"] == thread]
            assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(ends))


def test_a_foreign_file_without_a_signature_has_its_own_names(tmp_path):
    each = profile(read_artifact(written(int8_model(), tmp_path / "a.tflite")), runs=5)

    assert [(op.name, op.kind, op.layer, op.provider) for op in each.ops] == [
        ("out", "FULLY_CONNECTED", "out", "xnnpack")
    ]
    assert each.runs == 5


def test_an_open_batch_is_profiled_at_the_size_that_is_asked_for(tmp_path):
    kernel = np.random.default_rng(3).normal(size=(400, 600)).astype(np.float32)
    onnx = read_artifact(linear(tmp_path / "a.onnx", kernel))
    sizes = {"kernel": (600, 400), "in": (1, 400), "out": (1, 600)}
    tensors = [
        tensor("in", sizes["in"], signature=[-1, 400]),
        tensor("out", sizes["out"], signature=[-1, 600]),
        tensor("kernel", sizes["kernel"], buffer=1),
    ]
    tflite = read_artifact(
        written(model(tensors, [buffer(), buffer(kernel.T.copy())]), tmp_path / "a.tflite")
    )
    for file in (onnx, tflite):
        one, many = (shortest_ns(profile(file, batch=batch, runs=30)) for batch in (1, 64))
        assert many > 3 * one > 0


def test_inputs_of_several_types_are_fed_by_name(tmp_path):
    for integer in (False, True):
        path = tmp_path / f"{integer}.tflite"
        tiny_files.tflite(path, integer=integer)
        assert profile(read_artifact(path), runs=5).ops


def test_a_runtime_that_does_not_tell_is_an_answer_too(tmp_path):
    command = [sys.executable, agent.__file__, str(Path(fake_backend.__file__).resolve())]
    with AgentProcess(command, name="fake", limit_s=60.0) as process:
        process.ask("load", model=str(tmp_path / "calm"), format="onnx", threads=1, batch=1, seed=0)
        assert ask_profile(process) is None


def test_an_agent_gives_as_many_runs_as_the_time_allows_and_plain_ones_around_them(tmp_path):
    kernel = np.random.default_rng(3).normal(size=(2000, 2000)).astype(np.float32)
    artifact = read_artifact(linear(tmp_path / "a.onnx", kernel))
    request = load_request(Job(artifact, target_for(artifact), batch=8))
    with Local().start("ort", limit_s=60.0) as process:
        process.ask("load", **request)
        few, many = (ask_profile(process, runs=40, seconds=seconds) for seconds in (1e-9, 60.0))

    assert (len(few.runs), len(few.samples_s)) == (5, 10)
    assert (len(many.runs), len(many.samples_s)) == (40, 80)
    assert [op.kind for op in many.ops] == ["MatMul", "Softmax"]


def test_all_that_a_backend_needs_travels_to_a_board():
    packed = ssh._packed(ssh._files("litert"))
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
        names = archive.getnames()

    assert {"agent.py", "litert.py", "litert_profile.py"} <= set(names)
    assert "agent.py litert.py\n" in ssh.Ssh("board").command("litert")[-1]


def test_too_few_runs_are_refused(tmp_path):
    artifact = read_artifact(linear(tmp_path / "a.onnx", np.ones((2, 2), np.float32)))

    with pytest.raises(InputError, match="runs=0 and batch=1"):
        profile(artifact, runs=0)
