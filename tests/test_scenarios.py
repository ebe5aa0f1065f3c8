"""Scenarios on made-up machines: what they come to is known from arithmetic and queueing theory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny_files
from scenario_lab import Lab
from scipy import stats

from slimedge.artifact import Artifact, Format, TensorSpec
from slimedge.benchmarks.entries import Entry
from slimedge.benchmarks.scenarios import running
from slimedge.benchmarks.scenarios.measuring import Asked
from slimedge.benchmarks.scenarios.metrics import figures, most_above, percentile, upper_percentile
from slimedge.benchmarks.scenarios.result import Failed, headline
from slimedge.benchmarks.scenarios.run import Run
from slimedge.benchmarks.scenarios.running import measure_model, run_scenario
from slimedge.benchmarks.scenarios.scenario import PLANS, Plan, Scenario
from slimedge.benchmarks.scenarios.server_search import holds, most_wait_s, search
from slimedge.benchmarks.scenarios.sweep import batches_of, levels_of, samples_of_a_query
from slimedge.errors import InputError
from slimedge.runtime.devices.local import Local
from slimedge.runtime.targets import Target

SHORT = Plan(seconds=2.0, point_s=0.3, trial_s=1.5, most_trial_s=20.0, precision=0.1)


def entry(name="m.onnx", batch=None):
    return Entry(name, tiny_files.artifact(name, batch=batch), Target("ort"))


def measured(scenario, lab=None, plan=SHORT, batch=None, **asked):
    lab = lab or Lab()
    return measure_model(entry(batch=batch), Scenario(scenario), Asked(plan, **asked), lab), lab


def run_of(latencies_ns, *, scenario=Scenario.SINGLE_STREAM, samples=1, waits_ns=0, **fields):
    """A stream with queries that took so long."""
    ended = np.cumsum(latencies_ns)
    issued = ended - np.asarray(latencies_ns)
    settings = {"concurrency": 1, "rate_per_s": None, "ending": "enough"} | fields
    return Run(scenario, samples, issued_ns=issued, started_ns=issued + waits_ns, ended_ns=ended, **settings)


# What the times come to


def test_figures_are_those_of_numpy():
    latencies_ns = np.random.default_rng(1).integers(1_000, 90_000, 5_000)
    found = figures(run_of(latencies_ns, samples=8))
    assert found.p50_s == pytest.approx(np.quantile(latencies_ns, 0.5) / 1e9)
    assert found.p90_s == pytest.approx(np.quantile(latencies_ns, 0.9) / 1e9)
    assert found.p99_s == pytest.approx(np.quantile(latencies_ns, 0.99) / 1e9)
    assert found.samples_per_s == pytest.approx(8 * 5_000 / (latencies_ns.sum() / 1e9))
    assert found.queries == 5_000


@pytest.mark.parametrize(("share", "least"), [(0.9, 100), (0.99, 1000)])
def test_a_percentile_takes_ten_samples_above_it(share, least):
    assert percentile(np.arange(float(least)), share) == np.quantile(np.arange(least), share)
    assert percentile(np.arange(float(least - 1)), share) is None


@pytest.mark.parametrize("n", [1, 44, 458, 459, 662, 1000, 24_576, 300_000])
@pytest.mark.parametrize("share", [0.9, 0.99])
def test_as_many_may_lie_above_as_the_binomial_allows(n, share):
    allowed = most_above(n, share, 0.99)
    above = stats.binom(n, 1 - share)
    assert allowed == -1 or above.cdf(allowed) <= 0.01
    assert above.cdf(allowed + 1) > 0.01


def test_the_upper_bound_covers_the_percentile_as_often_as_it_says():
    generator = np.random.default_rng(0)
    truth = stats.expon.ppf(0.9)
    covered = np.mean(
        [upper_percentile(np.sort(generator.exponential(size=200)), 0.9) >= truth for _ in range(2000)]
    )
    assert covered >= 0.985  # at least 99 %, but for chance
    assert upper_percentile(np.arange(43.0), 0.9) is None


def test_offline_latencies_are_those_of_a_batch():
    run = run_of([10, 20], scenario=Scenario.OFFLINE, waits_ns=3)
    assert run.latencies_s.tolist() == pytest.approx([7e-9, 17e-9])


def test_a_server_counts_latency_from_the_arrival():
    run = run_of([10, 20], scenario=Scenario.SERVER, waits_ns=3)
    assert run.latencies_s.tolist() == pytest.approx([10e-9, 20e-9])


# Streams


def test_a_single_stream_tells_the_90th_percentile_of_single_queries():
    model, lab = measured("single-stream")
    told = headline(Scenario.SINGLE_STREAM, model.run)
    assert (told.name, told.value) == ("p90_s", pytest.approx(1e-3))
    assert model.run.queries == 2000  # two seconds of a millisecond each
    assert {fields["samples"] for fields in lab.asked_for("single-stream")} == {1}


def test_a_multi_stream_has_eight_samples_in_a_query():
    model, _ = measured("multi-stream")
    told = headline(Scenario.MULTI_STREAM, model.run)
    assert (told.name, told.value) == ("p99_s", None)  # 750 queries in six seconds are too few
    assert model.run.queries == 750
    assert "750 queries, and a 99th percentile takes 1,000; measure longer" in model.notes[0]
    longer, _ = measured("multi-stream", plan=replace(SHORT, seconds=9.0))
    assert headline(Scenario.MULTI_STREAM, longer.run).value == pytest.approx(8e-3)
    assert longer.notes == ()


def test_a_fixed_batch_is_a_query_of_its_own():
    assert samples_of_a_query(tiny_files.artifact("m.tflite", batch=1), 8) == 8
    assert samples_of_a_query(tiny_files.artifact("m.tflite", batch=4), 8) == 8
    assert samples_of_a_query(tiny_files.artifact("m.tflite", batch=4), 1) == 4
    with pytest.raises(
        InputError, match=r"a multi-stream query has 8 samples, but m\.tflite runs batches of 3"
    ):
        samples_of_a_query(tiny_files.artifact("m.tflite", batch=3), 8)


# Offline


def test_offline_tells_the_throughput_of_the_best_batch_and_concurrency_measured_again():
    def service_s(samples):  # the larger the batch, the less each sample costs, up to 4
        return 1e-3 * samples ** (0.5 if samples <= 4 else 1.2)

    model, lab = measured("offline", Lab(service_s), batches=[1, 4, 8])
    assert [(run.samples, run.concurrency) for run in model.points] == [
        (1, 1), (1, 2), (4, 1), (4, 2), (8, 1), (8, 2),
    ]  # fmt: skip
    expected = [workers * batch / service_s(batch) for batch in (1, 4, 8) for workers in (1, 2)]
    assert [figures(run).samples_per_s for run in model.points] == pytest.approx(expected, rel=0.02)
    assert (model.run.samples, model.run.concurrency) == (4, 2)
    assert headline(Scenario.OFFLINE, model.run).value == pytest.approx(4000, rel=0.01)
    assert lab.asked_for("offline")[-1]["settings"]["seconds"] == SHORT.seconds


def test_one_batch_and_one_worker_are_no_sweep():
    model, _ = measured("offline", batches=[2], concurrency=[1])
    assert model.points == ()
    assert headline(Scenario.OFFLINE, model.run).value == pytest.approx(1000, rel=0.01)


def test_a_file_of_a_fixed_batch_is_swept_over_workers_only():
    model, lab = measured("offline", batch=3)
    assert [(run.samples, run.concurrency) for run in model.points] == [(3, 1), (3, 2)]
    (load,) = [fields for do, fields in lab.asked if do == "load"]
    assert (load["batch"], load["workers"]) == (3, 2)


def test_batches_that_a_file_does_not_run_are_refused():
    with pytest.raises(
        InputError, match=r"the batches are 1,4, but m\.tflite runs batches of 1 only; leave --batches"
    ):
        batches_of(tiny_files.artifact("m.tflite", batch=1), [1, 4])
    assert batches_of(tiny_files.artifact("m.tflite", batch=4), [4]) == (4,)


def test_a_file_without_inputs_has_an_open_batch():
    spec = TensorSpec("x", (), "float32")
    assert batches_of(Artifact("m.onnx", Format.ONNX, "", (spec,), ()), [2]) == (2,)


def test_levels_go_up_to_the_processors():
    assert levels_of(cores=8, threads=1, asked=[]) == (1, 2, 4, 8)
    assert levels_of(cores=8, threads=3, asked=[]) == (1, 2)
    assert levels_of(cores=1, threads=4, asked=[]) == (1,)
    assert levels_of(cores=1, threads=1, asked=[3, 1, 3]) == (1, 3)
    with pytest.raises(InputError, match="concurrency is 0,2; give whole numbers from 1 on"):
        levels_of(cores=1, threads=1, asked=[0, 2])


# Server


def p99_of_md1(load, service_s, count=2_000_000):
    """The 99th percentile of the time in an M/D/1 queue, by Lindley's recursion: W = S - min S."""
    gaps = np.random.default_rng(99).exponential(service_s / load, count)
    walk = np.concatenate([[0.0], np.cumsum(service_s - gaps[1:])])
    waits = walk - np.minimum.accumulate(walk)
    return np.quantile(waits + service_s, 0.99)


def test_a_server_finds_the_rate_that_queueing_theory_has():
    plan = replace(SHORT, trial_s=80.0, seconds=120.0, most_trial_s=200.0, precision=0.02)
    model, _ = measured("server", plan=plan, concurrency=[1], bound_s=6e-3)
    rate = headline(Scenario.SERVER, model.run).value
    low, high = 0.5, 0.95
    while high - low > 0.003:
        middle = (low + high) / 2
        low, high = (middle, high) if p99_of_md1(middle, 1e-3) <= 6e-3 else (low, middle)
    theory = low / 1e-3
    assert rate == pytest.approx(theory, rel=0.05)
    assert figures(model.run).p99_s <= 6e-3
    assert rate < model.search.lowest_failed_per_s <= rate * 1.05


def test_the_usual_bound_is_ten_medians_of_single_queries():
    model, lab = measured("server", concurrency=[1])
    assert model.search.bound_s == pytest.approx(10e-3)
    assert lab.asked_for("single-stream")[-1]["settings"]["seconds"] == SHORT.point_s


def test_a_server_has_as_many_workers_as_there_are_processors_for():
    model, _ = measured("server")
    assert model.run.concurrency == 2
    assert 1000 < model.run.rate_per_s < 2000


def test_trials_share_their_arrivals_and_the_run_that_confirms_has_others():
    model, lab = measured("server", concurrency=[1])
    seeds = [fields["settings"]["seed"] for fields in lab.asked_for("server")]
    assert set(seeds[: len(seeds) - 1]) >= {0}
    assert [trial.confirming for trial in model.search.trials] == [seed == 1 for seed in seeds]
    confirming = [fields for fields in lab.asked_for("server") if fields["settings"]["seed"] == 1]
    assert {fields["settings"]["seconds"] for fields in confirming} == {SHORT.seconds}


def test_a_bound_that_no_query_meets_is_told_as_such():
    model, _ = measured("server", bound_s=0.5e-3, concurrency=[1])
    assert model.run is None
    assert model.search.confirmed is None
    assert headline(Scenario.SERVER, model.run).value is None
    assert (
        "No rate held: the 99th percentile has to stay within 500 µs, and one query takes 1.00 ms"
        in model.notes[0]
    )


def test_a_model_too_slow_for_a_99th_percentile_is_not_tried():
    model, lab = measured("server", Lab(lambda _: 0.5))
    assert lab.asked_for("server") == []
    assert model.search.trials == ()
    assert "one query takes 500 ms" in model.notes[0]
    assert "use --effort thorough" in model.notes[0]


def served(p99_s, count=2000, ending="enough", rate_per_s=10.0):
    """A server's run with this 99th percentile."""
    latencies = np.full(count, p99_s * 1e9, np.int64)
    due = np.arange(count, dtype=np.int64) * 1000
    return Run(Scenario.SERVER, 1, 1, rate_per_s, due, due, due + latencies, ending)


def search_where(held, **settings):
    """Search with a server for which a rule says whether it holds at a rate, a number of seconds and a seed."""
    tried = []

    def attempt(rate, seconds, seed):
        tried.append((rate, seconds, seed))
        return served(1.0 if held(rate, seed) else 3.0, rate_per_s=rate)

    usual = {"start_per_s": 100.0, "least_per_s": 1.0, "bound_s": 2.0, "trial_s": 3.0, "confirm_s": 9.0}
    return search(attempt, **{**usual, "precision": 0.05, **settings}), tried


@pytest.mark.parametrize("truth", [3.0, 47.0, 99.9, 100.1, 777.0])
def test_the_search_closes_in_from_above_and_below(truth):
    found, tried = search_where(lambda rate, _: rate <= truth)
    assert found.confirmed.rate_per_s <= truth < found.lowest_failed_per_s
    assert found.lowest_failed_per_s <= 1.05 * found.confirmed.rate_per_s
    assert [seconds for _, seconds, _ in tried] == [3.0] * (len(tried) - 1) + [9.0]
    assert len(tried) < 20


def test_a_rate_that_is_not_confirmed_is_lowered_a_little():
    found, tried = search_where(lambda rate, seed: rate <= (100.0 if seed == 0 else 90.0))
    assert found.confirmed.confirming
    assert 90.0 / 1.05 <= found.confirmed.rate_per_s <= 90.0
    assert found.lowest_failed_per_s == pytest.approx(1.05 * found.confirmed.rate_per_s)
    assert [seed for *_, seed in tried].count(1) > 1


def test_a_search_gives_up_at_the_lowest_rate():
    found, tried = search_where(lambda _rate, _seed: False, least_per_s=20.0)
    assert found.confirmed is None
    assert min(rate for rate, *_ in tried) >= 20.0


def test_a_server_holds_only_where_all_were_served_in_time_and_there_were_enough():
    assert holds(served(2.0), 2.0)
    assert not holds(served(2.1), 2.0)
    assert not holds(served(1.0, ending="backlog"), 2.0)
    assert not holds(served(1.0, count=999), 2.0)


@pytest.mark.parametrize("load", [1.02, 1.3, 2.0])
def test_a_run_that_is_ended_for_its_backlog_could_not_have_held(load):
    count, service_s, bound_s = 20_000, 1e-3, 10e-3
    gaps = np.random.default_rng(5).exponential(service_s / load, count)
    arrivals = np.cumsum(gaps)
    walk = np.concatenate([[0.0], np.cumsum(service_s - gaps[1:])])
    waits = walk - np.minimum.accumulate(walk)
    longest = most_wait_s(bound_s, count * service_s / load)
    ended_at = np.argmax(waits > longest)
    assert waits[ended_at] > longest
    now = arrivals[ended_at] + waits[ended_at]
    late = np.count_nonzero(waits[: ended_at + 1] + service_s > bound_s)
    late += np.count_nonzero(arrivals <= now - bound_s) - (ended_at + 1)  # they wait still
    assert late > 0.01 * count


# All of it


@pytest.fixture
def lab(monkeypatch):
    place = Lab()
    monkeypatch.setattr(running, "device", lambda _name: place)
    return place


def test_every_model_is_a_row_in_its_order(lab, tmp_path):
    files = [tiny_files.float_onnx(tmp_path / f"{name}.onnx").path for name in "ba"]
    told = []
    result = run_scenario(files, "single-stream", effort="quick", progress=lambda *all_: told.append(all_))
    assert [model.name for model in result.models] == ["b.onnx", "a.onnx"]
    assert (str(result.scenario), result.effort) == ("single-stream", "quick")
    assert lab.open == 0
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert told[-1][0].startswith("a.onnx: ")


def test_a_model_runs_on_every_target_that_opens_it(lab, tmp_path):
    files = [tiny_files.float_onnx(tmp_path / "m.onnx").path]
    result = run_scenario(files, "multi-stream", effort="quick", targets=["ort", "local/ort?cores=1"])
    assert [(model.name, str(model.target)) for model in result.models] == [
        ("m.onnx", "ort"),
        ("m.onnx", "local/ort?cores=1"),
    ]


def test_a_target_that_measures_in_its_own_way_is_refused(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "measurer", lambda _target: "compiler")
    with pytest.raises(
        InputError, match="the target 'ort' has a way of its own to measure, which knows no scenarios"
    ):
        run_scenario([tiny_files.float_onnx(tmp_path / "m.onnx").path], "offline")
    assert lab.asked == []


def test_a_model_that_fails_costs_only_its_row(lab, tmp_path):
    lab.trouble = "it died."
    (model,) = run_scenario(
        [tiny_files.float_onnx(tmp_path / "m.onnx").path], "offline", effort="quick"
    ).models
    assert isinstance(model, Failed)
    assert (model.name, str(model.error)) == ("m.onnx", "it died.")


@pytest.mark.parametrize(
    ("scenario", "asked", "message"),
    [
        ("ofline", {}, "no scenario 'ofline'; it can be single-stream, multi-stream, offline, server"),
        ("offline", {"effort": "slow"}, "effort 'slow' is not known; it can be quick, default, thorough"),
        (
            "server",
            {"batches": [1, 2]},
            "--batches is for the scenario offline; server has queries of a size",
        ),
        (
            "single-stream",
            {"concurrency": [2]},
            "--concurrency is for the scenarios offline and server; single-stream",
        ),
        ("server", {"concurrency": [1, 2]}, "--concurrency is 1,2; a server has one number of workers"),
        ("offline", {"latency_bound_s": 1.0}, "--latency-bound is for the scenario server; offline has none"),
        ("server", {"latency_bound_s": 0.0}, "the latency bound is 0 s; give more than 0"),
        ("server", {"threads": 0}, "threads is 0; give 1 or more"),
        ("offline", {"batches": [0]}, "batches is 0; give whole numbers from 1 on"),
    ],
)
def test_settings_that_fit_no_scenario_are_refused_before_anything_runs(
    lab, tmp_path, scenario, asked, message
):
    file = tiny_files.float_onnx(tmp_path / "m.onnx").path
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        run_scenario([file], scenario, **asked)
    assert lab.asked == []


def test_there_has_to_be_a_model():
    with pytest.raises(InputError, match="there is nothing to measure; name at least one model"):
        run_scenario([], "offline")


def test_longer_plans_measure_longer_and_closer():
    quick, usual, thorough = PLANS.values()
    for field in ("seconds", "point_s", "trial_s", "most_trial_s"):
        assert getattr(quick, field) < getattr(usual, field) < getattr(thorough, field)
    assert quick.precision > usual.precision > thorough.precision


# On a real runtime

REAL = Plan(seconds=0.3, point_s=0.05, trial_s=0.2, most_trial_s=5.0, precision=0.3)


@pytest.mark.parametrize("scenario", list(Scenario))
def test_a_real_model_is_measured_end_to_end(scenario, tmp_path):
    artifact = tiny_files.float_onnx(tmp_path / "m.onnx")
    asked = Asked(REAL, concurrency=[1] if scenario is Scenario.SERVER else ())
    model = measure_model(Entry("m", artifact, Target("ort")), scenario, asked, Local())
    assert model.provider == "cpu"
    assert model.environment.versions["onnxruntime"]
    run = model.run or model.search.trials[-1].run  # on a machine that does much else no rate may hold
    assert (run.started_ns >= run.issued_ns).all()
    assert (run.ended_ns > run.started_ns).all()
    assert (np.diff(run.issued_ns) >= 0).all()
    assert 1e-7 < figures(run).p50_s < 0.05


def test_a_tflite_file_of_one_sample_runs_eight_times_for_a_query_of_eight(tmp_path):
    artifact = tiny_files.tflite(tmp_path / "m.tflite", integer=False)
    one, eight = (
        figures(measure_model(Entry("m", artifact, Target("litert")), scenario, Asked(REAL), Local()).run)
        for scenario in (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM)
    )
    assert 4 < eight.p50_s / one.p50_s < 16
