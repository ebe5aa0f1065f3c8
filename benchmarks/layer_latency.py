"""How long each layer of an ONNX file takes, by ONNX Runtime's own profile.

One thread, in a process of its own that is pinned to one processor. Profiling costs a little for each op, so layers add
up to more than the latency that `slimedge.benchmarks.latency` measures; their shares are what to read. An op counts for
the layer that its name begins with: exported files name ops `layer/Op`. ONNX Runtime fuses ops, and the time of those
that it took in stands with the layer whose name it kept.
"""

from __future__ import annotations

import json
import os
import tempfile
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from slimedge.artifact import Artifact, Format
from slimedge.errors import InputError
from slimedge.isolation import run_isolated

RUNS = 50
WARM_RUNS = 10
TIME_LIMIT_S = 600.0
_ENDING = "_kernel_time"


@dataclass(frozen=True, slots=True)
class LayerTime:
    """Time of one layer.

    Attributes:
        layer: its name; of what ONNX Runtime put in by itself, `ONNX Runtime: ` and the type of op.
        seconds: median over the runs of the time of all its ops.
        share: of the sum over all layers, in 0…1.
    """

    layer: str
    seconds: float
    share: float


def layer_latency(artifact: Artifact, *, runs: int = RUNS, batch: int = 1) -> tuple[LayerTime, ...]:
    """Time the layers of an ONNX file on this machine's CPU.

    Args:
        artifact: the file.
        runs: of which the medians are taken, after ten that are not counted.
        batch: examples in one run, where the file leaves that open.

    Returns:
        The layers in the order in which their first ops run.

    Raises:
        InputError: another format, fewer than one run or example, or a file that ONNX Runtime refuses.
        ConversionError: the process ran out of time or memory, or died.
    """
    if artifact.format is not Format.ONNX:
        raise InputError(
            f"{artifact.path.name} is a .{artifact.format} file, and layers are timed by ONNX Runtime's profile; "
            "give an .onnx file."
        )
    if runs < 1 or batch < 1:
        raise InputError(f"runs={runs} and batch={batch} are not both allowed; give 1 or more of each.")
    done = run_isolated(
        f"{__name__}:profile",
        {"path": str(artifact.path), "runs": WARM_RUNS + runs, "batch": batch},
        label=f"the profile of {artifact.path.name}",
        time_limit_s=TIME_LIMIT_S,
    )
    return layer_times(done.result["events"], done.result["nodes"], skip=WARM_RUNS)


def profile(path: str, runs: int, batch: int) -> dict[str, Any]:
    """Run a file with random numbers and give what ONNX Runtime wrote down; called in a process of its own.

    Args:
        path: of the file.
        runs: how many.
        batch: examples in one run.

    Returns:
        `events` as the profile has them, reduced to what `layer_times` reads, and `nodes`, the names in the file.

    Raises:
        InputError: ONNX Runtime refuses the file.
    """
    import onnx
    import onnxruntime as ort

    from slimedge.runtime.facts import measuring_cpus

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, measuring_cpus(1))
    with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "profile"))
        try:
            session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0].split(" : ")[-1].rstrip(".")
            raise InputError(
                f"ONNX Runtime cannot load {Path(path).name}: {reason}; check that the file is whole."
            ) from error
        feeds = _random_feeds(session.get_inputs(), batch)
        for _ in range(runs):
            session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text())
    graph = onnx.load(path, load_external_data=False).graph
    return {"events": _reduced(events), "nodes": [node.name for node in graph.node]}


def layer_times(
    events: Sequence[Mapping[str, Any]], nodes: Collection[str], *, skip: int = 0
) -> tuple[LayerTime, ...]:
    """Sum a profile's events by layer in each run, and give the medians over the runs.

    Args:
        events: with `cat`, `name`, `ts` and `dur` in microseconds, and `op`; a `model_run` surrounds those of each run.
        nodes: names of the nodes in the file.
        skip: first runs that do not count.

    Returns:
        The layers in the order in which their first ops run; empty where no run is left.

    Example:
        >>> run = {"cat": "Session", "name": "model_run", "ts": 0, "dur": 9, "op": ""}
        >>> conv = {"cat": "Node", "name": "stem/Conv_kernel_time", "ts": 1, "dur": 6, "op": "Conv"}
        >>> layer_times([conv, run], ["stem/Conv"])
        (LayerTime(layer='stem', seconds=6e-06, share=1.0),)
    """
    spans = sorted(
        (event["ts"], event["ts"] + event["dur"]) for event in events if event["name"] == "model_run"
    )
    known = frozenset(nodes)
    ops = sorted(
        (event for event in events if event["cat"] == "Node" and event["name"].endswith(_ENDING)),
        key=lambda event: (event["ts"], -event["dur"]),
    )
    runs: list[dict[str, float]] = [{} for _ in spans]
    begins = [begin for begin, _ in spans]
    for event, own_us in zip(ops, _own_times(ops), strict=True):
        run = bisect_right(begins, event["ts"]) - 1
        if run >= 0 and event["ts"] < spans[run][1]:
            layer = layer_of(event["name"].removesuffix(_ENDING), event["op"], known)
            runs[run][layer] = runs[run].get(layer, 0.0) + own_us
    runs = runs[skip:]
    layers = dict.fromkeys(layer for run in runs for layer in run)
    medians = {layer: median(run.get(layer, 0.0) for run in runs) / 1e6 for layer in layers}
    total = sum(medians.values())
    return tuple(
        LayerTime(layer, seconds, seconds / total if total else 0.0) for layer, seconds in medians.items()
    )


def layer_of(name: str, op: str, nodes: Collection[str]) -> str:
    """Give the layer that an op of the optimized graph belongs to.

    Args:
        name: of the op, as ONNX Runtime has it (`stem/Conv_token_1`, `stem/Conv:out_nchwc`).
        op: its type.
        nodes: names of the nodes in the file.

    Returns:
        What stands before the last `/`; without one the name itself, where the file has such a node.

    Example:
        >>> layer_of("stem/Conv_token_1", "QLinearConv", ()), layer_of("Transpose_3", "Transpose", ())
        ('stem', 'ONNX Runtime: Transpose')
    """
    layer = name.rpartition("/")[0]
    if layer:
        return layer
    return name if name and name in nodes else f"ONNX Runtime: {op}"


def _own_times(ops: Sequence[Mapping[str, Any]]) -> list[float]:
    """Give what each op took without the ops inside of it, which a loop has; ordered by start, outer ones first."""
    own = [float(event["dur"]) for event in ops]
    around: list[int] = []
    for number, event in enumerate(ops):
        while around and event["ts"] >= ops[around[-1]]["ts"] + ops[around[-1]]["dur"]:
            around.pop()
        if around and event["ts"] + event["dur"] <= ops[around[-1]]["ts"] + ops[around[-1]]["dur"]:
            own[around[-1]] -= event["dur"]
        around.append(number)
    return own


def _reduced(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Keep the runs and the ops, and of each only what is read."""
    return [
        {
            "cat": event["cat"],
            "name": event["name"],
            "ts": event["ts"],
            "dur": event["dur"],
            "op": event["args"].get("op_name", ""),
        }
        for event in events
        if event.get("cat") == "Node" or event.get("name") == "model_run"
    ]


def _random_feeds(inputs: Sequence[Any], batch: int) -> dict[str, Any]:
    """Give numbers in 0…1 for floats, and 0 or 1 for integers, which every table of an embedding has."""
    import numpy as np

    from slimedge.runtime.backends.ort import DTYPES

    generator = np.random.default_rng(0)
    feeds = {}
    for node in inputs:
        kind = node.type[len("tensor(") : -1]
        shape = [
            size if isinstance(size, int) else (1 if axis else batch) for axis, size in enumerate(node.shape)
        ]
        dtype = np.dtype(DTYPES.get(kind, kind))
        numbers = generator.random(shape) if dtype.kind == "f" else generator.integers(0, 2, shape)
        feeds[node.name] = numbers.astype(dtype)
    return feeds
