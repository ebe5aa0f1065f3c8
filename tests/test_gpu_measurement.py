"""The measurement on a real GPU: what it does where there is none, and its result where one was at hand."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import tiny_files

from slimedge.benchmarks import gpu
from slimedge.benchmarks.latency import QUICK
from slimedge.errors import UnavailableError
from slimedge.runtime.targets import Target

RESULT = Path(__file__).resolve().parents[1] / "benchmarks/results/gpu.json"
WANTED = list(itertools.product(gpu.MODELS, gpu.BATCHES, gpu.PRECISIONS))


def no_gpu():
    try:
        gpu.gpus()
    except UnavailableError:
        return
    pytest.skip("a GPU is here")


def test_without_a_gpu_it_says_so_in_one_sentence_and_exits_2(capsys):
    no_gpu()
    assert gpu.main([]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("there is no GPU here")
    assert told.err.count("\n") == 1


def test_gpus_are_those_that_the_system_shows(tmp_path):
    with pytest.raises(UnavailableError, match="there is no GPU here"):
        gpu.gpus(tmp_path)
    for card, kind in (("card0", "0x030200"), ("card1", "0x040300")):  # a GPU; something that only sounds
        folder = tmp_path / "sys/class/drm" / card / "device"
        folder.mkdir(parents=True)
        for name, text in (("class", kind), ("vendor", "0x1002"), ("device", "0x744c")):
            (folder / name).write_text(text + "\n")
    assert gpu.gpus(tmp_path) == ["0x1002:0x744c"]
    folder = tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0"
    folder.mkdir(parents=True)
    (folder / "information").write_text("Model: \t NVIDIA X\n")
    assert gpu.gpus(tmp_path) == ["NVIDIA X"]


def test_a_row_holds_times_or_a_reason(tmp_path):
    artifact = tiny_files.float_onnx(tmp_path / "f.onnx")
    row = gpu.measure("tiny", artifact, Target("ort"), 4, "float32", QUICK)
    assert (row.model, row.target, row.batch, row.provider, row.reason) == ("tiny", "ort", 4, "cpu", None)
    assert row.throughput == pytest.approx(4 / row.end_to_end_s)
    assert row.kernel_s is None  # nothing is copied to a CPU
    absent = gpu.measure("tiny", artifact, Target("ort", "abacus"), 1, "float32", QUICK)
    assert "abacus" in absent.reason
    assert absent.end_to_end_s is absent.throughput is None


def test_every_combination_needs_a_row_on_both_runtimes():
    rows = [
        gpu.Row(model, target, batch, precision, end_to_end_s=1.0)
        for model, batch, precision in WANTED
        for target in ("ort:webgpu", "litert:gpu")
    ]
    assert gpu.missed(rows) == []
    failed = gpu.Row("ResNet50", "litert:gpu", 32, "float16", reason="no memory")
    left = [row for row in rows if (row.model, row.target, row.batch, row.precision) != failed_key(failed)]
    assert gpu.missed([*left, failed]) == [
        "ResNet50 in float16 with a batch of 32 does not run on litert:gpu"
    ]
    assert len(gpu.missed([])) == 2 * len(WANTED)


def failed_key(row):
    return row.model, row.target, row.batch, row.precision


def test_the_committed_result_has_every_row_with_both_figures():
    if not RESULT.is_file():
        pytest.skip(
            "benchmarks/results/gpu.json is not there: no GPU was at hand; `make gpu` makes it on one"
        )
    result = json.loads(RESULT.read_text())
    assert result["gpus"]
    assert result["environment"]["cpu"]
    assert result["missed"] == []
    rows = [gpu.Row(**row) for row in result["rows"]]
    assert gpu.missed(rows) == []
    for row in rows:
        if row.reason is None:
            assert row.provider == row.target.partition(":")[2]
            assert 0 < row.kernel_s < 1.2 * row.end_to_end_s
            assert row.throughput == pytest.approx(row.batch / row.end_to_end_s)
