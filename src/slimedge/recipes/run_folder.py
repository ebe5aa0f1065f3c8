"""The folder of a run: what each step made, under the key of what it was made from, and one run at a time.

steps/NAME-KEY/           the files of a finished step, with step.json
work/KEY/                 of a step that is under way: checkpoints, and files that are not whole yet
tmp/                      temporary files of all that runs
.lock                     held while a run is under way; the system lets go of it when its process ends
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from slimedge.errors import InputError
from slimedge.files import atomic_path, is_about_writing, sha256_of

NOTE = "step.json"
SHOWN = 16  # digits of a key in the name of a folder


@dataclass(frozen=True, slots=True)
class Done:
    """A finished step.

    Attributes:
        folder: with its files.
        note: what `step.json` says.
        reused: whether it was there before this run.
    """

    folder: Path
    note: Mapping[str, Any]
    reused: bool

    @property
    def seconds(self) -> float:
        """How long it took, with what an attempt that was stopped had come to."""
        return float(self.note.get("seconds", 0.0))


@dataclass(frozen=True, slots=True)
class Work:
    """A step that is under way.

    Attributes:
        checkpoints: a folder for what lets it go on when it is stopped.
        out: a folder for its files, empty at first.
    """

    checkpoints: Path
    out: Path


class RunFolder:
    """The folder of a run.

    Args:
        path: made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Processes that are started may work in another folder.
        root = path.absolute()
        self._steps, self._work, self._tmp = root / "steps", root / "work", root / "tmp"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out while the block runs, and temporary files in this folder.

        What a run that was killed left half-written is removed.

        Raises:
            InputError: another run is under way here, or nothing may be written.
        """
        with self._writing(), self._held():
            shutil.rmtree(self._tmp, ignore_errors=True)
            for left in self.path.glob(".slimedge-*"):
                shutil.rmtree(left, ignore_errors=True)
            self._tmp.mkdir()
            try:
                with _temporary_files_in(self._tmp):
                    yield
            finally:
                shutil.rmtree(self._tmp, ignore_errors=True)

    def done(self, name: str, key: str) -> Done | None:
        """Give a finished step, or None where there is none or a file of it is not what was written."""
        folder = self._folder(name, key)
        try:
            note = json.loads((folder / NOTE).read_text())
            whole = note["key"] == key and all(
                sha256_of(folder / file) == digest for file, digest in note["files"].items()
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            whole = False
        return Done(folder, note, reused=True) if whole else None

    def making(self, key: str) -> Work:
        """Give the folders of a step that is to be made; `keep` then keeps what lies in `out`.

        Raises:
            InputError: they cannot be made.
        """
        work = self._work / key
        with self._writing():
            out = work / "out"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir(parents=True)
        return Work(work / "checkpoints", out)

    def keep(self, name: str, key: str, **facts: Any) -> Done:
        """Let a step that `making` has made be a finished one: all of it, or nothing.

        Args:
            name: of the step.
            key: of it.
            facts: what else `step.json` shall say, as JSON values.

        Raises:
            InputError: the disk is full, or the folder may not be written.
        """
        work, folder = self._work / key, self._folder(name, key)
        with self._writing():
            out = work / "out"
            files = {file.name: sha256_of(file) for file in sorted(out.iterdir()) if file.is_file()}
            note = {"name": name, "key": key, "files": files, **facts}
            (out / NOTE).write_text(json.dumps(note, indent=1) + "\n")
            for file in out.iterdir():
                _to_disk(file)
            self._steps.mkdir(exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            out.replace(folder)
            shutil.rmtree(work, ignore_errors=True)
            with suppress(OSError):  # others are under way
                self._work.rmdir()
        return Done(folder, note, reused=False)

    def clear(self) -> None:
        """Remove what steps left that are under way no more."""
        shutil.rmtree(self._work, ignore_errors=True)

    def put(self, source: Path, name: str) -> Path:
        """Copy a file of a step to where the user looks for it.

        Raises:
            InputError: it cannot be written there.
        """
        target = self.path / name
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
        return target

    def _folder(self, name: str, key: str) -> Path:
        return self._steps / f"{name}-{key[:SHOWN]}"

    @contextmanager
    def _held(self) -> Iterator[None]:
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(
                    f"another run is under way in {self.path}{_who(lock)}; wait for it, or give another folder with "
                    "--output."
                ) from error
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Tell in one sentence what keeps files from being written here, whoever wrote them."""
        try:
            yield
        except (OSError, InputError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if not isinstance(cause, OSError) or not self._is_about_writing(cause):
                raise
            reason = os.strerror(cause.errno) if cause.errno else str(cause)
            raise InputError(
                f"could not write in {self.path}: {reason.lower()}; what was finished is kept, so make room or choose "
                "a folder that may be written (--output), and run again."
            ) from error

    def _is_about_writing(self, error: OSError) -> bool:
        return error.errno == errno.ENOLCK or any(
            is_about_writing(error, folder) for folder in (self.path, self.path.absolute())
        )


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Let this process and those that it starts put temporary files into a folder, and then where they did before."""
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before[0]
        os.environ.pop("TMPDIR", None)
        if before[1] is not None:
            os.environ["TMPDIR"] = before[1]


def _who(lock: IO[str]) -> str:
    with suppress(OSError, ValueError):
        lock.seek(0)
        return f" (process {int(lock.read())})"
    return ""


def _to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
