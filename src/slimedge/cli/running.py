"""Run a command line: exit statuses, one sentence an error, and no noise from the libraries underneath."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from slimedge.errors import SlimedgeError

TRACEBACK = "SLIMEDGE_TRACEBACK"
USAGE = 2
INTERRUPTED = 130
TERMINATED = 143
# Of the first seconds only: a module of the user's may work for minutes while it is imported.
LONGEST_IMPORT_S = 30.0
RETRY_S = 0.05


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `slimedge` and exit: 0 done, 1 a goal or check failed, 2 bad usage or input, 130 interrupted.

    Args:
        arguments: without the program's name; those of the process where they are not given.
    """
    with _calm_libraries(), _terminated_as_exit():
        try:
            status = run(sys.argv[1:] if arguments is None else arguments)
        except KeyboardInterrupt:  # while our own modules were imported
            status = _interrupted()
    sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and give its exit status; errors are told on stderr."""
    from typer import Abort, Exit
    from typer.exceptions import TyperException

    from slimedge.cli.app import command

    try:
        with command().make_context("slimedge", list(arguments) or ["--help"]) as context:
            context.command.invoke(context)
        sys.stdout.flush()
    except Exit as request:
        return request.exit_code
    except TyperException as error:
        return _fail(_usage(error), USAGE)
    except SlimedgeError as error:
        return _fail(str(error), error.exit_code, error)
    except (KeyboardInterrupt, Abort) as error:
        return _interrupted(str(error))
    except BrokenPipeError:
        # Whoever read our output has seen enough; keep Python from failing on its last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except MemoryError as error:
        return _fail("this machine ran out of memory; use a smaller batch or less data.", USAGE, error)
    except Exception as error:  # noqa: BLE001 - the last resort of a program that shows no tracebacks
        lines = str(error).strip().splitlines() or ["no message"]
        sentence = (
            f"an unexpected {type(error).__name__} ({lines[0]}); set {TRACEBACK}=1 to see where it arose."
        )
        return _fail(sentence, USAGE, error)
    return 0


def _interrupted(what_now: str = "") -> int:
    return _fail(f"interrupted; {what_now or 'nothing half-written is left.'}", INTERRUPTED)


def _fail(sentence: str, status: int, error: BaseException | None = None) -> int:
    if error is not None and os.environ.get(TRACEBACK):
        import traceback

        traceback.print_exception(error)
    print(f"slimedge: {sentence}", file=sys.stderr)
    return status


def _usage(error: Exception) -> str:
    """Say in one sentence what is wrong with the command line, and where the right one is shown."""
    message = getattr(error, "format_message", error.__str__)()
    sentence = " ".join(message.split()).rstrip(".")
    errors = getattr(error.__cause__, "errors", None)
    if callable(errors):  # what pydantic refused, which its message leaves out
        sentence = sentence.replace("Invalid value for", f"Invalid value '{errors()[0]['input']}' for")
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "slimedge"
    return f"{sentence[:1].lower()}{sentence[1:]}; see '{path} --help'."


@contextmanager
def _calm_libraries() -> Iterator[None]:
    """Keep the native libraries' logs and other packages' warnings from the user.

    TensorFlow's first lines come before any of its settings is read, so descriptor 2 itself goes nowhere, and what we
    say goes to a copy of it. It has to be done before TensorFlow is imported, and is not done where the user wants
    to see everything.
    """
    if os.environ.get(TRACEBACK):
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    # What TensorFlow logs from Python, as that functions are traced again, of which recipes compile many.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    sys.stderr.flush()
    before, ours = sys.stderr, os.dup(2)
    with Path(os.devnull).open("wb") as nowhere, os.fdopen(ours, "w", 1, errors="backslashreplace") as told:
        os.dup2(nowhere.fileno(), 2)
        sys.stderr = told
        try:
            yield
        finally:
            sys.stderr = before
            os.dup2(ours, 2)


@contextmanager
def _terminated_as_exit() -> Iterator[None]:
    """Let Ctrl-C and a polite end (SIGTERM) unwind alike, so that temporary files and processes go.

    Not in the middle of an import: an exception there ends up in the C++ of a library that is just being loaded, which
    aborts the process. Nor where Python drops it, in `__del__` and in callbacks of weak references, which run all the
    time while Keras trains. The signal is then sent again a little later.
    """
    deadline = time.monotonic() + LONGEST_IMPORT_S
    drops = sys.unraisablehook

    def leave(number: int, frame: FrameType | None) -> None:
        if _importing(frame) and time.monotonic() < deadline:
            _send_later(number)
        elif number == signal.SIGTERM:
            raise SystemExit(TERMINATED)
        else:
            raise KeyboardInterrupt

    def dropped(lost: sys.UnraisableHookArgs) -> None:
        if isinstance(lost.exc_value, KeyboardInterrupt):
            _send_later(signal.SIGINT)
        elif isinstance(lost.exc_value, SystemExit) and lost.exc_value.code == TERMINATED:
            _send_later(signal.SIGTERM)
        else:
            drops(lost)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGINT)}
    sys.unraisablehook = dropped
    try:
        yield
    finally:
        sys.unraisablehook = drops
        for number, handler in before.items():
            signal.signal(number, handler)


def _send_later(number: int) -> None:
    again = threading.Timer(RETRY_S, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
