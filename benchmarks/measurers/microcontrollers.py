"""Files that TFLite Micro runs on this machine: memory, flash, operators and answers, but no times.

Answers are held against those of LiteRT's reference kernels, from which TFLite Micro's are made; XNNPACK, which is what
LiteRT runs on a CPU, rounds otherwise.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import Artifact
from slimedge.benchmarks.entries import Entry
from slimedge.benchmarks.measurers import Conditions, Progress
from slimedge.benchmarks.rows import Row
from slimedge.errors import SlimedgeError
from slimedge.micro_operators import require_operators
from slimedge.runtime.devices.local import Local
from slimedge.runtime.jobs import environment_from, load_request
from slimedge.runtime.microcontroller.describing import Description, describe
from slimedge.runtime.protocols import Job
from slimedge.runtime.sessions import AgentSession
from slimedge.runtime.target import Target

_EXAMPLES = 32  # seeded random ones, whose answers are held against LiteRT's


def measure(entries: Sequence[Entry], conditions: Conditions, progress: Progress) -> tuple[Row, ...]:
    """Describe files for a microcontroller, and hold their answers against LiteRT's.

    Args:
        entries: whose target is TFLite Micro.
        conditions: of which only the time limit is heeded.
        progress: told the share done in 0…1 and what comes next.

    Returns:
        A row for each, without a latency: that of this machine says nothing of a microcontroller's.
    """
    rows = []
    for number, entry in enumerate(entries):
        progress(number / len(entries), f"{entry.name} for {entry.target}")
        try:
            rows.append(_row(entry, conditions.settings.limit_s))
        except SlimedgeError as error:
            rows.append(Row(entry.name, entry.target, error=error))
    return tuple(rows)


def _row(entry: Entry, limit_s: float) -> Row:
    path = entry.artifact.path
    require_operators(path)
    found = describe(path)
    with Local().start(entry.target.backend, limit_s=limit_s) as agent:
        told = agent.ask("prepare", threads=1)
        ours = _answers(agent, entry.artifact, entry.target)
    with Local().start("litert", limit_s=limit_s) as other:
        theirs = _answers(other, entry.artifact, Target("litert", "reference"))
    return Row(
        entry.name,
        entry.target,
        runtime=entry.target.backend,
        provider="cpu",
        figures={**_figures(found), **_differences(ours, theirs, entry.artifact)},
        environment=environment_from(told["facts"]),
        notes=()
        if found.no_arena is None
        else (f"{entry.name}: no arena was counted, as {found.no_arena}.",),
    )


def _figures(found: Description) -> dict[str, Any]:
    memory = found.arena
    return {
        "arena_bytes": None if memory is None else memory.total_bytes,
        "arena_head_bytes": None if memory is None else memory.head_bytes,
        "arena_tail_bytes": None if memory is None else memory.tail_bytes,
        "flash_bytes": found.flash.model_bytes,
        "operators": dict(found.operators),
        "resolver_methods": list(found.resolver_methods),
    }


def _answers(agent: Any, artifact: Artifact, target: Target) -> dict[str, NDArray[np.float32]]:
    told = agent.ask("load", **load_request(Job(artifact, target)))
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
        session = AgentSession(agent, told, artifact, Path(folder))
        inputs = {
            spec.name: generator.random(
                (_EXAMPLES, *(size or 1 for size in spec.shape[1:])), dtype=np.float32
            )
            for spec in session.inputs
        }
        return session.predict(inputs)


def _differences(
    ours: Mapping[str, NDArray[np.float32]], theirs: Mapping[str, NDArray[np.float32]], artifact: Artifact
) -> dict[str, Any]:
    """Give the share of examples whose answers are LiteRT's, and by how much the others differ at most.

    That is in steps where outputs are integers.
    """
    most, same = 0.0, np.ones(_EXAMPLES, bool)
    for spec in artifact.outputs:
        apart = np.abs(ours[spec.name].astype(np.float64) - theirs[spec.name]).reshape(_EXAMPLES, -1)
        same &= apart.max(axis=1) == 0
        most = max(most, float(apart.max()) / (spec.scale or 1.0))
    integer = all(spec.scale is not None for spec in artifact.outputs)
    return {
        "same_answers_share": float(same.mean()),
        "most_apart_steps": round(most) if integer else None,
        "most_apart": None if integer else most,
    }
