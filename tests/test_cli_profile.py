"""`slimedge benchmark --profile`, as users type it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_files
from cli_output import in_one_line

from slimedge.benchmarks import benchmarking, latency
from slimedge.benchmarks.measurers import agents
from slimedge.benchmarks.rows import Row
from slimedge.cli.running import run
from slimedge.errors import RunError
from slimedge.runtime.backends import BACKENDS


@pytest.fixture
def hurried(monkeypatch):
    short = replace(latency.QUICK, launches=2, most_launches=2, rounds=2, launch_s=0.05, warm_s=0.02)
    monkeypatch.setattr(latency, "SETTINGS", {"default": short})


@pytest.fixture
def both(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_files.float_onnx(tmp_path / "a.onnx")
    tiny_files.tflite(tmp_path / "a.tflite", integer=False)


def test_each_row_is_told_where_its_time_goes(both, hurried, capsys):
    assert (
        run(["benchmark", "a.onnx", "a.tflite", "--profile", "--json", "out.json", "--trace", "t.json"]) == 0
    )

    out, _ = in_one_line(capsys)
    assert "a.tflite on litert: 2 ops take" in out
    rows = json.loads(Path("out.json").read_text())["rows"]
    for row in rows:
        profile = row["profile"]
        assert profile["runs"] >= 5
        assert (
            sum(layer["share"] for layer in profile["layers"]) == pytest.approx(1.0) or not profile["ops_s"]
        )
        assert profile["ops_s"] == pytest.approx(sum(op["seconds"] for op in profile["ops"]))
        assert {op["layer"] for op in profile["ops"]} == {layer["layer"] for layer in profile["layers"]}
        assert profile["run_s"] == pytest.approx(row["latency_s"]["p50"], rel=3)
    events = json.loads(Path("t.json").read_text())["traceEvents"]
    names = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert names == ["a.onnx on ort", "a.tflite on litert"]


def test_without_being_asked_nothing_is_profiled(both, hurried, capsys):
    assert run(["benchmark", "a.onnx", "--json", "-"]) == 0

    assert json.loads(capsys.readouterr().out)["rows"][0]["profile"] is None


def test_a_profile_that_cannot_be_had_costs_only_itself(both, hurried, monkeypatch, capsys):
    def die(artifact, *_arguments, **_settings):
        raise RunError(f"litert died of SIGSEGV in native code while running {artifact.path.name}.")

    monkeypatch.setattr(agents, "profile", die)

    assert run(["benchmark", "a.tflite", "--profile", "--json", "out.json", "--trace", "t.json"]) == 0

    out, _ = in_one_line(capsys)
    assert "note: Where the time of a.tflite goes could not be told: litert died of SIGSEGV" in out
    (row,) = json.loads(Path("out.json").read_text())["rows"]
    assert row["profile"] is None
    assert row["latency_s"]["n"] > 0


def test_a_trace_needs_a_folder_that_is_there(both, hurried, capsys):
    np.savez("file", x=1)

    assert run(["benchmark", "a.tflite", "--trace", "file.npz/t.json"]) == 2

    assert "--trace" in in_one_line(capsys)[1]


def test_a_target_that_tells_nothing_of_ops_says_so(both, monkeypatch):
    def estimated(entries, _conditions, _progress):
        return [Row(entry.name, entry.target, label="estimated", figures={"cycles": 7}) for entry in entries]

    monkeypatch.setattr(BACKENDS["litert"], "measurer", "estimates", raising=False)
    monkeypatch.setattr(benchmarking, "MEASURERS", {"estimates": estimated})

    (row,) = benchmarking.benchmark(["a.tflite"], profile=True).rows
    (plain,) = benchmarking.benchmark(["a.tflite"]).rows

    assert row.notes == ("'litert' does not tell where the time of a.tflite goes; profile on ort or litert.",)
    assert plain.notes == ()
