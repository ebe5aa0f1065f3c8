"""Files that are whole or not there: nothing half-written survives an error, a full disk or Ctrl-C."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from slimedge.errors import InputError


@contextmanager
def atomic_path(path: Path, *, beside: Sequence[str] = ()) -> Iterator[Path]:
    """Give a temporary path beside `path`, and move it there only when the block ends well.

    Args:
        path: where the finished file shall lie; its folder is made where it is missing.
        beside: endings of files that are written along with it and moved first.

    Yields:
        A path with the same ending in a private folder on the same file system.

    Raises:
        InputError: the folder cannot be made or written, or the disk is full.
    """
    path = Path(path)
    missing = [folder for folder in path.parents if not folder.exists()]
    finished = False
    # Named before it is made: a signal that arrives as the folder appears still finds what to remove.
    folder = path.parent / f".slimedge-{secrets.token_hex(8)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
        temporary = folder / path.name
        yield temporary
        finals = [
            *((temporary.with_suffix(each), path.with_suffix(each)) for each in beside),
            (temporary, path),
        ]
        for made, _ in finals:
            with made.open("rb+") as file:
                os.fsync(file.fileno())
        for made, final in finals:
            made.replace(final)
        finished = True
    except OSError as error:
        if folder.exists() and not is_about_writing(error, folder):
            raise
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InputError(
            f"could not write {path}: {reason.lower()}; nothing was left there, choose a folder that "
            "exists, may be written and has room."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if not finished:
            for made in missing:
                with suppress(OSError):
                    made.rmdir()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder for temporary files, which is gone after the block.

    Raises:
        InputError: it cannot be made, or there is no more room in it.
    """
    folder: Path | None = None
    try:
        folder = Path(tempfile.gettempdir()) / f"slimedge-{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        yield folder
    except OSError as error:
        if folder is not None and folder.exists() and not is_about_writing(error, folder):
            raise
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InputError(
            f"could not write temporary files{f' in {folder.parent}' if folder else ''}: {reason.lower()}; free some "
            "room there, or set TMPDIR to another folder."
        ) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


# Errors of a disk, whatever file was written; they come without a name from a write that has begun.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}


def is_about_writing(error: OSError, folder: Path) -> bool:
    """Whether the files in `folder` could not be written, rather than some other file be found or read.

    Args:
        error: as the system gave it.
        folder: in which something was being written.
    """
    if error.errno in DISK_ERRORS:
        return True
    names = [
        os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))
    ]
    return any(Path(name).is_relative_to(folder) for name in names)


def sha256_of(path: Path) -> str:
    """Give the SHA-256 of a file in hexadecimal, reading it in pieces."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
