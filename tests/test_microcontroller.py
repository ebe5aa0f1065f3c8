"""The bundled nets on a microcontroller: TFLite Micro beside LiteRT, the arena by search, Vela, the C array."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from slimedge.artifact_file import read_artifact
from slimedge.benchmarks import microcontroller
from slimedge.benchmarks.demo import FOLDER
from slimedge.export.c_array import parsed
from slimedge.export.exporting import export_model
from slimedge.micro_operators import operators
from slimedge.runtime.microcontroller.arena import arena, smallest_arena_bytes
from slimedge.runtime.targets import measurer, parse_target
from slimedge.runtime.vela.compiling import estimate

RESULTS = json.loads((Path(__file__).parents[1] / "benchmarks/results/microcontroller.json").read_text())
IMAGES = 200
NETS = ("resnet8", "depthwise_separable")


@pytest.fixture(scope="module", params=NETS)
def net(request, tmp_path_factory):
    pytest.importorskip("tflite_micro")
    return request.param, microcontroller.int8_file(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def images():
    return microcontroller.sample()[1][:IMAGES]


def test_the_arena_that_is_told_is_within_2_percent_of_the_smallest_that_runs(net):
    name, file = net
    told, smallest = arena(file.path), smallest_arena_bytes(file.path)
    assert told.planning_bytes == 0  # TFLite Micro's own count
    assert smallest <= told.total_bytes <= smallest * 1.02
    assert told.total_bytes == RESULTS["nets"][name]["arena_bytes"]


def test_every_tensor_up_to_the_last_layers_is_that_of_litert_s_reference_kernels(net, images):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
    from tflite_micro.python.tflite_micro import runtime

    _, file = net
    content = file.path.read_bytes()
    reference = Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    reference.allocate_tensors()
    micro = runtime.Interpreter.from_bytes(
        content, arena_size=1 << 24, intrepreter_config=runtime.InterpreterConfig.kPreserveAllTensors
    )
    made = {op["op_name"]: [] for op in reference._get_ops_details()}
    for image in images:
        steps = np.int8(np.rint(image[None] * 255) - 128)
        reference.set_tensor(reference.get_input_details()[0]["index"], steps)
        reference.invoke()
        micro.set_input(steps, 0)
        micro.invoke()
        for op in reference._get_ops_details():
            index = int(op["outputs"][0])
            found = micro.GetTensor(index, 0)["tensor_data"].astype(int)
            made[op["op_name"]].append(np.abs(found - reference.get_tensor(index)).max())
    apart = {kind: int(max(largest)) for kind, largest in made.items()}
    # The two round a product that lies between two steps in different ways in fully connected layers.
    assert apart.pop("FULLY_CONNECTED") <= 1
    assert apart.pop("SOFTMAX") <= 5
    assert set(apart.values()) == {0}
    assert "CONV_2D" in apart


def test_the_backend_s_classes_are_litert_s(net, images):
    name, file = net
    found = microcontroller.steps_of("mcu", file, images)
    assert np.array_equal(found.argmax(axis=1), microcontroller.reference_steps(file, images).argmax(axis=1))
    default = microcontroller.steps_of("litert", file, images)
    assert np.mean(found.argmax(axis=1) == default.argmax(axis=1)) >= 0.99
    assert RESULTS["nets"][name]["against"]["litert"]["same_class"] >= 0.99


def test_the_backend_is_measured_in_a_way_that_tells_no_time():
    assert measurer(parse_target("mcu")) == "microcontrollers"


@pytest.mark.parametrize("configuration", ["ethos-u55-128", "ethos-u65-256", "ethos-u85-256"])
def test_vela_runs_all_of_a_net_on_the_npu_and_its_figures_fit_each_other(net, configuration, tmp_path):
    pytest.importorskip("ethosu.vela")
    name, file = net
    found = estimate(file.path, configuration, folder=tmp_path)
    summary = found.summary
    assert (found.npu_share, found.cpu_operators) == (1.0, {})
    assert operators(found.compiled) == {"custom ethos-u": 1}
    assert summary.inferences_per_s == pytest.approx(summary.clock_hz / summary.cycles.total, rel=1e-9)
    assert sum(layer.cycles for layer in found.layers) == summary.cycles.total
    macs_in_a_cycle = int(configuration.rpartition("-")[2])
    assert summary.cycles.npu >= summary.macs / macs_in_a_cycle
    assert summary.cycles.total == RESULTS["nets"][name]["vela"][configuration]["cycles"]["total"]


def test_the_committed_figures_meet_their_bars_and_hold_all_configurations():
    from slimedge.runtime.vela.configurations import CONFIGURATIONS

    assert list(RESULTS["nets"]) == list(NETS)
    assert microcontroller.missed(RESULTS["nets"]) == RESULTS["missed"] == []
    for found in RESULTS["nets"].values():
        assert list(found["vela"]) == list(CONFIGURATIONS)
        assert {row["label"] for row in found["vela"].values()} == {"estimated"}


def test_bars_that_are_missed_are_told():
    net = {
        "arena_bytes": 1030,
        "smallest_arena_bytes": 1000,
        "against": {"litert_reference": {"same_class": 0.5, "largest_difference_steps": 9}},
    }
    assert microcontroller.missed({"small": net}) == [
        "small is told to need 1030 bytes and runs in 1000",
        "small gives the class of LiteRT's reference kernels in 50.00%",
        "small is 9 steps from LiteRT's reference kernels",
    ]


def test_a_keras_model_is_written_as_the_array_of_its_tflite_file(tmp_path):
    source = FOLDER / "depthwise_separable.keras"
    array, file = export_model(source, to=["c-array", "tflite"], folder=tmp_path, dense=True)
    assert parsed(array.path.read_text()) == file.path.read_bytes()
    assert (array.inputs, array.lineage) == (file.inputs, file.lineage)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".cc", ".h", ".tflite"]
    assert read_artifact(file.path) == file
