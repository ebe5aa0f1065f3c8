"""A comparison measures the same examples on every file and puts together what a person would."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny_files
from tiny_onnx import linear, two_heads

from slimedge.benchmarks import latency
from slimedge.benchmarks.assembling import zeros_notes
from slimedge.benchmarks.comparing import compare, compare_groups, lineages
from slimedge.benchmarks.reporting import json as json_report
from slimedge.benchmarks.reporting.reading import read
from slimedge.benchmarks.reporting.report import Report
from slimedge.benchmarks.turns import Timed, Turn
from slimedge.comparison import Variant, Verdict
from slimedge.data import Data
from slimedge.errors import InputError
from slimedge.measurement import Environment

FEATURES, CLASSES, EXAMPLES = 8, 3, 400
GENERATOR = np.random.default_rng(5)
KERNEL = GENERATOR.normal(size=(FEATURES, CLASSES)).astype(np.float32)
NOISY = (KERNEL + GENERATOR.normal(scale=1.5, size=KERNEL.shape)).astype(np.float32)
X = GENERATOR.random((EXAMPLES, FEATURES)).astype(np.float32)
TRUE = np.argmax(X @ (KERNEL + GENERATOR.normal(scale=0.2, size=KERNEL.shape)), axis=1)
HERE = Environment("cpu", (), 2, 1, None, None, "here", {"onnxruntime": "1"})


def labelled() -> Data:
    return Data.load((X, TRUE))


@pytest.fixture
def clock(monkeypatch):
    """Latencies by name (1 ms where none is set), in place of the real measurement; gives what was asked."""
    asked = {"latencies": {}}

    def measure(entries, **settings):
        asked.update(settings, entries=entries)
        timed = []
        for name, _, target in entries:
            p50 = asked["latencies"].get(name, 1e-3)
            turns = tuple(Turn(launch, turn, (p50,) * 3) for launch in range(3) for turn in range(4))
            timed.append(
                Timed(name, target, "cpu", turns, (0.1, 0.2, 0.3), (0.01,) * 3, (50, 70, 60), (5,) * 3, True)
            )
        return latency.LatencyRun(
            tuple(timed), HERE, settings["threads"], 1, latency.QUICK, ("It was noisy.",)
        )

    monkeypatch.setattr(latency, "measure_latency", measure)
    return asked


@pytest.fixture
def files(tmp_path):
    before = linear(tmp_path / "before.onnx", KERNEL, padding_bytes=4000)
    return before, linear(tmp_path / "after.onnx", NOISY)


def test_accuracy_and_agreement_are_those_of_numpy_on_the_same_examples(files, clock):
    found = compare(*files[:1], files[1:], labelled())
    variant = found.variants[0]

    before, after = np.argmax(X @ KERNEL, axis=1), np.argmax(X @ NOISY, axis=1)
    assert found.baseline.accuracy.value == pytest.approx(np.mean(before == TRUE))
    assert variant.accuracy.value == pytest.approx(np.mean(after == TRUE))
    assert variant.accuracy_delta.value == pytest.approx(np.mean(after == TRUE) - np.mean(before == TRUE))
    assert variant.agreement.value == pytest.approx(np.mean(after == before))
    assert variant.agreement.n == EXAMPLES
    assert found.baseline.accuracy_delta is found.baseline.agreement is found.baseline.sqnr_db is None


def test_the_class_that_each_model_answered_to_each_example_is_kept(files, clock):
    found = compare(files[0], [files[1]], labelled())

    kept = found.evaluation
    assert kept.n == EXAMPLES
    assert kept.truth == tuple(TRUE.tolist())
    assert kept.answers == {
        "before.onnx": tuple(np.argmax(X @ KERNEL, axis=1).tolist()),
        "after.onnx": tuple(np.argmax(X @ NOISY, axis=1).tolist()),
    }
    assert compare(files[0], [files[1]], labelled()).evaluation == kept
    assert compare(files[0], [files[1]], labelled().take(399)).evaluation.fingerprint != kept.fingerprint


def test_without_labels_the_answers_are_kept_and_without_classes_none(files, clock, tmp_path):
    assert compare(files[0], [files[1]], Data.load(X)).evaluation.truth is None
    assert compare(files[0], [files[1]]).evaluation is None
    target_values = Data.load((X, X @ KERNEL))
    assert compare(files[0], [files[1]], target_values).evaluation is None


def test_an_answer_that_is_no_number_is_kept_as_minus_one(clock, tmp_path):
    broken = np.full_like(KERNEL, np.nan)
    before = linear(tmp_path / "before.onnx", KERNEL)

    found = compare(before, [linear(tmp_path / "after.onnx", broken)], labelled())

    assert found.evaluation.answers["after.onnx"] == (-1,) * EXAMPLES
    report = Report("nan", (found,))
    path = tmp_path / "report.json"
    path.write_text(json_report.render(report))
    assert read(path).comparisons == report.comparisons


def test_each_turns_median_is_kept_launch_by_launch(files, clock):
    clock["latencies"] = {"before.onnx": 3e-3}

    assert compare(files[0], [files[1]]).baseline.latency_s.turns == ((3e-3,) * 4,) * 3


def test_sqnr_is_that_of_the_outputs(files, clock):
    found = compare(files[0], [files[1]], labelled()).variants[0]

    def softmax(scores):
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    before, after = softmax(X @ KERNEL), softmax(X @ NOISY)
    expected = 10 * np.log10(np.sum(before**2) / np.sum((before - after) ** 2))
    assert found.sqnr_db == pytest.approx(expected, abs=1e-3)


def test_sizes_weights_and_macs_are_the_files_own(files, clock):
    found = compare(files[0], [files[1]], labelled())

    assert found.baseline.file_bytes == files[0].stat().st_size
    assert found.variants[0].file_bytes == files[1].stat().st_size
    assert found.baseline.gzip_bytes < found.baseline.file_bytes - 3900  # the padding compresses to nothing
    for each in (found.baseline, *found.variants):
        assert each.parameters == each.nonzero_parameters == each.macs == FEATURES * CLASSES
        assert (each.format, each.runtime) == ("onnx", "ort")
        assert each.total_ops == 2
        assert each.integer_ops == 0


def test_activation_memory_is_told_before_and_after(clock, tmp_path):
    found = compare(
        tiny_files.float_onnx(tmp_path / "a.onnx"), [tiny_files.tflite(tmp_path / "b.tflite", integer=True)]
    )

    # The first op needs both inputs and its output, 4 + 3 + 3 numbers; the second the other input and both outputs, 8.
    assert [each.activation_bytes for each in (found.baseline, *found.variants)] == [4 * 10, 10]


def masked(kernel, share):
    return kernel * (np.arange(kernel.size).reshape(kernel.shape) % 20 >= 20 * share)


@pytest.mark.parametrize(
    ("share", "before", "told"), [(0.8, 0.0, True), (0.3, 0.0, True), (0.2, 0.0, False), (0.8, 0.7, False)]
)
def test_zeros_that_only_mask_are_said_to_save_no_time(clock, tmp_path, share, before, told):
    kernel = np.random.default_rng(7).normal(size=(40, 20)).astype(np.float32)
    clock["latencies"] = {"before.onnx": 3e-3}  # the variant is faster, for whatever reason

    found = compare(
        linear(tmp_path / "before.onnx", masked(kernel, before)),
        [linear(tmp_path / "after.onnx", masked(kernel, share))],
    )

    variant = found.variants[0]
    assert variant.sparsity == pytest.approx(share)
    notes = [note for note in variant.notes if "a mask alone does not make it faster" in note]
    assert len(notes) == int(told)
    assert all(note.startswith(f"{100 * share:.0f} % of the weights are zeros") for note in notes)
    assert not [note for note in found.baseline.notes if "mask" in note]


def test_where_multiplications_were_saved_nothing_is_said_of_masks():
    before = Variant("a", "onnx", "ort", "cpu", parameters=100, nonzero_parameters=100, macs=1000)
    after = replace(before, name="b", nonzero_parameters=10)

    assert len(zeros_notes(after, before)) == 1
    assert zeros_notes(replace(after, macs=999), before) == ()
    assert zeros_notes(replace(after, macs=None), replace(before, macs=None)) == ()
    assert zeros_notes(replace(after, nonzero_parameters=None), before) == ()
    assert zeros_notes(after, replace(before, parameters=0, nonzero_parameters=0)) == ()


def test_of_zeros_that_are_stored_sparsely_nothing_is_said(clock, files, monkeypatch):
    from slimedge.benchmarks import comparing, weighing
    from slimedge.weight_facts import WeightFacts

    def weigh(artifact):
        found = weighing.weigh(artifact)
        if artifact.path.name == "before.onnx":
            return found
        facts = WeightFacts("kernel", (FEATURES, CLASSES), "float32", FEATURES * CLASSES, 3, sparse=sparse)
        return replace(found, nonzero_parameters=3, weights=(facts,))

    monkeypatch.setattr(comparing, "weigh", weigh)
    for sparse in (False, True):
        notes = compare(files[0], [files[1]]).variants[0].notes
        assert any("a mask alone" in note for note in notes) is not sparse


def test_what_was_timed_several_times_is_given_as_its_median(files, clock):
    clock["latencies"] = {"before.onnx": 3e-3}

    found = compare(files[0], [files[1]], labelled())

    assert found.baseline.load_s == pytest.approx(0.2)
    assert found.baseline.peak_rss_bytes == 60
    assert found.baseline.latency_s.p50 == pytest.approx(3e-3)
    assert found.variants[0].speedup.value == pytest.approx(3.0)
    assert found.baseline.speedup is None


def test_each_variant_gets_a_verdict_and_the_baseline_none(files, clock, tmp_path):
    clock["latencies"] = {"before.onnx": 3e-3, "same.onnx": 3e-3}
    same = linear(tmp_path / "same.onnx", KERNEL, padding_bytes=4000)
    wrong = linear(tmp_path / "wrong.onnx", -KERNEL)  # three times as fast, and answers the opposite

    found = compare(files[0], [wrong, same], labelled())

    assert [each.verdict for each in found.variants] == [Verdict.TRADE_OFF, Verdict.NO_DIFFERENCE]
    assert found.baseline.verdict is None


def test_a_file_compared_with_itself_has_two_names_and_no_difference(files, clock):
    found = compare(files[0], [files[0]], labelled())

    names = {found.baseline.name, found.variants[0].name}
    assert len(names) == 2
    assert found.variants[0].verdict is Verdict.NO_DIFFERENCE
    assert found.variants[0].agreement.value == 1.0
    assert found.variants[0].accuracy_delta.p_value == 1.0


def test_without_labels_agreement_and_sqnr_stand_in_for_accuracy(files, clock):
    found = compare(files[0], [files[1]], Data.load(X))
    variant = found.variants[0]

    assert variant.accuracy is variant.accuracy_delta is found.baseline.accuracy is None
    assert variant.agreement is not None
    assert variant.sqnr_db is not None
    assert "The data has no labels: agreement and SQNR stand in for accuracy." in found.baseline.notes


def test_without_data_only_files_and_times_are_compared(files, clock):
    found = compare(files[0], [files[1]])
    variant = found.variants[0]

    assert variant.accuracy is variant.agreement is variant.sqnr_db is None
    assert variant.speedup is not None
    assert clock["inputs"] is None


def test_the_first_examples_are_what_is_timed(files, clock):
    compare(files[0], [files[1]], labelled(), threads=2)

    np.testing.assert_array_equal(clock["inputs"]["x"], X[:1])
    assert clock["threads"] == 2


def test_files_that_name_their_ends_otherwise_are_fed_in_order(files, clock, tmp_path):
    foreign = linear(tmp_path / "foreign.onnx", KERNEL, names=("unk__1", "Identity:0"))

    found = compare(files[0], [foreign], labelled())

    assert found.variants[0].agreement.value == 1.0


def test_several_outputs_are_scored_by_name_and_by_default_the_one_with_labels(clock, tmp_path):
    second = GENERATOR.normal(size=(FEATURES, 4))
    before = two_heads(tmp_path / "before.onnx", KERNEL, second)
    after = two_heads(tmp_path / "after.onnx", NOISY, second)
    colours = Data.load({"x": X}, labels={"colour": np.argmax(X @ second, axis=1)})

    by_default = compare(before, [after], colours).variants[0]
    by_name = compare(before, [after], colours, output="shape").variants[0]

    assert by_default.accuracy.value == by_default.agreement.value == 1.0
    assert by_name.accuracy is None
    assert by_name.agreement.value == pytest.approx(
        np.mean(np.argmax(X @ KERNEL, 1) == np.argmax(X @ NOISY, 1))
    )


def test_an_unknown_output_is_refused_with_those_there_are(files, clock):
    with pytest.raises(InputError, match="no output 'logits'; the models give scores"):
        compare(files[0], [files[1]], labelled(), output="logits")


def test_groups_are_measured_together_and_each_has_its_own_baseline(files, clock, tmp_path):
    clock["latencies"] = {"before.onnx": 4e-3, "after.onnx": 2e-3, "c.onnx": 9e-3, "d.onnx": 3e-3}
    others = [linear(tmp_path / f"{name}.onnx", KERNEL) for name in "cd"]

    first, second = compare_groups([files, others], labelled())

    assert [name for name, _, _ in clock["entries"]] == ["before.onnx", "after.onnx", "c.onnx", "d.onnx"]
    assert first.variants[0].speedup.value == pytest.approx(2.0)
    assert second.variants[0].speedup.value == pytest.approx(3.0)
    assert second.variants[0].agreement.value == 1.0
    assert "It was noisy." in first.baseline.notes
    assert "It was noisy." not in second.baseline.notes


def test_models_that_take_something_else_are_refused_with_both_shapes(files, clock, tmp_path):
    wider = linear(tmp_path / "wider.onnx", GENERATOR.normal(size=(9, CLASSES)))

    with pytest.raises(
        InputError, match=r"wider.onnx has the inputs 'x' \(None, 9\) where before.onnx has 'x' \(None, 8\)"
    ):
        compare(files[0], [wider])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"targets": ["litert"]}, "the target 'litert' runs none of the given files"),
        ({"targets": ["ort", "ort:cuda"]}, "both run .onnx"),
        ({"targets": ["orrt"]}, "did you mean 'ort'"),
        ({"effort": "hasty"}, "effort 'hasty' is not known; it can be quick, default, thorough"),
    ],
)
def test_settings_that_cannot_be_used_are_named(files, clock, settings, words):
    with pytest.raises(InputError, match=words):
        compare(files[0], [files[1]], **settings)


def test_a_comparison_needs_a_variant(files, clock):
    with pytest.raises(InputError, match="at least one variant"):
        compare(files[0], [])


def test_a_real_run_measures_everything_and_its_json_is_complete(files, monkeypatch):
    short = replace(
        latency.QUICK, launches=2, most_launches=2, rounds=2, launch_s=0.1, turn_s=0.005, warm_s=0.05
    )
    monkeypatch.setattr(latency, "SETTINGS", {"default": short})
    seen = []

    found = compare(files[0], [files[1]], labelled(), progress=lambda doing, _share=None: seen.append(doing))

    for each in (found.baseline, *found.variants):
        assert each.latency_s.p50 > 0
        assert each.load_s > 0
        assert each.first_run_s > 0
        assert each.peak_rss_bytes > 1_000_000
        assert each.provider == "cpu"
    assert found.variants[0].speedup.low <= found.variants[0].speedup.value <= found.variants[0].speedup.high
    assert {"slimedge", "onnxruntime"} <= set(found.environment.versions)
    assert found.environment.threads == 1
    assert any(doing.startswith("timing") for doing in seen)
    report = Report("written.json", (found,), lineage=lineages(found, files))
    written = files[0].with_name("written.json")
    written.write_text(json_report.render(report))
    assert read(written) == report


def test_the_target_cpu_is_what_every_file_runs_on_anyway() -> None:
    from slimedge.benchmarks.entries import _entries

    assert _entries([], ["cpu"], on_every_target=False) == []
