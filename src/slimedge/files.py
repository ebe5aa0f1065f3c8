"""Files that are whole or not there: nothing half-written survives an error, a full disk or Ctrl-C."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slimedge.errors import InputError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and move it there only when the block ends well.

    Args:
        path: where the finished file shall lie; its folder is made where it is missing.

    Yields:
        A path with the same ending in a private folder on the same file system.

    Raises:
        InputError: the folder cannot be made or written, or the disk is full.
    """
    path = Path(path)
    folder: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".slimedge-", dir=path.parent))
        temporary = folder / path.name
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"could not write {path}: {reason.lower()}; nothing was left there, choose a folder that "
            "exists, may be written and has room."
        ) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """Give the SHA-256 of a file in hexadecimal, reading it in pieces."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
