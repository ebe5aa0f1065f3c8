"""Whether `benchmark_model` measured what was asked for; if not, the sentence that says why."""

from __future__ import annotations

import signal

from slimedge.errors import InputError, RunError, UnavailableError
from slimedge.runtime.devices.adb import binary, command_line, output
from slimedge.runtime.devices.adb.client import Finished
from slimedge.runtime.devices.adb.hold import PLACE
from slimedge.runtime.devices.adb.result import Coverage
from slimedge.runtime.protocols import Job


def judged(finished: Finished, job: Job, serial: str, *, lost: bool) -> output.Output:
    """Give what the tool printed, if that is a whole measurement of what was asked for.

    Args:
        finished: the tool's end.
        job: that it had.
        serial: of the device, for messages.
        lost: whether the connection ended by itself.

    Raises:
        InputError: the device cannot run this tool, or the tool does not know what it was told.
        UnavailableError: an accelerator is not there, or did not take the whole graph.
        RunError: the device dropped off or has no room, or the tool failed or printed something else.
    """
    found = output.read(finished.out + "\n" + finished.err)
    name = job.artifact.path.name
    said = finished.out + finished.err
    if lost:
        raise dropped(serial, name)
    if finished.code != 0 and "No space left" in said:
        raise full(serial, name)
    if finished.code in {126, 127} or "Exec format error" in said:
        raise InputError(
            f"the device {serial} cannot run this benchmark_model ({finished.last_words}); give a command-line "
            f"binary for Android, as from {binary.SOURCE}."
        )
    unknown = command_line.unknown_flag(found.unconsumed)
    if unknown is not None:
        raise InputError(
            f"this benchmark_model does not know --{unknown}, so that it did not run what was asked for; give a newer "
            f"one, or LiteRT's own, as from {binary.SOURCE}."
        )
    _check_provider(found, job, serial, ended_well=finished.code == 0)
    if finished.code > 128:
        raise RunError(f"benchmark_model was ended by {_signal(finished.code - 128)} while it ran {name}.")
    if finished.code != 0:
        why = "; ".join(line.rstrip(".") for line in found.complaints[:3])[:300] or finished.last_words
        raise RunError(f"benchmark_model failed on {name} with exit status {finished.code}: {why}.")
    flaw = output.flaw(found)
    if flaw is not None:
        raise RunError(
            f"what ran as benchmark_model on {name} did not print what LiteRT's prints ({flaw}); give LiteRT's own, as "
            f"from {binary.SOURCE}."
        )
    return found


def _check_provider(found: output.Output, job: Job, serial: str, *, ended_well: bool) -> None:
    """Raise where an accelerator was asked for and did not take the whole graph."""
    provider = job.target.provider
    if provider == "cpu":
        return
    kind = provider.upper()
    refused = next((line for line in found.complaints if f"apply {kind} delegate" in line), None)
    if refused is not None:
        raise UnavailableError(
            f"the {kind} delegate of the device {serial} does not take {job.artifact.path.name}; use the "
            "provider cpu."
        )
    if job.options.get("allow_fallback"):
        return
    uses = [use for use in found.delegates if use.name == kind]
    if any(use.coverage is Coverage.ALL for use in uses):
        return
    nodes, all_nodes = output.nodes_of(found.replaced, kind)
    part = f" ({nodes} of {all_nodes} nodes)" if nodes is not None else ""
    if uses or part or any("CPU fallback" in line for line in found.complaints):
        raise UnavailableError(
            f"the {kind} delegate of the device {serial} does not take all of {job.artifact.path.name}"
            f"{part}; --allow-fallback accepts that, and the row says so."
        )
    if ended_well:
        raise UnavailableError(
            f"this benchmark_model does not tell what {kind} took of {job.artifact.path.name}; it may have been built "
            f"without {kind}: give the one of {binary.SOURCE}."
        )


def full(serial: str, what: str) -> RunError:
    """Give the error for a full disk."""
    return RunError(f"the device {serial} has no room in {PLACE} for {what}; remove something there.")


def dropped(serial: str, name: str | None = None) -> RunError:
    """Give the error for a device that is gone."""
    during = f" while it ran {name}" if name else ""
    return RunError(f"the device {serial} dropped off{during}; connect it again.")


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
