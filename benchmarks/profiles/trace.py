"""Profiles as a Chrome trace, which ui.perfetto.dev and chrome://tracing open: every op of every run on a time axis.

The format is the JSON Object Format of "Trace Event Format" (Google, 2016): complete events (`"ph": "X"`) with `ts` and
`dur` in microseconds; a process for each file on its target, in it a thread with the runs and one for each provider.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slimedge.benchmarks.profiles.times import ModelProfile
from slimedge.files import atomic_path

MOST_RUNS = 20
_RUNS = 0  # number of the thread that shows them


def chrome_trace(profiles: Mapping[str, ModelProfile]) -> dict[str, Any]:
    """Give the first runs of profiles as trace events.

    Args:
        profiles: by the name that stands above each.

    Returns:
        `traceEvents`, by process, thread and start, outer events first; and `displayTimeUnit`.
    """
    events: list[dict[str, Any]] = []
    for process, (name, profile) in enumerate(profiles.items(), 1):
        events += _process(process, name, profile)
    return {"traceEvents": events, "displayTimeUnit": "ns"}


def write_trace(path: Path, profiles: Mapping[str, ModelProfile]) -> None:
    """Write `chrome_trace` as a file, whole or not at all; drop it onto https://ui.perfetto.dev to look at it.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(chrome_trace(profiles), ensure_ascii=False), encoding="utf-8")


def _process(process: int, name: str, profile: ModelProfile) -> list[dict[str, Any]]:
    raw = profile.raw
    providers = list(dict.fromkeys(op.provider for op in raw.ops))
    named = [
        _named("process_name", process, _RUNS, name),
        _named("thread_name", process, _RUNS, "runs"),
        *(_named("thread_name", process, thread, provider) for thread, provider in enumerate(providers, 1)),
    ]
    runs = raw.runs[:MOST_RUNS]
    begin = min((run.start_ns for run in runs), default=0)
    whole = [
        _complete(process, _RUNS, f"run {number}", "run", run.start_ns - begin, run.duration_ns)
        for number, run in enumerate(runs, 1)
    ]
    ops = []
    for run in runs:
        for event in run.events:
            op, place = raw.ops[event.op], profile.places[event.op]
            ops.append(
                _complete(
                    process,
                    1 + providers.index(op.provider),
                    place.name,
                    place.kind,
                    event.start_ns - begin,
                    event.duration_ns,
                    layer=place.layer,
                    fused=list(place.fused),
                    kind=place.kind,
                    kernel=op.name,
                )
            )
    ops.sort(key=lambda event: (event["tid"], event["ts"]))  # stable: outer events stay before those inside
    return [*named, *whole, *ops]


def _named(kind: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": process, "tid": thread, "args": {"name": name}}


def _complete(
    process: int, thread: int, name: str, category: str, start_ns: int, duration_ns: int, **told: Any
) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": name,
        "cat": category,
        "pid": process,
        "tid": thread,
        "ts": start_ns / 1e3,
        "dur": duration_ns / 1e3,
        "args": told,
    }
