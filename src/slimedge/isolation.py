"""Run one function in a fresh process that has a time limit, a memory limit and no GPU.

Converters leak, abort and swallow errors; in here that costs one clear sentence, never the user's process.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slimedge.errors
from slimedge.errors import ConversionError, SlimedgeError
from slimedge.files import DISK_ERRORS, atomic_path, scratch_folder
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    from slimedge.preloaded import Forked, Preloaded

POLL_S = 0.05
DEFAULT_TIME_LIMIT_S = 3600.0
# Names, in the fresh process, the file in which the function tells how far it is.
TOLD = "SLIMEDGE_TOLD"


@dataclass(frozen=True, slots=True)
class Isolated:
    """What came back.

    Attributes:
        result: the function's, as JSON values.
        seconds: that it took, the start of the process included.
        peak_rss_bytes: largest memory of the process and its children, as sampled.
    """

    result: Any
    seconds: float
    peak_rss_bytes: int


def default_memory_limit_bytes() -> int:
    """Nine tenths of the machine's memory, or of the cgroup's where that is less."""
    import psutil

    total = int(psutil.virtual_memory().total)
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(path).read_text()))
        except (OSError, ValueError):
            continue
    return total * 9 // 10


def run_isolated(
    target: str,
    arguments: Mapping[str, Any],
    *,
    label: str,
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
    memory_limit_bytes: int | None = None,
    environment: Mapping[str, str] | None = None,
    preloaded: Preloaded | None = None,
    progress: Progress = silent,
) -> Isolated:
    """Call `target(**arguments)` in a fresh process.

    Args:
        target: `"module:function"`; it takes and gives JSON values.
        arguments: by name.
        label: what is being done, for messages ("the ONNX export of model.keras").
        time_limit_s: after which the process and its children are killed.
        memory_limit_bytes: of resident memory, likewise; None for nine tenths of the machine's.
        environment: variables of the process, over those that it gets otherwise.
        preloaded: starts it with libraries that are imported already, where it can.
        progress: told what the function tells by `tell`, the latest of it where it tells much.

    Returns:
        Its result, time and peak memory.

    Raises:
        SlimedgeError: whatever the function raised of this kind, as its own class.
        ConversionError: it raised anything else, ran out of time or memory, or died of a signal.
        InputError: there is no room for temporary files.
        OSError: the function found the disk full or broken.
    """
    limit = memory_limit_bytes or default_memory_limit_bytes()
    started = time.monotonic()
    with scratch_folder() as folder:
        request, answer, log, told = (
            folder / name for name in ("request.json", "answer.json", "log.txt", "told.json")
        )
        request.write_text(json.dumps({"target": target, "arguments": dict(arguments)}))
        variables = {**_environment(), TOLD: str(told), **(environment or {})}
        log.touch()
        process: Forked | subprocess.Popen[bytes] | None = None
        if preloaded is not None:
            given = {"request": str(request), "path": str(answer)}
            process = preloaded.start(f"{__name__}:answer", given, log=str(log), environment=variables)
        process = process or _fresh(request, answer, log, variables)
        try:
            peak = _watch(
                process, label, started + time_limit_s, time_limit_s, limit, _teller(told, progress)
            )
        finally:
            _kill(process)
        seconds = time.monotonic() - started
        return Isolated(_read(process.returncode, answer, log, label), seconds, peak)


def _fresh(request: Path, answer: Path, log: Path, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with log.open("wb") as sink:
        return subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(sys.path), str(os.getpid()), str(request), str(answer)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env=dict(variables),
            start_new_session=True,
        )


_BOOT = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from slimedge.isolation import answer, end_with_parent
end_with_parent(int(sys.argv[2]))
answer(*sys.argv[3:])
"""


def end_with_parent(parent: int) -> None:
    """Let the kernel kill this process when the one that started it is gone, even where that was killed itself.

    Args:
        parent: its process id.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def answer(request: str, path: str) -> None:
    """Call what was asked for and write its result or error; runs in the fresh process.

    Args:
        request: path of the file that says what to call.
        path: of the file to write.
    """
    # Tracing makes millions of objects and hardly any garbage; searching it as often as by default costs a tenth.
    gc.set_threshold(100_000, 50, 50)
    try:
        asked = json.loads(Path(request).read_text())
        module, _, name = asked["target"].partition(":")
        outcome = {"result": getattr(importlib.import_module(module), name)(**asked["arguments"])}
    except SlimedgeError as error:
        outcome = {"error": type(error).__name__, "message": str(error)}
    except OSError as error:
        text = f"{type(error).__name__}: {error}"
        outcome = {"error": "OSError", "message": text[:400], "errno": error.errno}
    except MemoryError:
        outcome = {"error": "MemoryError", "message": "it ran out of memory"}
    except Exception as error:  # noqa: BLE001 - a converter raises anything
        import traceback

        traceback.print_exc()
        first = next(iter(str(error).strip().splitlines()), "")
        outcome = {"error": type(error).__name__, "message": f"{type(error).__name__}: {first}"[:400]}
    with atomic_path(Path(path)) as temporary:
        temporary.write_text(json.dumps(outcome))


def tell(doing: str, share: float | None = None, /) -> None:
    """Tell the process that waits for this one what is being done; see `Progress`."""
    if TOLD not in os.environ:
        return
    path = Path(os.environ[TOLD])
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps([doing, share]))
    fresh.replace(path)


def _teller(told: Path, progress: Progress) -> Callable[[], None]:
    """Give what passes on the latest that was told, once."""
    last = ""

    def pass_on() -> None:
        nonlocal last
        with suppress(FileNotFoundError):
            text = told.read_text()
            if text != last:
                last = text
                progress(*json.loads(text))

    return pass_on


def _environment() -> dict[str, str]:
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "TF_ENABLE_ONEDNN_OPTS": "0"}
    # glibc gives big blocks back at once only with a fixed threshold; converters free many of them.
    memory = {
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_MMAP_THRESHOLD_": "1048576",
        "MALLOC_TRIM_THRESHOLD_": "1048576",
    }
    return {**os.environ, **quiet, **memory, "KERAS_BACKEND": "tensorflow"}


def _watch(
    process: Forked | subprocess.Popen[bytes],
    label: str,
    deadline: float,
    time_limit_s: float,
    limit: int,
    pass_on: Callable[[], None],
) -> int:
    peak = 0
    while process.poll() is None:
        pass_on()
        peak = max(peak, _tree_rss_bytes(process.pid))
        if peak > limit:
            raise ConversionError(
                f"{label} was stopped at {peak / 2**30:.1f} GiB of memory, its limit is {limit / 2**30:.1f} GiB; "
                "raise the limit (--memory-limit) or use a machine with more."
            )
        if time.monotonic() > deadline:
            raise ConversionError(
                f"{label} was stopped after {time_limit_s:.0f} s, its time limit; raise it (--time-limit)."
            )
        try:
            process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            continue
    return peak


def _tree_rss_bytes(pid: int) -> int:
    import psutil

    total = 0
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        for member in (parent, *parent.children(recursive=True)):
            total += int(member.memory_info().rss)
    return total


def _kill(process: Forked | subprocess.Popen[bytes]) -> None:
    """End the process and whatever it started; it leads a process group of its own."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(returncode: int | None, answer_path: Path, log: Path, label: str) -> Any:
    if not answer_path.exists():
        tail = _last_line(log)
        if returncode is not None and returncode < 0:
            if -returncode == signal.SIGKILL:
                raise ConversionError(
                    f"{label} was killed from outside{tail}, most likely by the system for want of memory; nothing "
                    "was written."
                )
            name = signal.Signals(-returncode).name
            raise ConversionError(f"{label} died of {name} in native code{tail}; nothing was written.")
        raise ConversionError(
            f"{label} ended with status {returncode} and no result{tail}; nothing was written."
        )
    outcome = json.loads(answer_path.read_text())
    if "error" not in outcome:
        return outcome["result"]
    if outcome.get("errno") in DISK_ERRORS:
        raise OSError(outcome["errno"], os.strerror(outcome["errno"]))
    kind = getattr(slimedge.errors, outcome["error"], None)
    if isinstance(kind, type) and issubclass(kind, SlimedgeError):
        raise kind(outcome["message"])
    raise ConversionError(f"{label} failed: {outcome['message'].rstrip('.')}; nothing was written.")


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f" ({lines[-1][:200]})" if lines else ""
