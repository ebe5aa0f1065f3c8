"""The agent's sampling beside a bare loop: the ratios are those of the medians, and a bar is a bar."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_files

from slimedge.benchmarks import harness_overhead
from slimedge.benchmarks.harness_overhead import COMPARISONS, compare, missed


def launches(times_us, count=6, rounds=20, noise=0.002):
    """Medians of turns around these times, in nanoseconds."""
    generator = np.random.default_rng(3)
    return [
        [
            {name: 1e3 * time * generator.normal(1, noise) for name, time in times_us.items()}
            for _ in range(rounds)
        ]
        for _ in range(count)
    ]


def test_the_ratio_is_that_of_the_agent_s_median_over_the_bare_loop_s():
    (found,) = compare("ort", launches({"latency": 20.4, "run": 20.0}))
    assert found.agent_us == pytest.approx(20.4, rel=1e-3)
    assert found.bare_us == pytest.approx(20.0, rel=1e-3)
    assert found.ratio.value == pytest.approx(1.02, abs=1e-3)
    assert found.ratio.low < found.ratio.value < found.ratio.high
    assert missed([found]) == []


def test_a_bar_is_missed_where_the_interval_reaches_beyond_it():
    (found,) = compare("ort", launches({"latency": 20.59, "run": 20.0}, count=3, noise=0.02))
    assert found.ratio.value < 1.04
    assert found.ratio.high > 1.03
    assert missed([found])[0].startswith("ort: latency beside run(): 1.0")


def test_copying_is_told_and_has_no_bar():
    times = {"latency": 22.0, "write, invoke, read": 21.9, "sampled invoke": 20.0, "invoke": 20.0}
    found = compare("litert", launches(times))
    assert [each.most for each in found] == [1.03, 1.03, None]
    assert found[2].ratio.value == pytest.approx(1.1, abs=2e-3)
    assert missed(found) == []


def test_a_model_that_is_too_slow_for_the_bar_is_told():
    (found,) = compare("ort", launches({"latency": 51.0, "run": 51.0}))
    assert missed([found]) == ["ort: latency beside run(): 51.0 µs is no model under 50 µs"]


def test_an_agent_and_a_bare_loop_take_turns_in_a_process_of_their_own(tmp_path):
    file = tiny_files.float_onnx(tmp_path / "m.onnx").path
    found = harness_overhead._launch(file)
    names = {name for _, *pair, _ in COMPARISONS["ort"] for name in pair}
    assert len(found) == harness_overhead.ROUNDS
    assert all(set(turn) == names for turn in found)
    medians = {name: np.median([turn[name] for turn in found]) for name in names}
    assert 0.5 < medians["latency"] / medians["run"] < 2
    assert 500 < medians["run"] < 1e6
