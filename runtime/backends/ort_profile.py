"""How long each op of an `.onnx` file takes, from the profile that an ONNX Runtime session writes.

Travels with `ort.py`: standard library only, from Python 3.8 on.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, Callable, Dict, List

RESOLUTION_NS = 1000  # the profile tells whole microseconds
ENDING = "_kernel_time"


def told(events: List[Dict[str, Any]], *, skip: int, short_name: Callable[[str], str]) -> Dict[str, Any]:
    """Give a session's profile as the agent answers it; see `slimedge.runtime.protocols.Profiling`.

    Args:
        events: with `cat`, `name`, `ts` and `dur` in microseconds; a `model_run` surrounds those of each run.
        skip: first runs that are left out.
        short_name: gives our name of a provider.
    """
    spans = sorted(
        (event["ts"], event["ts"] + event["dur"]) for event in events if event["name"] == "model_run"
    )
    begins = [begin for begin, _ in spans]
    numbers: Dict[str, int] = {}
    ops: List[Dict[str, Any]] = []
    runs: List[List[List[int]]] = [[] for _ in spans]
    nodes = [event for event in events if event.get("cat") == "Node" and event["name"].endswith(ENDING)]
    for event in sorted(nodes, key=lambda event: (event["ts"], -event["dur"])):
        run = bisect_right(begins, event["ts"]) - 1
        if run < skip or event["ts"] >= spans[run][1]:
            continue
        name = event["name"][: -len(ENDING)]
        if name not in numbers:
            numbers[name] = len(ops)
            ops.append(
                {
                    "name": name,
                    "kind": event["args"]["op_name"],
                    "provider": short_name(event["args"].get("provider", "")),
                    "node": None,
                }
            )
        runs[run].append([numbers[name], event["ts"] * RESOLUTION_NS, event["dur"] * RESOLUTION_NS])
    answer = [
        {"start_ns": begin * RESOLUTION_NS, "duration_ns": (end - begin) * RESOLUTION_NS, "events": events}
        for (begin, end), events in zip(spans, runs)
    ]
    return {"resolution_ns": RESOLUTION_NS, "ops": ops, "runs": answer[skip:]}
