"""A recipe is told stage by stage, the same in every form."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from report_sample import sample_report, told_report
from test_reporting import printed

from slimedge.benchmarks.reporting import figures, html, markdown
from slimedge.benchmarks.reporting import json as json_report
from slimedge.benchmarks.reporting.report import Chapter
from slimedge.benchmarks.reporting.story import lines, stories, titled
from slimedge.benchmarks.reporting.waterfall import panels


def onnx_story():
    return stories(told_report())[0]


def test_the_untouched_model_comes_first_and_then_one_model_a_stage():
    story = onnx_story()

    assert [each.model for each in story.standings] == [
        "resnet8.onnx",
        "resnet8.pruned.onnx",
        "resnet8.int8.onnx",
    ]
    assert [each.file_bytes for each in story.standings] == [318_144, 159_072, 98_496]
    assert [each.took for each in story.standings] == ["–", "3 min", "reused"]


def test_a_stage_is_told_against_the_one_before_and_the_end_against_the_beginning():
    untouched, pruned, quantized, whole = lines(onnx_story())

    assert untouched.size_change == untouched.right_change == figures.NOT_MEASURED
    assert (pruned.size, pruned.size_change) == ("159 kB", "0.50×")
    assert (pruned.right, pruned.right_change) == ("90.86 %", "−0.50")
    assert (quantized.latency, quantized.latency_change) == ("74.0 µs", f"{74 / 92:.2f}×")
    assert (whole.stage, whole.size, whole.right) == ("in all", f"{98_496 / 318_144:.2f}×", "−0.08")


def test_a_stage_without_a_model_is_a_dash_and_the_next_one_is_compared_with_the_last_known():
    report = told_report()
    chapters = (Chapter("distill", "", ()), report.stages[0])

    story = stories(replace(report, stages=chapters))[0]
    _, nothing, pruned, _ = lines(story)

    assert nothing.model == nothing.size == nothing.size_change == nothing.took == figures.NOT_MEASURED
    assert pruned.size_change == "0.50×"
    assert [bar.rest for bar in panels(story)[0].bars] == [100.0, None, 50.0]


def test_one_stage_needs_no_sum():
    report = told_report()

    (story, _) = stories(replace(report, stages=report.stages[:1]))

    assert [line.stage for line in lines(story)] == ["untouched", "prune-channels"]


def test_a_comparison_without_a_model_of_any_stage_has_no_story():
    report = told_report()

    assert stories(replace(report, stages=report.stages[1:])) == stories(
        replace(report, stages=report.stages[1:], comparisons=report.comparisons[:1])
    )
    assert stories(sample_report()) == ()


def test_without_labels_the_story_tells_the_share_of_the_same_classes():
    report = told_report()
    found = report.comparisons[0]
    unlabelled = replace(
        found,
        baseline=replace(found.baseline, accuracy=None),
        variants=tuple(replace(each, accuracy=None, accuracy_delta=None) for each in found.variants),
    )

    (story,) = stories(replace(report, comparisons=(unlabelled,)))

    assert story.measure == "same class"
    assert [each.right for each in story.standings] == [1.0, None, 0.9961]


def test_bars_fall_from_stage_to_stage_in_shares_of_the_largest():
    size, latency, accuracy = panels(onnx_story())

    assert [(bar.left, bar.width, bar.rest) for bar in size.bars[:2]] == [
        (100.0, 0.0, 100.0),
        (50.0, 50.0, 50.0),
    ]
    last = size.bars[2]
    assert last.left == last.rest == pytest.approx(100 * 98_496 / 318_144, abs=0.001)
    assert last.left + last.width == pytest.approx(50.0, abs=0.001)
    assert [bar.tone for bar in size.bars] == ["plain", "good", "good"]
    assert latency.bars[1].left == pytest.approx(100 * 92 / 115, abs=0.001)
    assert [bar.tone for bar in accuracy.bars] == ["plain", "bad", "good"]
    assert [bar.change for bar in accuracy.bars] == ["", "−0.50", "+0.42"]


def test_the_axis_of_accuracy_is_cut_and_says_so():
    size, _, accuracy = panels(onnx_story())

    assert size.axis == ""
    low, high = map(float, re.fullmatch(r"([\d.]+) to ([\d.]+) %", accuracy.axis).groups())
    for bar, value in zip(accuracy.bars, (91.36, 90.86, 91.28), strict=True):
        end = bar.left + bar.width if bar.tone == "good" else bar.left
        assert low + end * (high - low) / 100 == pytest.approx(value, abs=0.001)


def test_a_figure_that_only_one_stage_has_is_not_drawn():
    report = told_report()
    found = report.comparisons[0]
    untimed = replace(found, variants=tuple(replace(each, latency_s=None) for each in found.variants))

    (story,) = stories(replace(report, comparisons=(untimed,)))

    assert [panel.measure for panel in panels(story)] == ["size", "accuracy"]


def test_a_long_title_is_cut_in_the_drawing_only():
    report = told_report()
    chapter = replace(report.stages[0], title="prune-the-channels-of-all-convolutions")

    story = stories(replace(report, stages=(chapter,)))[0]

    assert panels(story)[0].bars[1].title == "prune-the-channels-of…"
    assert lines(story)[1].stage == chapter.title


@pytest.mark.parametrize("render", [printed, markdown.render, html.render])
def test_every_form_tells_the_stages(render):
    text = render(told_report())
    text = re.sub(r"<[^>]*>|\\|\s+", " ", text[max(text.find("<body>"), 0) :])

    for expected in ("prune-channels", "50 % of the Shirt", "reused", "3 min", "in all", "0.50×"):
        assert expected in text
    assert text.lower().index("stage by stage") < text.index("verdict")


def test_the_terminal_story_fits_80_columns():
    assert max(map(len, printed(told_report()).splitlines())) <= 80


def test_markdown_tables_of_stages_have_as_many_cells_as_heads():
    for table in re.findall(r"(?:^\|.*\n)+", markdown.render(told_report(word="a|b")), re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_json_lists_the_stages_as_they_were_given_and_leaves_pictures_to_the_page():
    text = json_report.render(told_report())

    assert json.loads(text)["stages"] == [
        {
            "title": "prune-channels",
            "settings": "50 % of the Shirt",
            "variants": ["resnet8.pruned.onnx", "resnet8.pruned.tflite"],
            "seconds": 184.0,
            "reused": False,
        },
        {
            "title": "quantize",
            "settings": "static_wi8_ai8",
            "variants": ["resnet8.int8.onnx"],
            "seconds": 8.2,
            "reused": True,
        },
    ]
    assert "data:image" not in text
    assert "stages" not in json.loads(json_report.render(sample_report()))


def test_a_heading_names_runtime_and_model():
    assert [title for title, _ in titled(told_report())] == [
        "ort CPU, from resnet8.onnx",
        "litert XNNPACK, from resnet8.tflite",
    ]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (None, "–"),
        (3.21, "3.21 s"),
        (99.4, "99.4 s"),
        (184, "3 min"),
        (3600, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_a_long_time_is_told_in_minutes_and_hours(given, text):
    assert figures.long_time(given) == text
