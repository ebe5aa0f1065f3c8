"""Clocks for the load generator's tests: times are exact, and no test waits."""

from __future__ import annotations

import heapq
import itertools
import threading

import pytest

from slimedge.runtime import load_generator


class Clock:
    """A clock for one worker: waiting and running move it on, looking at it does not."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now

    def wait(self, until):
        self.now = max(self.now, until)

    def taking(self, *durations):
        """A run that takes the next of these nanoseconds, and then the last of them again and again."""
        following = itertools.chain(durations, itertools.repeat(durations[-1]))

        def run():
            self.now += next(following)

        return run


class SharedClock:
    """A clock for several threads: it jumps to the earliest time that one of them waits for, when all of them wait.

    One thread goes on at a time, so that what happens is the same in every test run.
    """

    def __init__(self, workers):
        self._now = 0
        self._workers = workers
        self._waiting = []
        self._turn = None
        self._changed = threading.Condition()
        self._tickets = 0

    def __call__(self):
        return self._now

    def wait(self, until):
        with self._changed:
            self._tickets += 1
            ticket = (max(until, self._now), self._tickets)
            heapq.heappush(self._waiting, ticket)
            self._pass_on()
            self._changed.wait_for(lambda: self._turn == ticket)
            self._now, self._turn = ticket[0], None

    def run(self, duration):
        self.wait(self._now + duration)

    def leave(self):
        """A worker is done; those that are left need not wait for it."""
        with self._changed:
            self._workers -= 1
            self._pass_on()

    def _pass_on(self):
        if self._turn is None and self._waiting and len(self._waiting) == self._workers:
            self._turn = heapq.heappop(self._waiting)
            self._changed.notify_all()


def in_shared_time(settings, duration_of, workers):
    """Run several workers in one made-up time; `duration_of` gives the nanoseconds of the run of a worker."""
    clock = SharedClock(workers)

    class LeavingSource:
        """Tells the clock when a worker gets nothing more."""

        def __init__(self, inner):
            self._inner = inner
            self.ending = None

        def take(self, now):
            query = self._inner.take(now)
            self.ending = self._inner.ending
            if query is None:
                clock.leave()
            return query

    original = load_generator._all_at_once

    def watched(works, source):
        original(works, source)

    sources = {name: getattr(load_generator, name) for name in ("_Supply", "_Arrivals")}
    with pytest.MonkeyPatch.context() as patch:
        for name, made in sources.items():
            patch.setattr(load_generator, name, lambda given, made=made: LeavingSource(made(given)))
        runs = [lambda number=number: clock.run(duration_of(number)) for number in range(workers)]
        return load_generator.generate(settings, runs, clock, clock.wait)
