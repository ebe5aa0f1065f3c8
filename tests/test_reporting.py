"""A report says the same in every form, the bad news first, and never takes user text for markup."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from report_sample import INT8_ONNX, INT8_TFLITE, ONNX, TFLITE, compared, sample_report, unmeasured_report
from rich.console import Console

from slimedge.benchmarks.reporting import figures, html, markdown, terminal
from slimedge.benchmarks.reporting import json as json_report
from slimedge.benchmarks.reporting.plot import plot
from slimedge.benchmarks.reporting.report import Report, Tone, headlines
from slimedge.comparison import Accuracy, Latency

HOSTILE = "<script>alert('x')</script>|[red]*b*"
FIELDS = {
    "name", "format", "runtime", "provider", "integer_ops", "total_ops", "file_bytes", "gzip_bytes", "parameters",
    "nonzero_parameters", "sparsity", "macs", "activation_bytes",
    "accuracy", "accuracy_delta", "agreement", "sqnr_db", "load_s", "first_run_s",
    "latency_s", "speedup", "peak_rss_bytes", "verdict", "notes",
}  # fmt: skip


def printed(report: Report, width: int = 80, *, terminal_: bool = False) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal_, color_system=None, highlight=False)
    terminal.show(report, console)
    return file.getvalue()


def hostile() -> Report:
    before = replace(ONNX, name=HOSTILE, notes=(HOSTILE,))
    return Report(HOSTILE, (compared(before, INT8_ONNX),), lineage={HOSTILE: ()})


def test_a_variant_slower_than_its_baseline_is_the_first_thing_said():
    first = headlines(sample_report())[0]

    assert first.text.startswith(
        "resnet8.int8.tflite is slower than resnet8.tflite: it takes 1.30 times as long"
    )
    assert first.tone is Tone.BAD


@pytest.mark.parametrize("render", [printed, markdown.render, html.render])
def test_every_form_starts_with_what_is_slower(render):
    text = re.sub(r"\s+", " ", render(sample_report()))

    assert text.index("is slower than") < text.index("against resnet8.onnx: better")


def test_a_missed_goal_comes_before_the_verdicts():
    texts = [headline.text for headline in headlines(sample_report())]

    missed = next(i for i, text in enumerate(texts) if "missed" in text)
    verdict = next(i for i, text in enumerate(texts) if "against" in text and "better" in text)
    assert missed < verdict


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_terminal_report_fits_its_width(width):
    lines = printed(sample_report(), width).splitlines()

    assert max(map(len, lines)) <= width
    assert not [line for line in lines if line != line.rstrip()]


def test_the_terminal_report_is_plain_text_in_a_pipe():
    assert "\x1b" not in printed(sample_report())


def test_the_terminal_report_holds_figures_intervals_and_verdicts():
    text = printed(sample_report())

    for expected in (
        "318 kB",
        "98.5 kB",
        "0.31×",
        "91.28 %",
        "Δ −0.21 to +0.05",
        "74.0 µs",
        "1.50 to 1.60",
        "better",
    ):
        assert expected in text
    assert "12 of 14" in text
    assert "avx512_vnni" in text


@pytest.mark.parametrize("render", [printed, markdown.render, html.render])
def test_every_form_says_what_a_file_takes_before_and_after(render):
    text = re.sub(r"<[^>]*>|\s+", " ", render(sample_report()))

    for before, after, ratio in (("291 kB", "80.1 kB", "0.28×"), ("151 kB", "37.6 kB", "0.25×")):
        assert before in text  # after gzip; activation memory
        assert after in text
        assert ratio in text
    for figure in ("78.7 k", "78.0 k", "19.7 k", "0.8 %", "75.0 %", "12.5 M", "1.00×"):
        assert figure in text


def test_names_are_printed_as_they_are():
    assert HOSTILE in printed(hostile(), 200)


def test_json_has_exactly_the_fields_of_the_format_and_null_for_what_was_not_measured():
    report = Report("one", sample_report().comparisons[:1])

    document = json.loads(json_report.render(report))

    assert set(document) == {"schema", "environment", "baseline", "variants", "evaluation"}
    assert {"cpu", "isa", "cores", "threads", "governor", "versions"} <= set(document["environment"])
    for variant in (document["baseline"], *document["variants"]):
        assert set(variant) - {"layer_sqnr"} == FIELDS
    assert document["baseline"]["speedup"] is document["baseline"]["accuracy_delta"] is None
    assert document["baseline"]["verdict"] is None
    assert document["variants"][0]["speedup"] == {"value": 1.55, "low": 1.5, "high": 1.6}
    assert document["variants"][0]["latency_s"] == {
        "p50": 74e-6,
        "p90": 79e-6,
        "p99": 99e-6,
        "n": 6000,
        "turns": None,
    }
    assert document["evaluation"] is None
    assert document["variants"][0]["accuracy_delta"] == {
        "value": -0.0008,
        "low": -0.0021,
        "high": 0.0005,
        "p_value": 0.26,
    }
    assert document["variants"][0]["verdict"] == "better"
    assert document["environment"]["governor"] is None
    assert document["variants"][0]["sparsity"] == pytest.approx(59_000 / 78_666)
    assert [each["activation_bytes"] for each in (document["baseline"], *document["variants"])] == [
        150_528,
        37_632,
    ]


def test_the_turns_stand_in_one_line_a_launch_and_no_text_is_touched():
    timed = replace(INT8_ONNX.latency_s, turns=((74e-6, 7.5e-05, 1.0), (2e-4, 3, 4)))
    notes = ("[\n  1,\n  2\n]", "[ 1, 2 ]")
    report = Report("one", (compared(ONNX, replace(INT8_ONNX, latency_s=timed, notes=notes)),))

    text = json_report.render(report)

    assert "[7.4e-05, 7.5e-05, 1.0]" in text
    (variant,) = json.loads(text)["variants"]
    assert variant["latency_s"]["turns"] == [[74e-6, 75e-6, 1], [2e-4, 3, 4]]
    assert variant["notes"] == list(notes)


def test_several_comparisons_are_listed_with_goals_and_lineage():
    document = json.loads(json_report.render(sample_report()))

    assert [each["baseline"]["name"] for each in document["comparisons"]] == [
        "resnet8.onnx",
        "resnet8.tflite",
    ]
    assert [goal["met"] for goal in document["goals"]] == [True, True, False, False]
    assert document["lineage"]["resnet8.int8.onnx"][0]["name"] == "quantize"


def test_markdown_tables_have_as_many_cells_as_heads():
    for report in (sample_report(), hostile()):
        for table in re.findall(r"(?:^\|.*\n)+", markdown.render(report), re.MULTILINE):
            counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
            assert len(counts) == 1


def test_markdown_shows_markup_as_text():
    text = markdown.render(hostile())

    assert "<script>" not in text
    assert r"\<script\>alert('x')\</script\>\|\[red\]\*b\*" in text


def test_html_is_well_formed_and_escapes_user_text():
    page = html.render(hostile())
    body = page[page.index("<body>") : page.index("</body>") + len("</body>")]

    assert "<script" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page
    ET.fromstring(body.replace("&nbsp;", " ").replace(" open>", ' open="">'))


def test_html_asks_for_nothing_and_forbids_it():
    page = html.render(sample_report())

    assert "default-src 'none'" in page
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)""", page)
    assert "url(" not in page
    assert "@import" not in page
    assert len(page.encode()) < 40_000


def test_html_holds_the_table_the_plot_the_layers_the_environment_and_the_lineage():
    page = html.render(sample_report())

    for expected in (
        "1.50 to 1.60",
        "<svg",
        "block3_b_conv",
        "26.5",
        "avx2, avx512_vnni",
        "How the files were made",
    ):
        assert expected in page
    assert "quantize: scheme static_wi8_ai8, folded stem_bn" in page


@pytest.mark.parametrize("render", [printed, markdown.render, html.render])
def test_what_was_not_measured_is_a_dash_and_never_a_zero(render):
    text = render(unmeasured_report())

    assert figures.NOT_MEASURED in text
    assert not re.search(r"\b0(?:\.00?)? (?:B|kB|%|µs|ms|s)\b", text)
    assert "no difference; nothing was measured" in re.sub(r"\s+", " ", text)


def test_a_report_without_measurements_says_why_there_is_no_plot():
    assert "Not drawn: fewer than two models" in html.render(unmeasured_report())


def test_points_lie_where_their_figures_are():
    drawn = plot((compared(TFLITE, INT8_TFLITE),))
    before, after = drawn.points

    assert before.left < after.left  # 101 µs against 130 µs
    assert before.top < after.top  # the more accurate one stands higher
    assert before.high < before.top < before.low  # its interval holds it
    assert all(
        0 <= value <= 100
        for point in drawn.points
        for value in (point.left, point.top, point.low, point.high)
    )


def test_equal_ratios_of_latency_are_equal_distances():
    variants = [
        replace(ONNX, name=str(i), latency_s=Latency(i * 1e-3, i * 1e-3, None, 9)) for i in (1, 10, 100)
    ]

    first, second, third = plot((compared(*variants),)).points

    assert second.left - first.left == pytest.approx(third.left - second.left, abs=0.01)


def test_ticks_of_a_narrow_range_are_round_and_at_least_three():
    near = replace(
        INT8_ONNX, latency_s=Latency(116e-6, 1, None, 9), accuracy=Accuracy(0.9136, 0.9079, 0.9189, 10_000)
    )

    drawn = plot((compared(ONNX, near),))

    assert len(drawn.across) >= 3
    assert len(drawn.up) >= 3
    assert all(re.fullmatch(r"\d+(\.\d)? µs", tick.text) for tick in drawn.across)


def test_without_labels_the_plot_shows_agreement():
    unlabelled = [replace(each, accuracy=None, accuracy_delta=None) for each in (ONNX, INT8_ONNX)]

    drawn = plot((compared(*unlabelled),))

    assert drawn.measure == "same class as the baseline"
    assert [point.top <= 100 for point in drawn.points] == [True, True]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (98_496, "98.5 kB"),
        (999_600, "1.00 MB"),
        (2.5e9, "2.50 GB"),
    ],
)
def test_sizes_are_decimal(given, text):
    assert figures.size(given) == text


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (74.04e-6, "74.0 µs"),
        (999.4e-6, "999 µs"),
        (999.6e-6, "1.00 ms"),
        (0.0123, "12.3 ms"),
        (3.21, "3.21 s"),
    ],
)
def test_durations_have_three_digits(given, text):
    assert figures.seconds(given) == text


@pytest.mark.parametrize(
    ("given", "text"), [(-0.0008, "−0.08"), (0.0123, "+1.23"), (-0.00001, "±0.00"), (0.0, "±0.00")]
)
def test_points_carry_their_sign(given, text):
    assert figures.points(given) == text


def test_a_step_tells_the_layers_that_stayed_float_and_why() -> None:
    from slimedge.artifact import Step
    from slimedge.benchmarks.reporting import figures

    done = Step(
        "quantize",
        {
            "scheme": "static_wi8_ai8",
            "isa": ["avx2"],
            "float_layers": {"norm": "LayerNormalization has no int8 form"},
        },
    )
    told = figures.step(done)
    assert "left float norm (LayerNormalization has no int8 form)" in told
    assert "isa" not in told
