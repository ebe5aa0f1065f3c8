"""The agent with the request `scenario`, as a process of its own; and a device that starts it."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path

from slimedge.runtime import agent, facts, load_generator
from slimedge.runtime.agent_process import AgentProcess
from slimedge.runtime.backends import backend_file


class ScenarioAgent(agent.Agent):
    """Loads a model for each worker when it is asked for them."""

    def do_load(self, request):
        threads = request["threads"]
        if request.get("pin"):
            agent._bind(facts.measuring_cpus(threads * request.get("workers", 1)))
        answer = super().do_load({**request, "pin": False})
        self._loaded = request
        self._workers = [self._model]
        return answer

    def do_scenario(self, request):
        """Run a scenario; see `load_generator.py`."""
        loaded, samples = self._loaded, request["samples"]
        while len(self._workers) < request["concurrency"]:
            self._workers.append(
                self._backend.load(
                    loaded["model"], loaded["format"], threads=loaded["threads"], **loaded.get("options", {})
                )
            )
        batch = self._fixed_batch() or samples
        feeds = self._timing_feeds({**loaded, "batch": batch})
        runs = [
            load_generator.repeated(model.bind(feeds), samples // batch)
            for model in self._workers[: request["concurrency"]]
        ]
        for run in runs:
            run()  # the first one of a new batch gets its memory
        return load_generator.generate(request["settings"], runs)


class Here:
    """This machine, with that agent."""

    machine = "local"
    label = "measured"

    @contextmanager
    def reserved(self):
        yield self

    @contextmanager
    def start(self, backend, /, *, limit_s):
        command = [sys.executable, str(Path(__file__).resolve()), str(backend_file(backend))]
        with AgentProcess(command, name=backend, limit_s=limit_s) as process:
            yield process


if __name__ == "__main__":
    agent.Agent = ScenarioAgent
    agent.main()
