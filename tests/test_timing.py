"""The rows of a benchmark as text and as JSON, whatever kind of target they come from."""

from __future__ import annotations

import io
import json

import pytest
from report_sample import HERE
from rich.console import Console

from slimedge.benchmarks.reporting import timing
from slimedge.benchmarks.rows import Benchmark, Row
from slimedge.comparison import Latency
from slimedge.errors import RunError
from slimedge.runtime.targets import parse_target

LATENCY = Latency(1e-4, 2e-4, None, 500)
HERE_ROW = Row(
    "m.onnx", parse_target("ort"), runtime="ort", provider="cpu", latency_s=LATENCY, environment=HERE
)
FELL_BACK = Row(
    "m.onnx",
    parse_target("ort:cuda"),
    runtime="ort",
    provider="cpu",
    latency_s=LATENCY,
    nodes={"cpu": 20},
    environment=HERE,
    notes=("'ort:cuda' was asked for and could not run it; this is cpu.",),
)
EMULATED = Row(
    "m.onnx",
    parse_target("ssh://pi@board/ort"),
    runtime="ort",
    label="emulated",
    provider="cpu",
    instructions=2_416_672.0,
)
ESTIMATED = Row(
    "m.tflite",
    parse_target("ethos-u55-128"),
    runtime="vela",
    label="estimated",
    provider="5.2.0",
    figures={"cycles": 172_204, "inferences_per_s": 2903.5, "sram_bytes": 40_432, "dram_bytes": 0},
)
LOST = Row("m.tflite", parse_target("ssh://pi@board/litert"), error=RunError("the connection was lost."))


def told(*rows):
    console = Console(file=io.StringIO(), width=100, highlight=False, markup=False)
    timing.show(Benchmark(rows, 1, 1), console)
    return console.file.getvalue()


def written(*rows):
    return json.loads(timing.as_json(Benchmark(rows, 1, 1)))["rows"]


def test_a_row_that_fell_back_says_what_ran_it():
    text = told(HERE_ROW, FELL_BACK)
    assert "ort:cuda, cpu" in text
    assert "nodes 20 on cpu" in text
    assert "\nort\n" in text  # the other one got what it asked for
    assert written(FELL_BACK)[0]["provider"] == "cpu"


def test_an_emulators_instructions_are_no_latency():
    text = told(EMULATED)
    assert "emulated" in text
    assert "2.42 M" in text
    (row,) = written(EMULATED)
    assert (row["label"], row["latency_s"], row["instructions"]) == ("emulated", None, 2_416_672.0)


def test_an_estimate_is_labelled_and_what_is_0_is_left_out():
    text = " ".join(told(ESTIMATED).split())
    assert "m.tflite on ethos-u55-128, estimated: cycles 172,204, inferences 2,904/s, sram 40.4 kB" in text
    assert "dram" not in text
    assert written(ESTIMATED)[0]["figures"]["dram_bytes"] == 0


def test_a_row_that_failed_says_why_and_the_others_are_whole():
    text = " ".join(told(HERE_ROW, LOST).split())
    assert "error: m.tflite on ssh://pi@board/litert: the connection was lost." in text
    assert "100 µs" in text
    of_onnx, of_tflite = written(HERE_ROW, LOST)
    assert of_onnx["error"] is None
    assert of_tflite["error"] == "the connection was lost."
    assert of_tflite["latency_s"] is None


@pytest.mark.parametrize("absent", ["kernel p50", "instructions", "energy"])
def test_columns_that_nothing_fills_are_left_out(absent):
    assert absent not in told(HERE_ROW)
