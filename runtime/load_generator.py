"""The load generator: gives queries to workers as a scenario has it, and notes when each was issued, began and ended.

Travels with the agent: standard library and numpy only, from Python 3.8 on. Measures and nothing more; what the times
mean is told by `slimedge.benchmarks.scenarios`.

The scenarios are those of MLPerf Inference; what is measured with them here is MLPerf-style, since no rule but these
is kept:

    single-stream   one worker; a query is issued as soon as the one before it is done
    multi-stream    likewise, with several samples in a query
    offline         everything is there from the start; a worker that is done takes the next batch
    server          queries arrive as a Poisson process and queue for the workers; first come, first served

A query's latency counts from when it was due, not from when a worker had time for it, so that a slow moment is seen by
all the queries that waited through it. A generator that issues only when the system is ready would leave them out
(coordinated omission; Tene, 2013, "How NOT to Measure Latency").

There is no thread that issues. A worker takes the next arrival in line and waits for it itself, which gives the same
times as a queue in between and hands nothing from thread to thread. Runtimes let go of the interpreter's lock while
they compute. A sleep ends late by the timer's slack and the time to wake up, 100 µs or so in sum, so a worker asks for
no slack, sleeps until that long before an arrival, and then looks at the clock until it comes; in every look it lets go
of the lock, for the others.

References:
    Reddi et al. (2020), "MLPerf Inference Benchmark", section IV; MLCommons, "MLPerf Inference Rules", "Scenarios" and
    "Load Generator".
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import select
import threading
import time
from array import array
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

STREAMS = ("single-stream", "multi-stream")
SCENARIOS = (*STREAMS, "offline", "server")
# How a run ends.
ENOUGH, LIMIT, BACKLOG = "enough", "limit", "backlog"
# So long before an arrival a worker stops sleeping.
AWAKE_NS = 100_000
# Until the first arrival of a server, for threads to start.
_LEAD_NS = 10_000_000
_PR_SET_TIMERSLACK = 29  # linux/prctl.h
_FIELDS = 4  # of a record: number, issued, started, ended


def wait_until(
    due_ns: int,
    clock: Callable[[], int] = time.perf_counter_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until the clock shows a time; sleep first, then look at the clock.

    Args:
        due_ns: time on the clock.
        clock: gives nanoseconds.
        sleep: takes seconds.
    """
    while True:
        left = due_ns - clock()
        if left <= AWAKE_NS:
            break
        sleep((left - AWAKE_NS) / 1e9)
    while clock() < due_ns:
        _let_go()


def generate(
    settings: Dict[str, Any],
    runs: List[Callable[[], Any]],
    clock: Callable[[], int] = time.perf_counter_ns,
    wait: Callable[[int], None] = wait_until,
) -> Dict[str, Any]:
    """Run one scenario.

    Args:
        settings: `scenario`; `seconds` and `queries`, least of both; `most_queries`; beside these
            `most_s` (all but server): where there are too few queries by then, it ends without them;
            `rate_per_s`, `seed` and `most_wait_s` (server): it ends when a query had to wait longer than that.
        runs: one call for each worker, which runs a whole query on a model of its own; streams have one worker.
        clock: gives nanoseconds.
        wait: returns when the clock shows a time in nanoseconds.

    Returns:
        `issued_ns`, `started_ns` and `ended_ns` of every query in the order of their issue, counted from the start, and
        `ending`: `enough` where it was as long as it was to be, `limit` or `backlog`.

    Raises:
        ValueError: an unknown scenario, or a stream with several workers.
    """
    scenario = settings["scenario"]
    if scenario not in SCENARIOS:
        raise ValueError("there is no scenario '{}'; it can be {}.".format(scenario, ", ".join(SCENARIOS)))
    if scenario in STREAMS and len(runs) != 1:
        raise ValueError("{} has one worker; {} were given.".format(scenario, len(runs)))
    _ask_for_sharp_sleep()
    source: Any = _Arrivals(settings) if scenario == "server" else _Supply(settings)
    begin = clock() + (_LEAD_NS if scenario == "server" else 0)
    records = [array("q") for _ in runs]
    _all_at_once(
        [_worker(run, source, clock, wait, begin, record) for run, record in zip(runs, records)], source
    )
    table = np.concatenate([np.frombuffer(record, np.int64).reshape(-1, _FIELDS) for record in records])
    table = table[np.argsort(table[:, 0], kind="stable")]
    return {
        "issued_ns": table[:, 1].tolist(),
        "started_ns": table[:, 2].tolist(),
        "ended_ns": table[:, 3].tolist(),
        "ending": source.ending,
    }


def repeated(run: Callable[[], Any], times: int) -> Callable[[], Any]:
    """Give a call that runs several times, for a query of more samples than a file takes at once."""
    if times == 1:
        return run

    def all_of_them() -> None:
        for _ in range(times):
            run()

    return all_of_them


def poisson_arrivals(rate_per_s: float, count: int, seed: int) -> List[int]:
    """Give the times of arrivals in nanoseconds; between two of them lies an exponential time.

    The same seed gives the same arrivals at any rate, but for their scale.
    """
    gaps = np.random.default_rng(seed).exponential(1e9 / rate_per_s, count)
    return [int(due) for due in np.rint(np.cumsum(gaps))]


class _Supply:
    """Queries for whoever asks, for so long and so many."""

    def __init__(self, settings: Dict[str, Any]) -> None:
        self.ending: Optional[str] = None
        self._due = None if settings["scenario"] in STREAMS else 0  # a stream's query is due when it is taken
        self._least_ns, self._most_ns = int(settings["seconds"] * 1e9), int(settings["most_s"] * 1e9)
        self._least, self._most = settings["queries"], settings["most_queries"]
        self._taken = 0

    def take(self, now_ns: int) -> Optional[Tuple[int, Optional[int]]]:
        """Give a query's number and when it was due; None where that is all."""
        if self.ending is None:
            if now_ns >= self._least_ns and self._taken >= self._least:
                self.ending = ENOUGH
            elif now_ns >= self._most_ns or self._taken >= self._most:
                self.ending = LIMIT
        if self.ending is not None:
            return None
        self._taken += 1
        return self._taken - 1, self._due


class _Arrivals:
    """Queries at times that were drawn before."""

    def __init__(self, settings: Dict[str, Any]) -> None:
        self.ending: Optional[str] = None
        wanted = max(settings["queries"], math.ceil(settings["seconds"] * settings["rate_per_s"]))
        count = min(wanted, settings["most_queries"])
        self._due = poisson_arrivals(settings["rate_per_s"], count, settings["seed"])
        self._all = ENOUGH if count == wanted else LIMIT
        self._most_wait_ns = int(settings["most_wait_s"] * 1e9)
        self._taken = 0

    def take(self, now_ns: int) -> Optional[Tuple[int, int]]:
        """Give the next query in line and when it is due, which may be yet to come; None where that is all."""
        if self.ending is None:
            if self._taken == len(self._due):
                self.ending = self._all
            elif now_ns - self._due[self._taken] > self._most_wait_ns:
                self.ending = BACKLOG
        if self.ending is not None:
            return None
        self._taken += 1
        return self._taken - 1, self._due[self._taken - 1]


def _worker(
    run: Callable[[], Any],
    source: Any,
    clock: Callable[[], int],
    wait: Callable[[int], None],
    begin: int,
    record: Any,
) -> Callable[[Any], None]:
    """Give what one worker does, between taking turns at a lock."""

    def work(lock: Any) -> None:
        while True:
            with lock:
                query = source.take(clock() - begin)
            if query is None:
                return
            number, due = query
            if due is not None:
                wait(begin + due)
            started = clock()
            run()
            ended = clock()
            started, ended = started - begin, ended - begin
            record.extend((number, started if due is None else due, started, ended))

    return work


def _all_at_once(works: List[Callable[[Any], None]], source: Any) -> None:
    """Let the workers work, one of them in this thread; the first error ends them all."""
    lock = threading.Lock()
    errors: List[BaseException] = []

    def guarded(work: Callable[[Any], None]) -> None:
        try:
            work(lock)
        except BaseException as error:  # noqa: BLE001 - raised below, where the caller is
            source.ending = LIMIT
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works[1:]]
    for thread in threads:
        thread.start()
    guarded(works[0])
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _let_go() -> None:
    """Give the other threads a chance at the interpreter's lock; returns at once."""
    select.select((), (), (), 0)


def _ask_for_sharp_sleep() -> None:
    """Ask Linux to end sleeps when they end and not up to 50 µs later; threads started from now on inherit it."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
