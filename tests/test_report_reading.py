"""A report is read as it was written; what is none is refused with one sentence that names the field."""

from __future__ import annotations

import copy
import json

import pytest
from check_sample import FLOAT, INT8, N, report
from refusals import refusal_of
from report_sample import sample_report, unmeasured_report

from slimedge.benchmarks.reporting import json as json_report
from slimedge.benchmarks.reporting.reading import read
from slimedge.benchmarks.reporting.report import Report


@pytest.fixture
def written(tmp_path):
    """Write a document, or text, and give the path."""

    def write(content):
        path = tmp_path / "report.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


@pytest.mark.parametrize("made", [sample_report, report, lambda: report(labelled=False), unmeasured_report])
def test_a_report_comes_back_as_it_was_written(made, written):
    whole = made()

    found = read(written(json_report.render(whole)))

    assert found.comparisons == whole.comparisons
    assert found.goals == whole.goals
    assert found.lineage == whole.lineage


def test_one_comparison_has_no_title_of_its_own_and_several_keep_theirs(written):
    assert read(written(json_report.render(sample_report()))).title == sample_report().title
    assert read(written(json_report.render(report()))).title == "report.json"


def test_a_report_of_before_the_answers_were_kept_is_read(written):
    document = json.loads(json_report.render(report()))
    del document["evaluation"]
    for model in (document["baseline"], *document["variants"]):
        del model["latency_s"]["turns"]

    (found,) = read(written(document)).comparisons

    assert found.evaluation is found.baseline.latency_s.turns is None
    assert found.variants[0].accuracy == report().comparisons[0].variants[0].accuracy


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "report.json is no JSON; write it again with `slimedge compare --json`."),
        ("", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ('{"schema": NaN}', "is no JSON"),
        ('{"schema": 1e999}', "is no JSON"),
        ('{"schema": ' + "9" * 5000 + "}", "is no JSON"),
        ('{"schema": ' + "9" * 50 + "}", "is no JSON"),
        ("[]", "is no report of slimedge"),
        ('{"accuracy": 1}', "is no report of slimedge"),
        ('{"schema": 1}', "is no report of slimedge"),
        ('{"schema": "other/report/1"}', "is no report of slimedge"),
        (
            '{"schema": "slimedge/benchmark/1"}',
            "has the schema 'slimedge/benchmark/1', and this version reads slimedge/comparison/1 and slimedge/report/1",
        ),
        ('{"schema": "slimedge/report/2"}', "or update slimedge."),
        ('{"schema": "slimedge/report/1"}', "comparisons must be a list with something in it"),
        ('{"schema": "slimedge/report/1", "comparisons": [3]}', "comparisons[0] must be an object"),
        (
            '{"schema": "slimedge/report/1", "comparisons": [{}]}',
            "comparisons[0].schema must be slimedge/comparison/1",
        ),
        ('{"schema": "slimedge/comparison/1"}', "baseline is missing"),
    ],
)
def test_what_is_no_report_is_refused(content, words, written):
    message = refusal_of(read, written(content))

    assert words in message
    assert len(message) < 400


def test_a_file_that_is_not_there_a_folder_and_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "binary.json").write_bytes(bytes(range(256)))

    assert "there is no report" in refusal_of(read, tmp_path / "nothing.json")
    assert "could not be read: is a directory" in refusal_of(read, tmp_path)
    assert "is no JSON" in refusal_of(read, tmp_path / "binary.json")


def put(*path_and_value):
    *path, last, value = path_and_value

    def change(document):
        for step in path:
            document = document[step]
        if value is KeyError:
            del document[last]
        else:
            document[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("baseline", "name", KeyError), "baseline.name is missing"),
        (put("variants", 0, "latency_s", "p50", KeyError), "variants[0].latency_s.p50 is missing"),
        (put("variants", 0, "file_bytes", "12"), "variants[0].file_bytes is wrong"),
        (put("variants", 0, "file_bytes", 2.5), "variants[0].file_bytes is wrong"),
        (put("variants", 0, "file_bytes", 0), "variants[0].file_bytes must be 1 or more"),
        (put("variants", 0, "accuracy", []), "variants[0].accuracy is wrong"),
        (put("variants", 0, "accuracy", "value", 1.5), "variants[0].accuracy must be a share"),
        (put("baseline", "accuracy", "n", 0), "baseline.accuracy must be a share"),
        (put("variants", 0, "speedup", "low", -1), "variants[0].speedup must be over 0"),
        (put("variants", 0, "latency_s", "p50", -1), "variants[0].latency_s.p50 must be over 0"),
        (put("variants", 0, "latency_s", "turns", [[1.0]]), "turns must have two launches or more"),
        (put("variants", 0, "latency_s", "turns", [[], []]), "turns must have two launches or more"),
        (put("variants", 0, "latency_s", "turns", [[1.0], [1.0, 2.0]]), "each with as many turns"),
        (put("variants", 0, "latency_s", "turns", [[1.0], [0.0]]), "turns must be over 0"),
        (put("variants", 0, "verdict", "splendid"), "variants[0].verdict is wrong"),
        (put("variants", {}), "variants is wrong"),
        (put("variants", 0, "name", FLOAT), f"variants has '{FLOAT}' twice"),
        (put("environment", "cores", None), "environment.cores is wrong"),
        (put("environment", "versions", "a b", 1), "environment.versions['a b'] is wrong"),
        (put("evaluation", 3), "evaluation is wrong"),
        (put("evaluation", "n", KeyError), "evaluation.n is missing"),
        (put("evaluation", "n", 0), "evaluation.n must be 1 or more"),
        (put("evaluation", "n", N + 1), "evaluation.truth does not hold 1,001 classes"),
        (put("evaluation", "truth", "@"), "evaluation.truth is no packed list of classes"),
        (put("evaluation", "answers", INT8, ""), f"evaluation.answers['{INT8}'] does not hold 1,000 classes"),
        (
            put("evaluation", "answers", "stray", "x"),
            "evaluation.answers has 'stray', which is none of the models",
        ),
        (put("goals", [{"goal": "g", "variant": "v", "sentence": "s"}]), "goals[0].met is missing"),
        (
            put("goals", [{"goal": "g", "variant": "v", "met": "yes", "sentence": ""}]),
            "goals[0].met is wrong",
        ),
        (put("lineage", {"a\nb": [{"settings": {}}]}), r"lineage['a\nb'][0].name is missing"),
        (put("baseline", "name", "\ud800"), "is wrong"),
    ],
)
def test_a_field_that_is_missing_or_wrong_is_named(change, words, written):
    document = copy.deepcopy(json.loads(json_report.render(report())))
    change(document)

    message = refusal_of(read, written(document))

    assert words in message
    assert "report.json is damaged: " in message
    assert len(message) < 400


def test_of_several_comparisons_the_damaged_one_is_named(written):
    document = json.loads(json_report.render(sample_report()))
    document["comparisons"][1]["variants"][0]["gzip_bytes"] = "few"

    assert "comparisons[1].variants[0].gzip_bytes is wrong" in refusal_of(read, written(document))


def test_a_field_that_is_not_known_here_is_passed_over(written):
    document = json.loads(json_report.render(report()))
    document["extra"] = document["baseline"]["extra"] = {"more": 1}

    assert read(written(document)).comparisons == Report("", report().comparisons).comparisons
