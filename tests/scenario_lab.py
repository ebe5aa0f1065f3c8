"""A device whose models take exactly so long, in made-up time; the load generator is the real one."""

from __future__ import annotations

from contextlib import contextmanager

from virtual_time import Clock, in_shared_time

from slimedge.errors import RunError
from slimedge.runtime.load_generator import generate

FACTS = {
    "cpu": "made up",
    "isa": ["avx2"],
    "cores": 2,
    "threads": 1,
    "governor": None,
    "memory_bytes": 1,
    "system": "a system",
    "versions": {"python": "3.11"},
}


class FakeAgent:
    """Answers as the agent does; `service_s` gives the seconds of a query of so many samples."""

    def __init__(self, lab):
        self.lab = lab

    def ask(self, do, /, **fields):
        self.lab.asked.append((do, fields))
        return getattr(self, do)(**fields)

    def prepare(self, **_):
        return {"facts": dict(FACTS), "providers": {"cpu": None}}

    def load(self, **_):
        if self.lab.trouble:
            raise RunError(self.lab.trouble)
        return {"provider": "cpu", "load_s": 0.1, "inputs": [], "outputs": []}

    def scenario(self, settings, samples, concurrency):
        duration = int(self.lab.service_s(samples) * 1e9)
        if concurrency > 1:
            return in_shared_time(settings, lambda _: duration, concurrency)
        clock = Clock()
        return generate(settings, [clock.taking(duration)], clock, clock.wait)


class Lab:
    """A device."""

    machine = "lab"
    label = "measured"

    def __init__(self, service_s=lambda samples: 1e-3 * samples, trouble=None):
        self.service_s, self.trouble, self.asked, self.open = service_s, trouble, [], 0

    @contextmanager
    def reserved(self):
        yield self

    @contextmanager
    def start(self, _backend, /, *, limit_s):
        assert limit_s > 60
        self.open += 1
        try:
            yield FakeAgent(self)
        finally:
            self.open -= 1

    def asked_for(self, scenario):
        return [
            fields
            for do, fields in self.asked
            if do == "scenario" and fields["settings"]["scenario"] == scenario
        ]
