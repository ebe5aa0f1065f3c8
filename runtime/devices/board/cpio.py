"""A folder as a cpio archive in the format `newc`, which Linux takes as its first file system."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import BinaryIO

_MAGIC = "070701"
_END = "TRAILER!!!"


def write_archive(folder: Path, file: BinaryIO) -> None:
    """Write all that lies in a folder, owned by root and without times, so that the same files give the same bytes.

    Args:
        folder: whose content becomes the root.
        file: open for writing, at its start.

    Reference:
        Linux, Documentation/driver-api/early-userspace/buffer-format.rst.
    """
    paths = sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix())
    for number, path in enumerate(paths, 1):
        status = path.lstat()
        name = path.relative_to(folder).as_posix()
        if stat.S_ISLNK(status.st_mode):
            target = os.fsencode(path.readlink())
            file.write(header(name, stat.S_IFLNK | 0o777, number, len(target)) + target)
        elif stat.S_ISDIR(status.st_mode):
            file.write(header(name, stat.S_IFDIR | 0o755, number, 0))
        elif stat.S_ISREG(status.st_mode):
            executable = status.st_mode & stat.S_IXUSR
            file.write(header(name, stat.S_IFREG | (0o755 if executable else 0o644), number, status.st_size))
            with path.open("rb") as content:
                shutil.copyfileobj(content, file)
        _pad(file)
    file.write(header(_END, 0, 0, 0))


def header(name: str, mode: int, number: int, size: int) -> bytes:
    """Give the header and the name of one file, filled up to whole words of four bytes.

    Args:
        name: the path from the root, without a slash in front.
        mode: the kind of file and its permissions.
        number: of the file, its own.
        size: of the content in bytes.
    """
    links, owner, group, time, device, checksum = (2 if stat.S_ISDIR(mode) else 1), 0, 0, 0, 0, 0
    encoded = os.fsencode(name) + b"\0"
    fields = (number, mode, owner, group, links, time, size, *[device] * 4, len(encoded), checksum)
    head = (_MAGIC + "".join(f"{field:08X}" for field in fields)).encode() + encoded
    return head + b"\0" * (-len(head) % 4)


def _pad(file: BinaryIO) -> None:
    file.write(b"\0" * (-file.tell() % 4))
