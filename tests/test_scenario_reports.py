"""What is told of a scenario, on the terminal, in JSON and on the page."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from math import log10
from pathlib import Path

import chromium
import numpy as np
import pytest
from report_sample import HERE
from rich.console import Console
from test_html_page import CONTRAST, CUT

from slimedge.benchmarks.reporting import scenario_page, scenarios
from slimedge.benchmarks.reporting.scenario_figures import machines, per_second, point_rows
from slimedge.benchmarks.reporting.throughput import models_chart, search_chart, sweep_chart
from slimedge.benchmarks.scenarios.metrics import figures
from slimedge.benchmarks.scenarios.result import Failed, ModelResult, ScenarioResult
from slimedge.benchmarks.scenarios.run import Run
from slimedge.benchmarks.scenarios.scenario import Scenario
from slimedge.benchmarks.scenarios.server_search import Search, Trial
from slimedge.errors import RunError
from slimedge.runtime.targets import Target

HOSTILE = "<script>alert('x')</script>[red]a[/red]"


def run_of(scenario, median_s, *, samples=1, concurrency=1, rate=None, count=2000, ending="enough", tail=3.0):
    """A run whose median is this, and whose 99th percentile is `tail` of it."""
    latencies = np.full(count, median_s * 1e9)
    latencies[: count // 50] *= tail
    ended = np.cumsum(latencies).astype(np.int64) if rate is None else None
    if rate is None:
        started = ended - latencies.astype(np.int64)
        ended, started = ended // concurrency, ended // concurrency - latencies.astype(np.int64)
    else:
        started = (np.arange(count) / rate * 1e9).astype(np.int64)
        ended = started + latencies.astype(np.int64)
    return Run(scenario, samples, concurrency, rate, started, started, ended, ending)


def model(name, run, points=(), search=None, notes=()):
    return ModelResult(name, Target("ort"), "cpu", run, tuple(points), search, HERE, notes=notes)


def offline():
    def point(batch, level):
        return run_of(Scenario.OFFLINE, 1e-3 * batch**0.9, samples=batch, concurrency=level)

    points = [point(batch, level) for batch in (1, 2, 4, 8, 16, 32) for level in (1, 2, 4)]
    few = run_of(Scenario.OFFLINE, 40e-3, samples=32, concurrency=8, count=50)
    return ScenarioResult(
        Scenario.OFFLINE, "quick", 1, (model("resnet8.onnx", points[-1], [*points, few], notes=("A note.",)),)
    )


def server():
    def trial(rate, median_s, *, held, confirming=False, **fields):
        return Trial(run_of(Scenario.SERVER, median_s, rate=rate, **fields), confirming, held)

    trials = (
        trial(900.0, 3e-3, held=False, ending="backlog", count=300),
        trial(450.0, 1e-3, held=True),
        trial(640.0, 1.2e-3, held=True),
        trial(700.0, 2.4e-3, held=False),
        trial(640.0, 1.2e-3, held=True, confirming=True),
    )
    search = Search(5e-3, trials, trials[-1])
    none = model("slow.onnx", None, search=Search(5e-3, (trials[0],), None), notes=("No rate held.",))
    failed = Failed("broken.onnx", Target("ort"), RunError("it died."))
    models = (model("resnet8.onnx", trials[-1].run, search=search), none, failed)
    return ScenarioResult(Scenario.SERVER, "default", 1, models)


def streams(name="resnet8.int8.onnx"):
    models = (
        model("resnet8.onnx", run_of(Scenario.SINGLE_STREAM, 3e-3)),
        model(name, run_of(Scenario.SINGLE_STREAM, 1e-3, count=500)),
    )
    return ScenarioResult(Scenario.SINGLE_STREAM, "default", 1, models)


def printed(result, width=80):
    console = Console(file=io.StringIO(), width=width)
    scenarios.show(result, console)
    return console.file.getvalue()


ALL = {"offline": offline, "server": server, "single-stream": streams}


@pytest.mark.parametrize("sample", ALL.values(), ids=ALL)
def test_the_terminal_shows_every_model_in_80_columns_and_never_says_mlperf_alone(sample):
    text = printed(sample())
    assert max(map(len, text.splitlines())) <= 80
    for each in sample().models:
        assert each.name in text
    assert text.startswith("MLPerf-style ")
    assert "no result of\nMLPerf" in text or "no result of MLPerf" in text.replace("\n", " ")


def test_the_terminal_tells_a_server_s_rate_bound_and_what_failed():
    text = " ".join(printed(server(), width=200).split())
    assert "resnet8.onnx 640/s 1.20 ms" in text
    assert "1 worker, p99 within 5.00 ms; 700/s failed" in text
    assert "900/s for 335 ms" in text  # the 300th arrives after 299/900 s and takes 3 ms
    assert "queue grew" in text
    assert "note: slow.onnx: No rate held." in text
    assert "failed: broken.onnx on ort: it died." in text


def test_the_terminal_has_a_line_for_each_point_of_a_sweep():
    lines = printed(offline()).splitlines()
    assert sum(line.startswith("batch ") for line in lines) == 19
    # 49 batches of 40 ms and one of 120 ms, in eight workers: 1,600 samples in 260 ms.
    assert any(line.split()[:5] == ["batch", "32,", "8", "workers", "6,150/s"] for line in lines)


def test_json_has_the_figures_with_their_units_and_null_for_what_is_not_known():
    document = json.loads(scenarios.as_json(streams()))
    assert (document["schema"], document["style"]) == ("slimedge/scenario/1", "MLPerf-style")
    first, second = document["models"]
    assert first["metric"] == {"name": "p90_s", "value": pytest.approx(3e-3)}
    run = streams().models[0].run
    expected = {
        field: pytest.approx(getattr(figures(run), field)) for field in ("p50_s", "p99_s", "samples_per_s")
    }
    assert {field: first["run"][field] for field in expected} == expected
    assert second["run"]["p99_s"] is None
    assert first["environment"]["cpu"] == HERE.cpu
    assert first["search"] is None


def test_json_of_a_server_has_its_bound_and_the_interval_of_the_rate():
    first, slow, failed = json.loads(scenarios.as_json(server()))["models"]
    search = first["search"]
    assert (search["latency_bound_s"], search["highest_held_per_s"], search["lowest_failed_per_s"]) == (
        5e-3,
        640,
        700,
    )
    assert [trial["held"] for trial in search["trials"]] == [False, True, True, False, True]
    assert first["metric"] == {"name": "rate_per_s", "value": 640}
    assert (slow["run"], slow["metric"]["value"]) == (None, None)
    assert failed == {"name": "broken.onnx", "target": "ort", "error": "it died."}


def test_json_of_a_sweep_has_every_point():
    points = json.loads(scenarios.as_json(offline()))["models"][0]["points"]
    assert [(point["samples_per_query"], point["concurrency"]) for point in points[:3]] == [
        (1, 1),
        (1, 2),
        (1, 4),
    ]


def test_points_lie_where_logarithmic_axes_have_them():
    found = offline().models[0]
    chart = sweep_chart(found)
    by_text = {spot.text.split(":")[0]: spot for spot in chart.spots}
    one, other = by_text["batch 1, 1 worker"], by_text["batch 32, 4 workers"]
    runs = {(run.samples, run.concurrency): figures(run) for run in found.points}
    fast = log10(runs[32, 4].samples_per_s / runs[1, 1].samples_per_s)
    slow = log10(runs[32, 4].p50_s / runs[1, 1].p50_s)
    third = by_text["batch 8, 2 workers"]
    assert (third.left - one.left) / (other.left - one.left) == pytest.approx(
        log10(runs[8, 2].samples_per_s / runs[1, 1].samples_per_s) / fast, abs=1e-3
    )
    assert (one.top - third.top) / (one.top - other.top) == pytest.approx(
        log10(runs[8, 2].p50_s / runs[1, 1].p50_s) / slow, abs=1e-3
    )
    assert one.high < one.top  # upwards is longer
    assert by_text["batch 32, 8 workers"].high is None
    assert all(0 <= place <= 100 for spot in chart.spots for place in (spot.left, spot.top, spot.high or 0))
    assert [text for *_, text in chart.key] == ["1 worker", "2 workers", "4 workers", "8 workers"]


def test_a_server_s_bound_is_a_line_between_what_held_and_what_did_not():
    chart = search_chart(server().models[0])
    for spot in chart.spots:
        if spot.high is not None:
            assert spot.hollow is (spot.high < chart.bound)
    assert sum(spot.hollow for spot in chart.spots) == 2


def test_streams_are_drawn_beside_each_other_where_there_are_two():
    assert [spot.mark for spot in models_chart(streams().measured).spots] == ["A", "B"]
    assert models_chart(streams().measured[:1]) is None
    assert sweep_chart(streams().measured[0]) is None
    assert search_chart(streams().measured[0]) is None


def test_two_runs_that_differ_by_noise_do_not_fill_the_axis():
    alike = [
        model(name, run_of(Scenario.SINGLE_STREAM, 1e-3 * share, tail=1.0))
        for name, share in (("a", 1), ("b", 1.01))
    ]
    first, second = models_chart(alike).spots
    assert 0 < first.left - second.left < 5
    assert 2 <= len(models_chart(alike).across) <= 8


def test_trials_are_told_from_the_lowest_rate_to_the_highest():
    assert [row.outcome for row in point_rows(server().models[0])] == [
        "held",
        "held",
        "held",
        "p99 too long",
        "queue grew",
    ]


def test_one_machine_is_told_once_with_all_runtimes():
    both = streams()
    second = replace(both.models[1], environment=replace(HERE, versions={"openvino": "2026"}))
    (machine,) = machines(replace(both, models=(both.models[0], second)))
    assert machine.versions == {**HERE.versions, "openvino": "2026"}
    board = replace(second, environment=replace(HERE, cpu="a board"))
    assert len(machines(replace(both, models=(both.models[0], board)))) == 2


@pytest.mark.parametrize(
    ("rate", "text"),
    [(None, "–"), (0.0456, "0.0456/s"), (99.96, "100/s"), (1234.0, "1,230/s"), (5e6, "5,000,000/s")],
)
def test_rates_have_three_digits(rate, text):
    assert per_second(rate) == text


def test_markup_in_a_name_is_text():
    page = scenario_page.render(streams(HOSTILE))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert HOSTILE[:20] in printed(streams(HOSTILE), width=200)


@pytest.mark.skipif(chromium.EXECUTABLE is None, reason=chromium.HOW_TO_GET)
@pytest.mark.parametrize(("width", "dark"), [(1100, False), (390, True)])
@pytest.mark.parametrize("sample", ALL.values(), ids=ALL)
def test_the_page_draws_every_run_asks_for_nothing_and_fits(sample, width, dark, tmp_path):
    path = tmp_path / "scenario.html"
    result = sample()
    path.write_text(scenario_page.render(result), encoding="utf-8")
    with chromium.Page(width, dark=dark) as page:
        page.open(path)
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        assert page.requests == [path.as_uri()]
        assert page.messages == []
        inside = page.evaluate(
            "[...document.querySelectorAll('.plot')].flatMap(plot => {"
            " const frame = plot.querySelector('.frame').getBoundingClientRect();"
            " return [...plot.querySelectorAll('circle')].map(circle => {"
            "  const box = circle.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;"
            "  return frame.left < x && x < frame.right && frame.top < y && y < frame.bottom; }); })"
        )
        runs = [
            *(len(each.points) + len(each.search.trials if each.search else ()) for each in result.measured)
        ]
        assert len(inside) == (sum(number for number in runs if number > 1) or 2)
        assert all(inside)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(CUT) == []
        ratio, where = page.evaluate(CONTRAST)
        assert ratio >= 4.5, where
        if folder := os.environ.get("SLIMEDGE_SCREENSHOTS"):
            page.screenshot(Path(folder) / f"{result.scenario}_{width}_{'dark' if dark else 'light'}.png")
