from __future__ import annotations

import itertools
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import tiny_files

from slimedge.benchmarks.aa import SlowedAgent
from slimedge.benchmarks.judging import judge
from slimedge.benchmarks.latency import SETTINGS, Settings, measure_latency, speedups
from slimedge.comparison import Variant, Verdict
from slimedge.errors import InputError, RunError
from slimedge.measurement import Unit
from slimedge.runtime.facts import cores
from slimedge.runtime.targets import Target

SHORT = Settings(launches=2, most_launches=2, rounds=3)
ORT = Target("ort")


class FakeAgent:
    """Tells what it is asked without running anything; `samples` gives the next turn's nanoseconds."""

    def __init__(self, name, log, samples, told):
        self.name, self.log, self.samples, self.told = name, log, samples, told
        self.asked = None

    def ask(self, do, /, **fields):
        self.send(do, **fields)
        return self.receive()

    def send(self, do, /, **fields):
        self.log.append(("send", do, self.name, fields))
        self.asked = do

    def receive(self):
        self.log.append(("receive", self.asked, self.name, {}))
        facts = {
            "cpu": "fake",
            "isa": ["avx2"],
            "cores": 4,
            "threads": 1,
            "governor": None,
            "memory_bytes": 1,
        }
        facts |= {"system": "a system", "versions": {"python": "3.11", self.name: "1"}}
        answers = {
            "prepare": {"facts": facts},
            "load": {"load_s": 0.5, "first_run_s": 0.25, "inputs": [], "outputs": [], "provider": "cpu"},
            "state": {"temperature_c": None, "throttled": None},
            "warm": {"runs": 3, "seconds": 0.1, "stable": True, "run_s": 1e-4},
            "time": {"samples_ns": self.samples()} if self.asked == "time" else {},
            "memory": {"peak_rss_bytes": 99, "model_bytes": 7},
        }
        return answers[self.asked] | self.told.get(self.asked, {})


class Lab:
    """Starts fake agents and remembers everything that was asked."""

    def __init__(self, samples=None, told=None):
        self.log, self.open = [], 0
        self.samples = samples or {}
        self.told = told or {}

    @contextmanager
    def start(self, name, _target):
        self.open += 1
        try:
            yield FakeAgent(name, self.log, self.samples.get(name, lambda: [1000, 1000, 1000]), self.told)
        finally:
            self.open -= 1
            self.log.append(("end", None, name, {}))

    def sent(self, what):
        return [(name, fields) for event, do, name, fields in self.log if (event, do) == ("send", what)]


def entries(*names):
    return [(name, tiny_files.artifact(f"{name}.onnx"), ORT) for name in names]


def turns(lab):
    return "".join(name for name, _ in lab.sent("time"))


def test_files_take_turns_forwards_and_backwards():
    lab = Lab()
    measure_latency(entries("A", "B"), threads=1, settings=SHORT, start=lab.start)
    assert turns(lab) == "ABBAAB" + "BAABBA"


def test_three_files_take_turns_forwards_and_backwards():
    lab = Lab()
    measure_latency(entries("A", "B", "C"), threads=1, settings=SHORT, start=lab.start)
    assert turns(lab) == "ABCCBAABC" + "CBAABCCBA"


def test_only_one_process_works_at_a_time_but_for_starting():
    lab = Lab()
    measure_latency(entries("A", "B"), threads=1, settings=SHORT, start=lab.start)
    working = [event for event in lab.log if event[1] in {"load", "warm", "time"}]
    for sent, received in zip(working[::2], working[1::2], strict=True):
        assert (sent[0], received[0]) == ("send", "receive")
        assert sent[1:3] == received[1:3]
    assert [event[0] for event in lab.log if event[1] == "prepare"][:4] == [
        "send",
        "send",
        "receive",
        "receive",
    ]


def test_every_launch_is_a_fresh_process_that_is_loaded_and_warmed_up_before_anything_is_timed():
    lab = Lab()
    measure_latency(entries("A", "B"), threads=1, settings=SHORT, start=lab.start)
    of_a = [do for event, do, name, _ in lab.log if event in {"send", "end"} and name == "A"]
    assert of_a == ["prepare", "state", "load", "warm", "time", "time", "time", "memory", "state", None] * 2
    assert lab.open == 0


def test_processes_take_turns_in_being_loaded_first():
    lab = Lab()
    measure_latency(entries("A", "B"), threads=1, settings=SHORT, start=lab.start)
    assert "".join(name for name, _ in lab.sent("load")) == "ABBA"


def test_threads_and_processors_are_the_same_for_all():
    lab = Lab()
    run = measure_latency(entries("A", "B"), threads=1, settings=SHORT, start=lab.start)
    assert {(fields["threads"], fields["pin"]) for _, fields in lab.sent("load")} == {(1, True)}
    assert (run.threads, run.environment.threads) == (1, 1)


def test_threads_are_those_of_this_process_where_nobody_says():
    run = measure_latency(entries("A"), settings=SHORT, start=Lab().start)
    assert run.threads == cores()


def test_every_sample_is_kept_with_its_launch_and_round():
    numbers = itertools.count(1)
    lab = Lab({"A": lambda: [next(numbers), next(numbers), 10**9]})  # the outlier, too
    timed = measure_latency(entries("A", "B"), threads=1, settings=SHORT, start=lab.start)["A"]
    assert [(turn.launch, turn.round) for turn in timed.turns] == list(itertools.product(range(2), range(3)))
    assert timed.turns[0].samples_s == pytest.approx((1e-9, 2e-9, 1.0))
    assert timed.samples_s == pytest.approx(
        [x for n in range(0, 12, 2) for x in ((n + 1) / 1e9, (n + 2) / 1e9, 1.0)]
    )
    assert timed.latency.n == 18
    assert timed.turn_medians().shape == (2, 3)
    assert timed.turn_medians()[1, 2] == pytest.approx(12e-9)


def test_a_speedup_is_the_baselines_median_over_the_variants():
    lab = Lab({"A": lambda: [3000, 3000, 90_000], "B": lambda: [1000, 2000, 2000]})
    run = measure_latency(entries("A", "B"), threads=1, settings=SHORT, start=lab.start)
    found = speedups(run, "A")
    assert set(found) == {"B"}
    assert found["B"].value == pytest.approx(1.5)
    assert speedups(run, "B")["A"].value == pytest.approx(1 / 1.5)


def test_what_else_was_seen_is_kept_once_a_launch():
    run = measure_latency(entries("A", "B"), threads=1, settings=SHORT, start=Lab().start)
    timed = run["B"]
    assert (timed.load_s, timed.first_run_s) == ((0.5, 0.5), (0.25, 0.25))
    assert (timed.peak_rss_bytes, timed.model_bytes, timed.provider) == ((99, 99), (7, 7), "cpu")
    assert run.environment.versions == {"python": "3.11", "A": "1", "B": "1"}
    found = {measurement.metric: measurement for measurement in run.measurements("B")}
    assert set(found) == {"latency", "load", "first_run", "peak_rss", "model_memory"}
    assert (found["peak_rss"].unit, found["peak_rss"].values) == (Unit.BYTE, (99.0, 99.0))
    assert found["latency"].values == timed.samples_s


def test_memory_that_a_system_does_not_tell_is_not_measured():
    lab = Lab(told={"memory": {"peak_rss_bytes": None, "model_bytes": None}})
    run = measure_latency(entries("A"), threads=1, settings=SHORT, start=lab.start)
    assert (run["A"].peak_rss_bytes, run["A"].model_bytes) == ((), ())
    assert "peak_rss" not in {measurement.metric for measurement in run.measurements("A")}


def noisy(seed, spread):
    generator = np.random.default_rng(seed)
    return lambda: [int(value) for value in 1e6 * np.exp(generator.normal(0, spread, 3))]


def test_launches_follow_while_the_interval_is_wide():
    settings = replace(SHORT, launches=3, most_launches=9)
    quiet = measure_latency(entries("A", "B"), threads=1, settings=settings, start=Lab().start)
    assert len(quiet["A"].load_s) == 3
    assert quiet.notes == ()
    lab = Lab({"A": noisy(0, 0.3), "B": noisy(1, 0.3)})
    busy = measure_latency(entries("A", "B"), threads=1, settings=settings, start=lab.start)
    assert len(busy["A"].load_s) == len(busy["B"].load_s) == 9
    assert "not known to ±2% after 9 launches" in busy.notes[0]


def test_a_large_speedup_need_not_be_known_as_closely():
    settings = replace(SHORT, launches=4, most_launches=12, rounds=8)
    lab = Lab({"A": noisy(0, 0.05), "B": lambda: [1000]})
    run = measure_latency(entries("A", "B"), threads=1, settings=settings, start=lab.start)
    assert len(run["A"].load_s) == 4
    assert speedups(run, "A")["B"].value == pytest.approx(1000, rel=0.1)


def test_slow_models_get_fewer_rounds_and_never_less_than_the_least():
    settings = Settings(launches=2, most_launches=2, rounds=16, least_rounds=4, launch_s=2.0, turn_runs=2)
    rounds = {}
    for run_s in (1e-4, 0.05, 3.0):
        lab = Lab(told={"warm": {"run_s": run_s}})
        run = measure_latency(entries("A", "B"), threads=1, settings=settings, start=lab.start)
        rounds[run_s] = len(run["A"].turns) // 2
    assert rounds == {1e-4: 16, 0.05: 13, 3.0: 4}


def test_a_warm_up_that_never_settles_is_told():
    lab = Lab(told={"warm": {"stable": False}})
    run = measure_latency(entries("A"), threads=1, settings=SHORT, start=lab.start)
    assert not run["A"].stable
    assert "A had not settled after 0.5 s of warm-up in 2 of 2 launches" in run.notes[0]


def test_progress_goes_from_nothing_to_all():
    shares = []
    measure_latency(
        entries("A", "B"),
        threads=1,
        settings=SHORT,
        start=Lab().start,
        progress=lambda share, _: shares.append(share),
    )
    assert shares[0] == 0.0
    assert shares[-1] == 1.0
    assert shares == sorted(shares)


def test_an_agent_that_fails_ends_the_others():
    def fail():
        raise RunError("it died")

    lab = Lab({"B": fail})
    with pytest.raises(RunError, match="it died"):
        measure_latency(entries("A", "B"), threads=1, settings=SHORT, start=lab.start)
    assert lab.open == 0


def test_inputs_are_given_as_one_batch_under_each_files_own_names():
    seen = {}

    class Reading(Lab):
        @contextmanager
        def start(self, name, target):
            with super().start(name, target) as agent:
                send = agent.send

                def sending(do, /, **fields):
                    if do == "load":
                        with np.load(fields["inputs"]) as archive:
                            seen[name] = {key: archive[key].tolist() for key in archive.files}
                    send(do, **fields)

                agent.send = sending
                yield agent

    (_, first, _), (_, second, _) = entries("A", "B")
    second = replace(second, inputs=tuple(replace(spec, name=f"{spec.name}_b") for spec in second.inputs))
    inputs = tiny_files.examples(5)
    files = [("A", first, ORT), ("B", second, ORT)]
    measure_latency(files, inputs=inputs, batch=2, threads=1, settings=SHORT, start=Reading().start)
    assert seen["A"] == {name: array[:2].tolist() for name, array in inputs.items()}
    assert seen["B"] == {f"{name}_b": array[:2].tolist() for name, array in inputs.items()}


def test_a_fixed_batch_is_everybodys_batch():
    lab = Lab()
    fixed = ("B", tiny_files.artifact("b.tflite", batch=4), Target("litert"))
    run = measure_latency([*entries("A"), fixed], threads=1, settings=SHORT, start=lab.start)
    assert run.batch == 4
    assert {fields["batch"] for _, fields in lab.sent("load")} == {4}


@pytest.mark.parametrize("batch", [None, 1])
def test_files_of_different_batches_do_not_do_the_same_work(batch):
    files = [(f"b{size}", tiny_files.artifact("b.tflite", batch=size), Target("litert")) for size in (1, 8)]
    with pytest.raises(InputError, match="the batch is 1, but b8 runs batches of 8"):
        measure_latency(files, threads=1, batch=batch, settings=SHORT, start=Lab().start)


@pytest.mark.parametrize(
    ("files", "settings", "threads", "message"),
    [
        ((), SHORT, 1, "needs a name of its own; given were none"),
        (("A", "A"), SHORT, 1, "given were A, A"),
        (("A",), replace(SHORT, launches=1), 1, "launches is 1"),
        (("A",), SHORT, 0, "threads is 0"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_starts(files, settings, threads, message):
    lab = Lab()
    with pytest.raises(InputError, match=message):
        measure_latency(entries(*files), threads=threads, settings=settings, start=lab.start)
    assert lab.log == []


def test_the_settings_go_from_quick_to_thorough():
    quick, default, thorough = (SETTINGS[name] for name in ("quick", "default", "thorough"))
    least = [s.launches * s.rounds * s.turn_s for s in (quick, default, thorough)]
    assert least == sorted(least)
    assert quick.precision > default.precision > thorough.precision


def verdicts(slowdown, comparisons):
    """Compare a file with itself in a simulated world: launches differ by 1 %, turns by 2 %, and all of it drifts."""
    found = []
    for seed in range(comparisons):
        generator = np.random.default_rng(seed)
        state = {"turn": 0}

        class World(Lab):
            @contextmanager
            def start(self, name, target):
                level = np.exp(generator.normal(0, 0.01)) * (1 + slowdown * (name == "B"))  # noqa: B023

                def samples():
                    state["turn"] += 1  # noqa: B023
                    drift = 1 + 0.3 * np.sin(state["turn"] / 40)  # noqa: B023
                    return [int(1e5 * level * drift * np.exp(generator.normal(0, 0.02)))] * 3  # noqa: B023

                self.samples[name] = samples
                with super().start(name, target) as agent:
                    yield agent

        run = measure_latency(entries("A", "B"), threads=1, start=World().start)
        variant = Variant("B", "onnx", "ort", "cpu", speedup=speedups(run, "A")["B"])
        found.append(judge(variant, Variant("A", "onnx", "ort", "cpu")).verdict)
    return found


def test_a_file_does_not_differ_from_itself():
    assert verdicts(0.0, 20).count(Verdict.NO_DIFFERENCE) == 20


def test_ten_per_cent_slower_is_worse():
    assert verdicts(0.10, 20).count(Verdict.WORSE) == 20


def test_a_slowed_agent_differs_in_what_it_loads_only():
    lab = Lab()
    with lab.start("A", ORT) as agent:
        slowed = SlowedAgent(agent, 0.1)
        slowed.ask("load", model="m.onnx")
        slowed.ask("time", seconds=1)
    assert lab.sent("load") == [("A", {"model": "m.onnx", "slowdown": 0.1})]
    assert lab.sent("time") == [("A", {"seconds": 1})]


def test_two_real_files_are_measured_in_real_processes(tmp_path):
    files = [
        ("onnx", tiny_files.float_onnx(tmp_path / "m.onnx"), ORT),
        ("tflite", tiny_files.tflite(tmp_path / "m.tflite", integer=True), Target("litert")),
    ]
    settings = Settings(launches=2, most_launches=2, rounds=2, turn_s=0.001, turn_runs=5, warm_s=0.01)
    run = measure_latency(files, inputs=tiny_files.examples(3), threads=1, settings=settings)
    for timed in run.entries:
        assert all(len(turn.samples_s) >= 5 for turn in timed.turns)
        assert len(timed.turns) == 4
        assert min(timed.samples_s) > 0
    assert set(run.environment.versions) >= {"python", "numpy", "onnxruntime", "ai-edge-litert"}
    assert speedups(run, "onnx")["tflite"].low <= speedups(run, "onnx")["tflite"].high
