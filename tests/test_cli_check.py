"""`slimedge check`: what it prints and writes, how it ends, and that it holds for reports that were really measured."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from check_sample import INT8, report
from cli_output import told
from conftest import KERNEL
from report_sample import HERE
from tiny_onnx import linear

from slimedge.benchmarks.reporting import json as json_report
from slimedge.benchmarks.reporting.report import Report
from slimedge.cli.running import run
from slimedge.comparison import Speedup

HOSTILE = "<script>|[red]*b*\x1b[31m\n::error::x##[error]"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("base.json").write_text(json_report.render(report()))
    return tmp_path


def write(made, name="report.json"):
    Path(name).write_text(json_report.render(made))


def test_a_report_against_itself_passes(folder, capsys):
    assert run(["check", "base.json", "--baseline", "base.json", "--require-latency"]) == 0

    out, error = told(capsys)
    assert out.startswith("Nothing is worse than in base.json: 5 the same.\n")
    assert error == ""


def test_the_report_is_report_json_where_none_is_named(folder, capsys):
    assert run(["check", "--baseline", "base.json"]) == 2
    assert told(capsys)[1].startswith("slimedge: there is no report report.json;")

    write(report())
    assert run(["check", "--baseline", "base.json"]) == 0


def test_what_is_worse_is_status_1_after_every_kind_of_report(folder, capsys):
    write(report(file_bytes=12_000, wrong=range(70)))

    assert run(["check", "--baseline", "base.json", "--json", "out.json", "--markdown", "out.md"]) == 1

    out, error = told(capsys)
    lines = out.splitlines()
    assert lines[0] == "2 of 5 checks failed against base.json."
    assert [line.split()[:3] for line in lines if line.startswith("failed")] == [
        ["failed:", "worse", INT8]
    ] * 2
    assert error.startswith(
        "slimedge: 2 of 5 checks failed against base.json: int8.onnx, accuracy: 93.00 %, was 95.00 %"
    )
    document = json.loads(Path("out.json").read_text())
    assert (document["schema"], document["baseline"], document["passed"]) == (
        "slimedge/check/1",
        "base.json",
        False,
    )
    assert [each["failed"] for each in document["outcomes"]] == [False, False, True, True, False]
    assert document["outcomes"][3] == {
        "variant": INT8,
        "axis": "size",
        "change": "worse",
        "failed": True,
        "sentence": "12,000 bytes, was 10,000: 20.0 % larger, more than 1 %.",
    }
    text = Path("out.md").read_text()
    assert text.startswith("## slimedge check: failed\n\n2 of 5 checks failed against base.json.\n")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| failed: worse"] * 2 + ["| same"] * 3


def test_each_tolerance_reaches_its_axis(folder, capsys):
    write(report(wrong=range(70)))
    assert run(["check", "--baseline", "base.json", "--max-accuracy-drop", "1.4"]) == 0

    write(report(speedup=Speedup(1.4, 1.39, 1.41)))
    assert run(["check", "--baseline", "base.json"]) == 1
    assert run(["check", "--baseline", "base.json", "--latency-margin", "8"]) == 0
    capsys.readouterr()

    write(report(environment=replace(HERE, cores=64)))
    assert run(["check", "--baseline", "base.json"]) == 0
    assert run(["check", "--baseline", "base.json", "--require-latency"]) == 1
    assert told(capsys)[1].endswith(
        "latency: not compared: the machine or set-up differs (cores 64, was 2); measure the baseline on this one."
    )


def test_quiet_prints_the_failure_only_and_json_to_stdout_is_all_there_is(folder, capsys):
    write(report(file_bytes=12_000))

    assert run(["check", "--baseline", "base.json", "--quiet"]) == 1
    out, error = told(capsys)
    assert out == ""
    assert "int8.onnx, size: 12,000 bytes" in error

    assert run(["check", "--baseline", "base.json", "--json", "-"]) == 1
    assert json.loads(told(capsys)[0])["passed"] is False


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check"], "missing option '--baseline'"),
        (["check", "base.json", "--baseline", "nothing.json"], "there is no report nothing.json"),
        (["check", "broken.json", "--baseline", "base.json"], "broken.json is no JSON"),
        (["check", "base.json", "--baseline", "broken.json"], "broken.json is no JSON"),
        (["check", "base.json", "--baseline", "base.json", "--markdown", "."], "--markdown . is a folder"),
        (["check", "base.json", "--baseline", "base.json", "--latency-margin", "-1"], "'-1'"),
    ],
)
def test_bad_files_and_usage_are_status_2_and_write_nothing(folder, arguments, words, capsys):
    Path("broken.json").write_text("{")
    before = sorted(folder.iterdir())

    assert run(arguments) == 2

    out, error = told(capsys)
    assert out == ""
    assert words in error
    assert sorted(folder.iterdir()) == before


def test_hostile_text_in_a_report_is_shown_and_does_nothing(folder, capsys):
    made = report()
    comparison = made.comparisons[0]
    small = replace(comparison.variants[0], name=HOSTILE, runtime=HOSTILE)
    kept = replace(comparison.evaluation, answers={})
    here = replace(HERE, cpu=HOSTILE)
    made = Report("x", (replace(comparison, variants=(small,), evaluation=kept),))
    write(made, "base.json")
    write(Report("x", (replace(made.comparisons[0], environment=here),)))

    assert run(["check", "--baseline", "base.json", "--require-latency", "--markdown", "out.md"]) == 1

    out, error = told(capsys)
    text = Path("out.md").read_text()
    for shown in (out, error, text):
        assert "\x1b" not in shown
        assert "::" not in shown
        assert "##[" not in shown
    assert "<script>" not in text
    assert r"\<script\>\|\[red\]\*b\*�\[31m : :error: :x\#\# \[error\]" in text
    assert "<script>|[red]*b*�[31m : :error: :x## [error], latency: not compared" in error
    cells = {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")}
    assert cells == {5}


@pytest.fixture
def hurried(monkeypatch):
    """Measure as little as possible: how fast these files are is not what is looked at."""
    from slimedge.benchmarks import latency

    short = replace(
        latency.QUICK, launches=2, most_launches=2, rounds=2, launch_s=0.1, turn_s=0.005, warm_s=0.05
    )
    monkeypatch.setattr(latency, "SETTINGS", {"default": short})


def test_real_reports_pass_while_nothing_changed_and_fail_once_a_model_is_worse(
    linear_folder, hurried, capsys
):
    compare = ["compare", "before.onnx", "after.onnx", "--data", "data.npz", "--samples", "all", "--quiet"]
    # So short a measurement does not tell these files' speed; that it does is shown on the runs of aa.json.
    check = ["check", "--baseline", "baselines/report.json", "--latency-margin", "100000"]
    assert run([*compare, "--json", "baselines/report.json"]) == 0
    assert run([*compare, "--json", "report.json"]) == 0

    assert run([*check, "--require-latency"]) == 0
    out = " ".join(told(capsys)[0].split())
    assert out.startswith("Nothing is worse than in baselines/report.json: 5 the same. ")
    assert "on the same 300 examples" in out
    assert "the speed of before.onnx" in out

    worse = KERNEL + np.random.default_rng(0).normal(scale=1.0, size=KERNEL.shape)
    linear(linear_folder / "after.onnx", worse, padding_bytes=1000)
    assert run([*compare, "--json", "report.json"]) == 0
    assert run([*check, "--json", "checked.json", "--quiet"]) == 1
    assert "2 of 5 checks failed" in told(capsys)[1]
    failed = [each for each in json.loads(Path("checked.json").read_text())["outcomes"] if each["failed"]]
    assert [(each["variant"], each["axis"]) for each in failed] == [
        ("after.onnx", "accuracy"),
        ("after.onnx", "size"),
    ]

    others = [*compare[:-2], "200", "--quiet", "--json", "report.json"]
    linear(linear_folder / "after.onnx", KERNEL + 0.01)
    assert run(others) == 0
    assert run(check) == 0
    assert "on other examples (200, was 300)" in " ".join(told(capsys)[0].split())
