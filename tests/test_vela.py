"""Vela's estimates: read from its tables, and checked by arithmetic on files that it compiled."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import micro_files
import pytest
import tiny_files

from slimedge.errors import InputError, RunError, UnavailableError
from slimedge.micro_operators import operators
from slimedge.runtime.vela import compiling
from slimedge.runtime.vela.compiling import estimate
from slimedge.runtime.vela.configurations import CONFIGURATIONS
from slimedge.runtime.vela.tables import read_layers, read_summary

SUMMARY = {
    "system_config": "Chip",
    "memory_mode": "Mode",
    "core_clock": "500000000.0",
    "batch_size": "1",
    "inferences_per_second": "2500.0",
    "nn_macs": "1234",
    "cycles_total": "200000",
    "cycles_npu": "150000",
    "cycles_sram_access": "7",
    "cycles_dram_access": "6",
    "cycles_on_chip_flash_access": "5",
    "cycles_off_chip_flash_access": "4",
    "sram_memory_used": "1.5",
    "dram_memory_used": "0.0",
    "on_chip_flash_memory_used": "0.25",
    "off_chip_flash_memory_used": "78.6875",
}


def table(row):
    return ",".join(row) + "\n" + ",".join(row.values()) + "\n"


@pytest.fixture
def vela():
    pytest.importorskip("ethosu.vela")


@pytest.fixture
def dense(tmp_path):
    return micro_files.dense(tmp_path / "dense.tflite", 64, outputs=16)


# Tables


def test_a_summary_is_read_with_its_units():
    found = read_summary(table(SUMMARY))
    assert (found.clock_hz, found.inferences_per_s, found.macs) == (5e8, 2500.0, 1234)
    assert (found.cycles.total, found.cycles.npu, found.cycles.sram) == (200_000, 150_000, 7)
    assert (found.cycles.dram, found.cycles.on_chip_flash, found.cycles.off_chip_flash) == (6, 5, 4)
    assert (found.memory.sram_bytes, found.memory.dram_bytes) == (1536, 0)
    assert (found.memory.on_chip_flash_bytes, found.memory.off_chip_flash_bytes) == (256, 80_576)


def test_a_network_that_takes_no_cycles_has_no_speed():
    assert read_summary(table({**SUMMARY, "inferences_per_second": "nan"})).inferences_per_s is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (table({**SUMMARY, "nn_macs": "many"}), "'many' in the column 'nn_macs'"),
        (table({name: value for name, value in SUMMARY.items() if name != "nn_macs"}), "no column 'nn_macs'"),
        ("", "0 rows"),
        (table(SUMMARY) + ",".join(SUMMARY.values()) + "\n", "2 rows"),
    ],
)
def test_a_table_of_another_kind_is_told(text, message):
    with pytest.raises(RunError, match=rf"{message}.*; install another"):
        read_summary(text)


def test_layers_are_read_with_where_they_run():
    text = (
        "Original Operator,NNG Operator,Target,Staging Usage,Op Cycles,MAC Count,Name\n"
        "Conv2D,Conv2D,NPU,13760,11316,112896,stem\nQuantize,Passthrough,CPU,0,0,0,image\n"
    )
    stem, image = read_layers(text)
    assert (stem.operator, stem.on_npu, stem.cycles, stem.macs, stem.name) == (
        "Conv2D",
        True,
        11316,
        112_896,
        "stem",
    )
    assert (image.step, image.on_npu, image.cycles) == ("Passthrough", False, 0)


# Compiling


@pytest.mark.usefixtures("vela")
def test_the_configurations_are_those_that_vela_lists():
    told = subprocess.run(
        [sys.executable, "-m", "ethosu.vela", "--help"], capture_output=True, text=True, check=True
    ).stdout
    listed = re.search(r"--accelerator-config \{([^}]*)\}", told)[1]
    assert tuple(re.sub(r"\s", "", listed).split(",")) == CONFIGURATIONS


@pytest.mark.usefixtures("vela")
@pytest.mark.parametrize("configuration", ["ethos-u55-128", "ethos-u65-256", "ethos-u85-256"])
def test_the_figures_of_an_estimate_fit_each_other(dense, configuration):
    found = estimate(dense, configuration)

    assert found.summary.inferences_per_s == pytest.approx(
        found.summary.clock_hz / found.summary.cycles.total
    )
    assert found.latency_s == pytest.approx(1 / found.summary.inferences_per_s)
    assert sum(layer.cycles for layer in found.layers) == found.summary.cycles.total
    assert sum(layer.macs for layer in found.layers) == found.summary.macs >= 64 * 16
    assert (found.npu_share, found.cpu_operators, found.operators) == (1.0, {}, 1)
    assert found.compiled is None


@pytest.mark.usefixtures("vela")
def test_the_compiled_file_is_kept_and_holds_the_npu_s_operator(dense, tmp_path):
    found = estimate(dense, "ethos-u55-128", folder=tmp_path / "new")

    assert found.compiled == tmp_path / "new" / "dense_ethos-u55-128_vela.tflite"
    assert operators(found.compiled) == {"custom ethos-u": 1}
    assert found.compiled.stat().st_size == found.compiled_bytes
    assert [path.name for path in found.compiled.parent.iterdir()] == [found.compiled.name]


@pytest.mark.usefixtures("vela")
def test_operators_that_stay_on_the_cpu_are_named_as_the_table_of_layers_has_them(tmp_path):
    found = estimate(micro_files.dense_then_float(tmp_path / "two.tflite"), "ethos-u55-128")

    assert dict(found.cpu_operators) == {"DEQUANTIZE": 1}
    assert [layer.operator.upper() for layer in found.layers if not layer.on_npu] == ["DEQUANTIZE"]
    assert found.npu_share == 0.5


@pytest.mark.usefixtures("vela")
def test_a_float_file_is_an_error_that_names_the_way_out(tmp_path):
    path = tiny_files.tflite(tmp_path / "float.tflite", integer=False).path
    with pytest.raises(
        InputError, match=r"^float\.tflite runs nothing on the NPU .* it is float; .*slimedge quantize.*\.$"
    ):
        estimate(path, "ethos-u55-128", folder=tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("vela")
def test_a_damaged_file_never_reaches_vela(dense, tmp_path):
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(dense.read_bytes()[:600])
    with pytest.raises(InputError, match=r"cut\.tflite is cut off or damaged"):
        estimate(cut, "ethos-u55-128")


@pytest.mark.usefixtures("vela")
def test_vela_is_ended_after_its_time(dense):
    with pytest.raises(RunError, match=r"not done compiling dense\.tflite after 0\.05 s"):
        estimate(dense, "ethos-u55-128", time_limit_s=0.05)


@pytest.mark.usefixtures("vela")
def test_what_vela_says_against_its_options_is_passed_on(dense):
    with pytest.raises(RunError, match=r"status 1 on dense\.tflite: .*System_Config\.nonsense not found"):
        estimate(dense, "ethos-u55-128", system_config="nonsense")


@pytest.mark.usefixtures("vela")
def test_a_system_can_be_chosen(dense):
    found = estimate(dense, "ethos-u55-128", system_config="Ethos_U55_Deep_Embedded", memory_mode="Sram_Only")
    assert (found.summary.system_config, found.summary.memory_mode) == (
        "Ethos_U55_Deep_Embedded",
        "Sram_Only",
    )
    assert found.summary.clock_hz == 200e6


def test_another_configuration_is_refused(dense):
    with pytest.raises(InputError, match="'ethos-u55-127'; the configurations are ethos-u55-32, "):
        estimate(dense, "ethos-u55-127")


def test_where_vela_is_not_installed_it_says_what_to_install(dense, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(compiling, "find_spec", lambda name: None if name == "ethosu" else find(name))
    assert compiling.missing().endswith("pip install 'slimedge[ethos-u]'")
    with pytest.raises(UnavailableError, match=r"pip install 'slimedge\[ethos-u\]'\.$"):
        estimate(dense, "ethos-u55-128")
