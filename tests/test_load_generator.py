"""Queueing theory and hand-made arithmetic say what the load generator must find; the clock is made up."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from scipy import stats
from virtual_time import Clock, in_shared_time

from slimedge.runtime.load_generator import (
    AWAKE_NS,
    generate,
    poisson_arrivals,
    repeated,
    wait_until,
)

CLOSED = {"seconds": 0.0, "queries": 1, "most_s": 1e9, "most_queries": 10**9}
SERVER = {"scenario": "server", "seconds": 0.0, "queries": 1, "most_queries": 10**9, "seed": 7}
ENDLESS = {"most_wait_s": 1e9}


def generated(settings, *durations):
    clock = Clock()
    return generate(settings, [clock.taking(*durations)], clock, clock.wait)


def arrays(told):
    return (np.array(told[field]) for field in ("issued_ns", "started_ns", "ended_ns"))


# Streams


@pytest.mark.parametrize("scenario", ["single-stream", "multi-stream"])
def test_a_stream_issues_the_next_query_when_the_last_is_done(scenario):
    assert generated({**CLOSED, "scenario": scenario, "queries": 4}, 10, 7, 30, 2) == {
        "issued_ns": [0, 10, 17, 47],
        "started_ns": [0, 10, 17, 47],
        "ended_ns": [10, 17, 47, 49],
        "ending": "enough",
    }


def test_a_stream_goes_on_until_the_time_is_up_though_there_are_queries_enough():
    told = generated({**CLOSED, "scenario": "single-stream", "seconds": 9e-7}, 300)
    assert told["ended_ns"] == [300, 600, 900]


def test_a_stream_that_is_too_slow_ends_at_its_limit_and_says_so():
    told = generated({**CLOSED, "scenario": "single-stream", "queries": 1000, "most_s": 1e-6}, 300)
    assert (len(told["ended_ns"]), told["ending"]) == (4, "limit")


def test_more_queries_than_can_be_kept_are_not_run():
    told = generated({**CLOSED, "scenario": "single-stream", "seconds": 1.0, "most_queries": 3}, 300)
    assert (told["ended_ns"], told["ending"]) == ([300, 600, 900], "limit")


def test_a_stream_has_one_worker():
    with pytest.raises(ValueError, match="single-stream has one worker; 2 were given"):
        generate({**CLOSED, "scenario": "single-stream"}, [print, print])


def test_a_scenario_that_does_not_exist_is_told_with_those_that_do():
    with pytest.raises(
        ValueError, match="no scenario 'ofline'; it can be single-stream, multi-stream, offline"
    ):
        generate({**CLOSED, "scenario": "ofline"}, [print])


# Offline


def test_offline_everything_was_there_from_the_start():
    told = generated({**CLOSED, "scenario": "offline", "queries": 3}, 10, 7, 30)
    assert told["issued_ns"] == [0, 0, 0]
    assert told["started_ns"] == [0, 10, 17]
    assert told["ended_ns"] == [10, 17, 47]


def test_workers_share_offline_work_as_they_get_done():
    told = in_shared_time({**CLOSED, "scenario": "offline", "queries": 8}, lambda number: (10, 30)[number], 2)
    issued, started, ended = arrays(told)
    assert issued.tolist() == [0] * 8
    # The fast one starts at 0, 10, 20, …; the slow one at 0, 30; eight are taken by 50.
    assert sorted(started.tolist()) == [0, 0, 10, 20, 30, 30, 40, 50]
    assert ended.max() == 60


# Server


def test_arrivals_are_a_poisson_process():
    rate, count = 2000.0, 20_000
    gaps_s = np.diff([0, *poisson_arrivals(rate, count, seed=3)]) / 1e9
    mean = 1 / rate
    assert gaps_s.mean() == pytest.approx(mean, abs=4 * mean / np.sqrt(count))
    # The variance of an exponential's sample variance is (μ₄ - σ⁴)/n = 8·mean⁴/n.
    assert gaps_s.var() == pytest.approx(mean**2, abs=4 * np.sqrt(8 / count) * mean**2)
    assert stats.kstest(gaps_s, stats.expon(scale=mean).cdf).pvalue > 0.01
    in_windows = np.histogram(np.cumsum(gaps_s), np.arange(0, 9.5, 0.01))[0]
    assert in_windows.var() / in_windows.mean() == pytest.approx(1, abs=4 * np.sqrt(2 / len(in_windows)))


def test_a_seed_gives_the_same_arrivals_at_every_rate_but_for_their_scale():
    slow, fast = (np.array(poisson_arrivals(rate, 1000, seed=5)) for rate in (100.0, 400.0))
    assert np.allclose(slow, 4 * fast, atol=4)
    assert not np.allclose(slow, poisson_arrivals(100.0, 1000, seed=6), rtol=0.01)


def queued(arrivals, durations, workers):
    """When each customer starts where the first to come is the first served (Kiefer and Wolfowitz, 1955)."""
    free = [0] * workers
    starts = []
    for arrival, duration in zip(arrivals, durations, strict=True):
        server = free.index(min(free))
        starts.append(max(arrival, free[server]))
        free[server] = starts[-1] + duration
    return starts


def test_one_worker_serves_in_the_order_of_arrival():
    durations = np.random.default_rng(2).integers(1, 2_000_000, 500).tolist()
    told = generated({**SERVER, **ENDLESS, "rate_per_s": 900.0, "queries": 500}, *durations)
    assert told["issued_ns"] == poisson_arrivals(900.0, 500, seed=7)
    assert told["started_ns"] == queued(told["issued_ns"], durations, 1)
    assert np.subtract(told["ended_ns"], told["started_ns"]).tolist() == durations


@pytest.mark.parametrize("workers", [2, 3])
def test_several_workers_serve_as_one_queue_does(workers):
    settings = {**SERVER, **ENDLESS, "rate_per_s": 800.0 * workers, "queries": 400}
    told = in_shared_time(settings, lambda _: 1_000_000, workers)
    assert told["issued_ns"] == poisson_arrivals(800.0 * workers, 400, seed=7)
    assert told["started_ns"] == queued(told["issued_ns"], [1_000_000] * 400, workers)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_the_mean_wait_is_that_of_pollaczek_and_khinchine(load):
    service_s, count = 1e-3, 100_000
    told = generated(
        {**SERVER, **ENDLESS, "rate_per_s": load / service_s, "queries": count}, int(service_s * 1e9)
    )
    issued, started, _ = arrays(told)
    waits_s = (started - issued) / 1e9
    # M/D/1: ρ·s / (2·(1 - ρ)). Waits of neighbours are alike, so the error is that of the means of 50 pieces.
    expected_s = load * service_s / (2 * (1 - load))
    pieces = waits_s.reshape(50, -1).mean(axis=1)
    error_s = pieces.std(ddof=1) / np.sqrt(50)
    assert error_s < 0.1 * expected_s
    assert waits_s.mean() == pytest.approx(expected_s, abs=3 * error_s)
    assert np.mean(waits_s == 0) == pytest.approx(1 - load, abs=0.02)  # Poisson arrivals see time averages


def test_exponential_service_times_wait_twice_as_long():
    load, count = 0.5, 100_000
    durations = np.random.default_rng(1).exponential(1e6, count).astype(int).tolist()
    told = generated({**SERVER, **ENDLESS, "rate_per_s": load * 1e3, "queries": count}, *durations)
    issued, started, _ = arrays(told)
    waits_s = (started - issued) / 1e9
    error_s = waits_s.reshape(50, -1).mean(axis=1).std(ddof=1) / np.sqrt(50)
    assert waits_s.mean() == pytest.approx(load * 1e-3 / (1 - load), abs=3 * error_s)  # M/M/1


def test_one_stall_is_seen_by_every_query_that_waited_through_it():
    # 100 queries a second, a second's stall in the first: those due in it wait, too (Tene's example).
    told = generated({**SERVER, **ENDLESS, "rate_per_s": 100.0, "queries": 300}, 1_000_000_000, 1000)
    issued, _, ended = arrays(told)
    latencies_s = (ended - issued) / 1e9
    in_the_stall = np.count_nonzero(issued < issued[0] + 1e9)
    assert 70 < in_the_stall < 130
    assert np.count_nonzero(latencies_s > 1e-3) == in_the_stall
    assert latencies_s[:in_the_stall] == pytest.approx(
        (issued[0] + 1e9 - issued[:in_the_stall]) / 1e9, abs=1e-3
    )


def test_a_rate_that_cannot_be_served_ends_when_a_query_has_waited_too_long():
    settings = {**SERVER, "rate_per_s": 2000.0, "queries": 10_000, "most_wait_s": 0.1}
    told = generated(settings, 1_000_000)
    issued, started, _ = arrays(told)
    assert told["ending"] == "backlog"
    # At twice what can be served the wait grows by half of the time: after 0.2 s it is 0.1 s.
    assert len(issued) == pytest.approx(200, rel=0.25)
    assert (started - issued).max() <= 0.1e9


def test_the_run_of_a_server_lasts_so_long_and_has_so_many_queries():
    by_time = generated({**SERVER, **ENDLESS, "rate_per_s": 100.0, "seconds": 5.0, "queries": 10}, 1)
    by_count = generated({**SERVER, **ENDLESS, "rate_per_s": 100.0, "seconds": 0.1, "queries": 70}, 1)
    capped = generated({**SERVER, **ENDLESS, "rate_per_s": 100.0, "seconds": 5.0, "most_queries": 60}, 1)
    assert [(len(told["issued_ns"]), told["ending"]) for told in (by_time, by_count, capped)] == [
        (500, "enough"),
        (70, "enough"),
        (60, "limit"),
    ]


# Errors, threads, waiting


@pytest.mark.parametrize("bad", [0, 1])
def test_an_error_of_any_worker_ends_them_all_and_is_raised(bad):
    def run(number):
        time.sleep(0.001)
        if number == bad:
            raise RuntimeError("the model broke")

    begin = time.monotonic()
    with pytest.raises(RuntimeError, match="the model broke"):
        generate(
            {**CLOSED, "scenario": "offline", "seconds": 60.0},
            [lambda number=number: run(number) for number in range(2)],
        )
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_as_many_queries_run_at_once_as_there_are_workers(workers):
    running, most = [], []

    def run():
        running.append(1)
        most.append(len(running))
        time.sleep(0.01)
        running.pop()

    generate({**CLOSED, "scenario": "offline", "seconds": 0.3}, [run] * workers)
    assert max(most) == workers


def test_a_stream_runs_in_the_thread_that_asks():
    seen = set()
    generate({**CLOSED, "scenario": "single-stream", "queries": 3}, [lambda: seen.add(threading.get_ident())])
    assert seen == {threading.get_ident()}


def test_waiting_sleeps_first_and_then_looks_at_the_clock():
    slept = []

    class Ticking(Clock):
        def __call__(self):
            self.now += 50  # what looking at it takes
            return self.now

    clock = Ticking()

    def sleep(seconds):
        slept.append(seconds)
        clock.now += int(seconds * 1e9) + 60_000  # as late as sleeps are

    wait_until(5_000_000, clock, sleep)
    assert slept == pytest.approx([(5_000_000 - AWAKE_NS) / 1e9], abs=1e-7)
    assert clock.now == pytest.approx(5_000_000, abs=100)


def test_a_time_that_has_passed_is_not_waited_for():
    clock = Clock()
    clock.now = 10
    wait_until(10, clock, lambda _: pytest.fail("it slept"))


def test_arrivals_begin_within_some_microseconds_of_when_they_are_due():
    due = [time.perf_counter_ns() + 2_000_000 * (number + 1) for number in range(50)]
    late_ns = []
    for at in due:
        wait_until(at)
        late_ns.append(time.perf_counter_ns() - at)
    assert min(late_ns) >= 0
    assert min(late_ns) < 20_000  # the others may have been interrupted


def test_a_query_of_several_samples_runs_as_often():
    calls = []
    repeated(lambda: calls.append(1), 8)()
    assert len(calls) == 8


def test_a_query_of_one_sample_is_the_run_itself():
    assert repeated(print, 1) is print
