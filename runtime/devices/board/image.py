"""The image of the board: where it is kept, and what is missing where there is no board to be had."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from slimedge.errors import UnavailableError
from slimedge.runtime.devices.board.recipe import Recipe, usual_recipe

# What a machine needs to boot a board, by program: the package of Debian and Ubuntu that has it.
PROGRAMS = {
    "qemu-system-aarch64": "qemu-system-arm",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is whole: it was booted once before it was kept.

    Attributes:
        folder: that holds it.
    """

    folder: Path

    @property
    def kernel(self) -> Path:
        """The file of the kernel."""
        return self.folder / "vmlinuz"

    @property
    def initramfs(self) -> Path:
        """The archive that is the board's root."""
        return self.folder / "initramfs.cpio"

    @property
    def versions(self) -> dict[str, str]:
        """Version by Debian package and by distribution, of all that is in it."""
        found: dict[str, str] = json.loads((self.folder / "versions.json").read_text())
        return found


def cache_folder() -> Path:
    """Give the folder that images are kept in."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slimedge" / "board"


def kept(recipe: Recipe) -> Image | None:
    """Give the image of a recipe, or None where it was not made yet."""
    folder = cache_folder() / recipe.key
    return Image(folder) if folder.is_dir() else None


def missing() -> str | None:
    """Give why there is no emulated board to be had here and what to do, or None."""
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            return f"{program} is not installed; on Debian and Ubuntu, apt-get install {package}"
    try:
        image = kept(usual_recipe())
    except UnavailableError as error:
        return str(error).rstrip(".")
    if image is None:
        return (
            "the image of the emulated board was not made yet for the runtimes that are installed here; make it by "
            "`python -m slimedge.runtime.devices.board`, or `make arm64`"
        )
    return None


def usual_image() -> Image:
    """Give the image for the runtimes that are installed here.

    Raises:
        UnavailableError: it was not made yet, or QEMU or SSH is not installed.
    """
    reason = missing()
    if reason is not None:
        raise UnavailableError(f"the emulated board cannot be used: {reason}.")
    return Image(cache_folder() / usual_recipe().key)
