"""Read what LiteRT's `benchmark_model` prints.

Its lines are those of `tflite/tools/benchmark/benchmark_model.cc` and `benchmark_tflite_model.cc` in
google-ai-edge/LiteRT. Older versions have no `INFO: ` in front and no percentiles, and call memory otherwise. LiteRT's
newer tool of the same name (`litert/tools`) prints the same lines for the runs and the session, and no such summary.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from slimedge.runtime.devices.adb.result import Coverage, DelegateUse, RunStatistics

_SEVERITY = re.compile(r"^(?:VERBOSE|INFO|WARN|WARNING|ERROR|FATAL): ")
_NUMBER = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_RUNS = re.compile(rf"count=(\d+)((?: [a-z]\w*={_NUMBER}(?:\(all same\))?)+)")
_FIELD = re.compile(rf" ([a-z]\w*)=({_NUMBER})")
_SUMMARY = re.compile(
    rf"Inference timings in us: Init: ({_NUMBER}), First inference: ({_NUMBER}), "
    rf"Warmup \(avg\): (?:{_NUMBER}|-?nan), Inference \(avg\): ({_NUMBER})"
)
_SESSION = re.compile(rf"Initialized session in ({_NUMBER})ms\.?")
_FOOTPRINT = re.compile(
    rf"(?:Memory footprint delta from the start of the tool|Peak memory footprint) \(MB\): init=({_NUMBER}) "
    rf"overall=({_NUMBER})"
)
_PEAK = re.compile(rf"Overall peak memory footprint \(MB\) via periodic monitoring: ({_NUMBER})")
_APPLIED = re.compile(
    r"Explicitly applied (\S+) delegate, and the model graph will be (completely|partially) executed by the delegate"
    r"(?: w/ (\d+) delegate kernels)?\.?"
)
_NOT_APPLIED = re.compile(
    r"Though (\S+) delegate is explicitly applied, the model graph will not be executed by the delegate\.?"
)
_REPLACED = re.compile(r"Replacing (\d+) out of (\d+) node\(s\) with delegate \((\w+)\)")
_UNCONSUMED = re.compile(r"Unconsumed cmdline flags: (.+)")
_NOISE = ("STARTING!", "Benchmarking failed.", "usage:", "Flags:", "WARNING: linker")


@dataclass(frozen=True, slots=True)
class Output:
    """The parts of an output that were found.

    Attributes:
        phases: statistics in the order in which they were printed: warm-up, then the measured runs.
        load_s: None where it is not told, as for the rest.
        first_run_s: of the first run of the warm-up.
        mean_s: of the measured runs, as the summary repeats it.
        peak_rss_bytes: of the process.
        footprint_bytes: that it grew by.
        load_footprint_bytes: that it grew by while it loaded.
        delegates: that were applied.
        replaced: class of a delegate, nodes that it took, and all nodes, where the runtime told it.
        unconsumed: names of flags that this version does not know.
        complaints: what it says of an error, in the order of the output.
    """

    phases: tuple[RunStatistics, ...]
    load_s: float | None
    first_run_s: float | None
    mean_s: float | None
    peak_rss_bytes: int | None
    footprint_bytes: int | None
    load_footprint_bytes: int | None
    delegates: tuple[DelegateUse, ...]
    replaced: tuple[tuple[str, int, int], ...]
    unconsumed: tuple[str, ...]
    complaints: tuple[str, ...]


def read(text: str) -> Output:
    """Read an output; lines of anything else are passed over.

    Args:
        text: all that was printed, standard output before standard error.

    Returns:
        What was found. A line is taken as a whole or not at all.

    Example:
        >>> found = read("INFO: count=2 first=4 curr=6 min=4 max=6 avg=5 std=1 p5=4 median=4 p95=6")
        >>> found.phases[0].mean_s, found.phases[0].median_s, found.load_s
        (5e-06, 4e-06, None)
    """
    lines = [_SEVERITY.sub("", line.strip()) for line in text.splitlines()]
    summary = _last(_SUMMARY, lines)
    session = _last(_SESSION, lines)
    footprint = _last(_FOOTPRINT, lines)
    peak = _last(_PEAK, lines)
    replaced = tuple(
        (match[3], int(match[1]), int(match[2])) for line in lines if (match := _REPLACED.match(line))
    )
    phases = tuple(phase for line in lines if (phase := _phase(line)) is not None)
    load_s = float(session[1]) / 1e3 if session else None
    first_s = phases[0].first_s if len(phases) == 2 else None
    return Output(
        phases=phases,
        load_s=_seconds(summary[1]) if summary else load_s,
        first_run_s=_seconds(summary[2]) if summary else first_s,
        mean_s=_seconds(summary[3]) if summary else None,
        peak_rss_bytes=_bytes(peak[1]) if peak else None,
        footprint_bytes=_bytes(footprint[2]) if footprint else None,
        load_footprint_bytes=_bytes(footprint[1]) if footprint else None,
        delegates=_delegates(lines, replaced),
        replaced=replaced,
        unconsumed=tuple(
            word.lstrip("-").partition("=")[0]
            for line in lines
            if (match := _UNCONSUMED.fullmatch(line))
            for word in match[1].split()
        ),
        complaints=_complaints(text),
    )


def nodes_of(replaced: Sequence[tuple[str, int, int]], name: str) -> tuple[int | None, int | None]:
    """Give the nodes that a delegate took, and all nodes; None where the runtime did not tell.

    Args:
        replaced: see `Output`.
        name: of the delegate in the tool's words.

    Example:
        >>> nodes_of([("TfLiteGpuDelegateV2", 9, 12)], "GPU")
        (9, 12)
    """
    own = [(some, every) for kind, some, every in replaced if name.lower() in kind.lower()]
    return (sum(some for some, _ in own), sum(every for _, every in own)) if own else (None, None)


def flaw(output: Output) -> str | None:
    """Give what is missing or contradicts itself in an output that should be whole, or None.

    Example:
        >>> flaw(read("hello"))
        'no line with the durations of runs'
    """
    if not output.phases:
        return "no line with the durations of runs"
    if len(output.phases) > 2:
        return f"{len(output.phases)} lines with the durations of runs, where 2 are expected"
    if output.mean_s is None and output.load_s is None:
        return "no line with the time to load"
    if len(output.phases) < 2:
        return "no line with the durations of the measured runs"
    for runs in output.phases:
        known = [runs.min_s, runs.p5_s, runs.median_s, runs.p95_s, runs.max_s]
        rising = [value for value in known if value is not None]
        slack_s = 1e-5 * runs.max_s  # the mean is printed in six digits
        if sorted(rising) != rising or not runs.min_s - slack_s <= runs.mean_s <= runs.max_s + slack_s:
            return "statistics that contradict each other"
    mean_s = output.phases[1].mean_s
    if output.mean_s is not None and abs(output.mean_s - mean_s) > 1e-5 * mean_s:
        return "two different means"
    return None


def _phase(line: str) -> RunStatistics | None:
    match = _RUNS.fullmatch(line)
    if match is None or int(match[1]) == 0:
        return None
    told = {key: _seconds(value) for key, value in _FIELD.findall(match[2])}
    if set(told) in ({"curr"}, {"curr", "p5", "median", "p95"}):
        # One run, or all took equally long: then that is every statistic.
        told = dict.fromkeys(("first", "curr", "min", "max", "avg", "p5", "median", "p95"), told["curr"]) | {
            "std": 0.0
        }
    if not {"first", "curr", "min", "max", "avg", "std"} <= told.keys():
        return None
    return RunStatistics(
        count=int(match[1]),
        first_s=told["first"],
        last_s=told["curr"],
        min_s=told["min"],
        max_s=told["max"],
        mean_s=told["avg"],
        std_s=told["std"],
        p5_s=told.get("p5"),
        median_s=told.get("median"),
        p95_s=told.get("p95"),
    )


def _delegates(lines: list[str], replaced: tuple[tuple[str, int, int], ...]) -> tuple[DelegateUse, ...]:
    found = []
    for line in lines:
        if match := _APPLIED.fullmatch(line):
            whole = match[2] == "completely"
            coverage = Coverage.ALL if whole else Coverage.PART
            partitions = 1 if whole else int(match[3]) if match[3] else None
        elif match := _NOT_APPLIED.fullmatch(line):
            coverage, partitions = Coverage.NONE, 0
        else:
            continue
        nodes, all_nodes = nodes_of(replaced, match[1])
        found.append(DelegateUse(match[1], coverage, partitions, nodes, all_nodes))
    return tuple(found)


def _complaints(text: str) -> tuple[str, ...]:
    """Give lines of errors; an old version does not mark them, so that its last words have to do."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marked = [_SEVERITY.sub("", line) for line in lines if line.startswith(("ERROR: ", "FATAL: "))]
    telling = [line for line in marked or lines[-3:] if not line.startswith(_NOISE)]
    return tuple(telling)


def _last(pattern: re.Pattern[str], lines: Iterable[str]) -> re.Match[str] | None:
    found = None
    for line in lines:
        found = pattern.fullmatch(line) or found
    return found


def _seconds(microseconds: str) -> float:
    return float(microseconds) / 1e6


def _bytes(mebibytes: str) -> int:
    return round(float(mebibytes) * 2**20)
