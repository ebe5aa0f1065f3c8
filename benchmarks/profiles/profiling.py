"""Profile files where they run, and tell which op of the file and which layer each time belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slimedge.artifact import Artifact, Format
from slimedge.benchmarks.file_graph import FileGraph, read_onnx, read_tflite
from slimedge.benchmarks.profiles.naming import OnnxPlaces, tflite_place
from slimedge.benchmarks.profiles.partitions import partitions
from slimedge.benchmarks.profiles.times import ModelProfile, Place, model_profile
from slimedge.benchmarks.profiles.xnnpack import align
from slimedge.errors import InputError, UnavailableError
from slimedge.runtime.devices.local import Local
from slimedge.runtime.jobs import load_request
from slimedge.runtime.profiling import RUNS, SECONDS, Profile, RuntimeOp, ask_profile
from slimedge.runtime.protocols import Device, Job
from slimedge.runtime.targets import Target, target_for

LIMIT_S = 600.0


def profile(
    artifact: Artifact,
    target: Target | None = None,
    *,
    device: Device | None = None,
    threads: int = 1,
    batch: int = 1,
    runs: int = RUNS,
    seconds: float = SECONDS,
    options: Mapping[str, Any] | None = None,
    inputs: Path | None = None,
    limit_s: float = LIMIT_S,
) -> ModelProfile:
    """Time every op of a file in a process of its own, pinned as for latency.

    Args:
        artifact: the file.
        target: what runs it; None for the usual one of its format.
        device: where, reserved; None for this machine.
        threads: of the runtime.
        batch: examples in one run, where the file leaves that open.
        runs: at most so many.
        seconds: for about so long.
        options: of the backend (`allow_fallback`).
        inputs: `.npz` to feed; None for seeded random numbers.
        limit_s: longest time for one request.

    Raises:
        InputError: fewer than one run or example, or a file that the runtime refuses.
        UnavailableError: the runtime does not tell how long ops take, or is not here.
        RunError: the process ran out of time or memory, or died.
    """
    if runs < 1 or batch < 1:
        raise InputError(f"runs={runs} and batch={batch} are not both allowed; give 1 or more of each.")
    job = Job(
        artifact,
        target or target_for(artifact),
        threads=threads,
        options=options or {},
        inputs=inputs,
        batch=batch,
        limit_s=limit_s,
    )
    with (device or Local()).start(job.target.backend, limit_s=limit_s) as agent:
        agent.ask("load", **load_request(job, timed=True))
        raw = ask_profile(agent, runs=runs, seconds=seconds)
    if raw is None or not raw.runs:
        raise UnavailableError(
            f"the target '{job.target}' does not tell how long its ops take; profile on ort or litert."
        )
    return model_profile(raw, places(raw, artifact))


def places(raw: Profile, artifact: Artifact) -> tuple[Place, ...]:
    """Tell for every op of a profile what it is in the file.

    Args:
        raw: of the file.
        artifact: the file; its lineage tells whether it was exported here, where names tell layers.
    """
    ours = bool(artifact.lineage)
    if artifact.format is Format.ONNX:
        known = OnnxPlaces(read_onnx(artifact.path), ours=ours)
        return tuple(known.place(op.name, op.kind) for op in raw.ops)
    graph = read_tflite(artifact.path)
    return tuple(
        Place(op.name, op.kind, f"XNNPACK: {op.kind}")
        if index is None
        else tflite_place(graph.ops[index], ours=ours)
        for op, index in zip(raw.ops, op_indices(raw.ops, graph), strict=True)
    )


def op_indices(ops: Sequence[RuntimeOp], graph: FileGraph) -> tuple[int | None, ...]:
    """Give for what LiteRT ran the index of the op in the file.

    Args:
        ops: in the order in which they ran; a delegate's without `node`.
        graph: of the file.

    Returns:
        None where a delegate ran something that fits no op.
    """
    own = [op.node for op in ops if op.node is not None]
    sets = partitions(graph, set(own))
    wanted = [index for those in sets for index in those if index in set(own)]
    # Without a set between them, two stretches of a delegate would be one: the ops before tell which one it is.
    delegated = _by_ops_before(sets, set(own)) if wanted == own else {}
    everything = [index for index in range(len(graph.ops)) if index not in set(own)]
    found: list[int | None] = []
    stretch: list[str] = []
    seen = 0
    for op in (*ops, None):
        if op is not None and op.node is None:
            stretch.append(op.name)
            continue
        members = delegated.get(seen, everything)
        pairs = align([graph.ops[index].kind for index in members], stretch)
        found += [None if pair is None else members[pair] for pair in pairs]
        stretch = []
        if op is not None:
            found.append(op.node if op.node is not None and op.node < len(graph.ops) else None)
            seen += 1
    return tuple(found)


def _by_ops_before(sets: Sequence[Sequence[int]], own: set[int]) -> dict[int, Sequence[int]]:
    """Give a delegate's sets by how many ops run on LiteRT's own kernels before."""
    seen = 0
    found = {}
    for those in sets:
        if those[0] in own:
            seen += len(those)
        else:
            found[seen] = those
    return found
