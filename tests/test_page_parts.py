"""The parts of the page below its tables: pure geometry and text, compared with numbers worked out by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from report_sample import INT8_ONNX, ONNX, TFLITE, compared, details_of, sample_report, told_report

from slimedge.benchmarks.details.classes import ClassChange, ClassChanges, Confusion
from slimedge.benchmarks.details.details import Details
from slimedge.benchmarks.details.distribution import distributions
from slimedge.benchmarks.details.flips import Turn
from slimedge.benchmarks.profiles.times import LayerTime
from slimedge.benchmarks.reporting import html
from slimedge.benchmarks.reporting.classes import class_table, signed
from slimedge.benchmarks.reporting.examples import piles, within
from slimedge.benchmarks.reporting.histogram import outline, traces
from slimedge.benchmarks.reporting.layers import layer_tables
from slimedge.benchmarks.reporting.plot import pareto_front, plot
from slimedge.comparison import Accuracy, Latency

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=y>"
TIMED = {"twin.tflite": 2e-6, INT8_ONNX.name: 3e-6, ONNX.name: 9e-6}


def body_of(page):
    text = page[page.index("<body>") : page.index("</body>") + len("</body>")]
    return ET.fromstring(
        text.replace("&nbsp;", " ").replace(" open>", ' open="">').replace('height="56">', 'height="56"/>')
    )


def model(name, latency_s, right):
    return replace(
        ONNX,
        name=name,
        latency_s=Latency(latency_s, latency_s, None, 9),
        accuracy=Accuracy(right, right - 0.01, right + 0.01, 1000),
    )


def test_the_front_are_those_that_no_other_model_beats():
    generator = np.random.default_rng(4)
    models = [(str(i), *map(float, generator.integers(0, 12, 2))) for i in range(60)]

    found = pareto_front(models)

    figures = {name: (latency, right) for name, latency, right in models}
    for name, (latency, right) in figures.items():
        beaten = any(
            other <= latency and better >= right and (other < latency or better > right)
            for other, better in figures.values()
        )
        assert (name in found) is not beaten
    assert [figures[name] for name in found] == sorted(figures[name] for name in found)


def test_equal_models_share_the_front():
    assert pareto_front([("a", 1.0, 0.9), ("b", 1.0, 0.9)]) == ("a", "b")
    assert pareto_front([]) == ()


def test_the_front_is_drawn_in_steps_from_the_bottom_to_the_right_edge():
    drawn = plot((compared(model("a", 4e-3, 0.90), model("b", 1e-3, 0.80), model("c", 2e-3, 0.70)),))

    a, b, c = drawn.points
    assert (a.front, b.front, c.front) == (True, True, False)
    assert [(line.left, line.top, line.to_left, line.to_top) for line in drawn.fronts] == [
        (b.left, 100.0, b.left, b.top),
        (b.left, b.top, a.left, b.top),
        (a.left, b.top, a.left, a.top),
        (a.left, a.top, 100.0, a.top),
    ]


def test_every_runtime_has_its_own_front():
    slow = replace(TFLITE, latency_s=Latency(1.0, 1.0, None, 9))

    drawn = plot((compared(ONNX, INT8_ONNX), compared(slow, replace(slow, name="again"))))

    assert [point.front for point in drawn.points] == [True, True, True, True]
    assert {line.group for line in drawn.fronts} == {0, 1}


def test_a_beaten_model_is_drawn_fainter_and_said_to_be():
    page = html.render(
        replace(sample_report(), comparisons=(compared(model("a", 1e-3, 0.9), model("b", 2e-3, 0.8)),))
    )

    assert page.count("point c0 beaten") == 1
    assert "b (ort), beaten" in page
    assert "a (ort)</li>" in page


def test_an_outline_steps_along_the_counts():
    assert outline([2, 0, 4]) == "M0 100V50H33.33V100H66.67V0H100V100Z"
    assert outline([0, 0]) == "M0 100V100H50V100H100V100Z"


def test_the_median_stands_where_its_time_is_on_the_shared_axis():
    samples = {ONNX.name: [1e-3] * 50 + [4e-3] * 50, INT8_ONNX.name: [2e-3] * 100}
    details = {name: Details(latency=found) for name, found in distributions(samples).items()}

    drawn = traces(compared(ONNX, INT8_ONNX), details)

    assert [trace.name for trace in drawn.traces] == [ONNX.name, INT8_ONNX.name]
    assert drawn.traces[1].p50 == pytest.approx(
        50.0, abs=0.01
    )  # 2 ms lies halfway from 1 to 4 on a logarithmic axis
    assert drawn.traces[0].p90 == pytest.approx(100.0, abs=0.01)
    assert "p50 2.00 ms, p90 2.00 ms, 100 samples" in drawn.traces[1].text
    assert all(0 <= tick.at <= 100 for tick in drawn.across)
    shown = [tick.at for tick in drawn.across if not tick.minor]
    assert min(np.diff(shown)) >= 18


def test_a_percentile_beyond_the_axis_is_told_and_not_drawn():
    found = distributions({ONNX.name: [1e-3] * 99 + [9.0]})[ONNX.name]
    found = replace(found, p90_s=9.0)

    (trace,) = traces(compared(ONNX, INT8_ONNX), {ONNX.name: Details(latency=found)}).traces

    assert trace.p90 is None
    assert "1 longer ones are not drawn" in trace.text


def test_without_samples_no_latencies_are_drawn():
    assert traces(compared(ONNX, INT8_ONNX), {ONNX.name: Details()}) is None


def test_classes_that_moved_most_are_shown_and_the_rest_is_counted():
    changes = [-9, -2, -1, 0, 0, 3, 12]
    found = ClassChanges(
        tuple(ClassChange(f"c{i}", 50, 20, 20 + change) for i, change in enumerate(changes)),
        (Confusion("c0", "c1", 1, 1200),),
    )

    table = class_table(found, most=3)

    assert [(row.name, row.change, row.lost, row.gained) for row in table.rows] == [
        ("c0", "−9", 75.0, 0.0),
        ("c5", "+3", 0.0, 25.0),
        ("c6", "+12", 0.0, 100.0),
    ]
    assert table.rows[0].points == "−18.00"
    assert table.rest == "4 more classes moved by at most 2."
    assert table.confusions == (("c0", "c1", "1", "1,200", "+1,199"),)
    assert class_table(ClassChanges(found.classes[3:5], ()), most=1).rest == "1 more classes did not move."
    assert class_table(found).rest == ""
    assert signed(0) == "0"


def test_cards_stand_in_piles_that_say_how_many_there_are():
    lost, gained, wrong = piles(details_of("a").flips)

    assert (lost.turn, lost.count, len(lost.cards)) == (Turn.LOST, "30 of 10,000, 3 of them shown", 3)
    assert (gained.count, wrong.count) == ("1 of 10,000", "1 of 10,000")
    first = lost.cards[0]
    assert (first.before_sure, first.after_sure, first.number) == ("61 %", "90 %", "No. 0")


def test_pictures_beyond_the_room_are_left_out_and_their_examples_stay():
    found = piles(details_of("a", picture="x" * 100).flips)

    kept = within([("a", found), ("b", found)], most=250)

    cards = [card for _, those in kept for pile in those for card in pile.cards]
    assert [card.picture is not None for card in cards] == [True, True] + [False] * 8
    assert [card.number for card in cards[:5]] == [f"No. {i}" for i in range(5)]


def test_time_stands_beside_the_sqnr_of_the_same_layer_and_a_dash_where_there_is_none():
    twin = replace(INT8_ONNX, name="twin.tflite")
    times = (LayerTime("quantize", 5e-6, 0.1), LayerTime("stem_conv", 45e-6, 0.9))

    (table,) = layer_tables((twin, INT8_ONNX, ONNX), {INT8_ONNX.name: Details(layer_times=times)})

    assert (table.models, table.timed) == ("twin.tflite, resnet8.int8.onnx", "resnet8.int8.onnx")
    rows = {bar.layer: bar for bar in table.bars}
    assert list(rows) == ["stem_conv", "block3_b_conv", "pool", "quantize"]
    stem, least = rows["stem_conv"], rows["block3_b_conv"]
    assert (stem.sqnr, stem.sqnr_width, stem.time, stem.share) == ("44.1", 100.0, "45.0 µs", "90.0 %")
    assert (stem.time_width, stem.most) == (100.0, True)
    assert (least.least, least.time, least.share) == (True, "–", "")
    assert least.sqnr_width == pytest.approx(100 * 26.5 / 44.1, abs=0.1)
    assert (rows["quantize"].sqnr, rows["quantize"].time_width) == ("–", pytest.approx(100 / 9, abs=0.1))


def test_every_timed_file_has_a_table_with_its_own_times():
    twin = replace(INT8_ONNX, name="twin.tflite")
    times = {name: (LayerTime("stem_conv", seconds, 1.0),) for name, seconds in TIMED.items()}
    details = {name: Details(layer_times=found) for name, found in times.items()}

    tables = layer_tables((ONNX, twin, INT8_ONNX), details)

    assert [(table.timed, table.exact) for table in tables] == [
        ("twin.tflite", True),
        (INT8_ONNX.name, True),
        (ONNX.name, False),
    ]
    assert [table.bars[0].time for table in tables] == ["2.00 µs", "3.00 µs", "9.00 µs"]
    assert (tables[2].bars[0].sqnr, tables[2].bars[0].least) == ("–", False)


def test_untimed_layers_have_their_sqnr_alone():
    (table,) = layer_tables((INT8_ONNX,), {})

    assert table.timed is None
    assert [bar.time for bar in table.bars] == ["–"] * 3


def test_the_page_holds_every_part_and_stays_small():
    page = html.render(told_report())

    for expected in (
        "Stage by stage",
        "Latency, sample by sample",
        "Which classes paid",
        "30 of 10,000, 3 of them shown lost: right before, wrong after",
        "SQNR by layer, beside its time",
        "Its Shirt could not be timed.",
    ):
        assert expected in page
    assert len(page.encode()) < 80_000
    body_of(page)


def test_names_of_classes_layers_stages_and_variants_are_text():
    report = told_report(word=HOSTILE)
    stages = tuple(replace(each, title=HOSTILE) for each in report.stages)
    page = html.render(replace(report, stages=stages))

    assert "<script" not in page
    assert "<img src=x" not in page
    assert page.count("&lt;script&gt;") > 20
    assert {image.get("src")[:22] for image in body_of(page).iter("img")} == {"data:image/png;base64,"}


def test_the_page_with_everything_asks_for_nothing():
    page = html.render(told_report())

    assert "default-src 'none'" in page
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)""", page)
    assert "url(" not in page
    assert "<script" not in page


def test_what_all_models_share_is_said_once():
    page = html.render(told_report())

    assert page.count("30 of 10,000, 3 of them shown") == 1
    assert "resnet8.onnx, resnet8.pruned.onnx, resnet8.int8.onnx" in page


def test_more_than_eight_findings_are_folded_but_never_bad_news():
    few = html.render(sample_report())
    page = html.render(told_report())

    assert "more findings" not in few
    opened = page[: page.index("more findings")]
    assert opened.count('<li class="bad"') == page.count('<li class="bad"') > 0
    assert len(re.findall(r'<li class="(?:good|bad|plain)"', opened)) == 8
