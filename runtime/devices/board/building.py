"""Make the image of the board: Debian packages and wheels, one boot to try it, and only then a folder in the cache."""

from __future__ import annotations

import fcntl
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slimedge.errors import InputError, RunError
from slimedge.progress import Progress, silent
from slimedge.runtime.devices.board.booting import booted
from slimedge.runtime.devices.board.cpio import write_archive
from slimedge.runtime.devices.board.image import Image, cache_folder, kept
from slimedge.runtime.devices.board.packages import Apt, unpack, unpack_wheels
from slimedge.runtime.devices.board.recipe import SITE, Recipe, usual_recipe

_UNFINISHED = ".building-"
_TRIAL_LIMIT_S = 300.0

# Imports what agents import, and sends back the modules that were compiled for it.
_TRIAL = """
import importlib, os, sys, tarfile
for name in {imported!r}:
    importlib.import_module(name)
compiled = {{getattr(module, "__cached__", None) or "" for module in list(sys.modules.values())}}
with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
    for path in sorted(filter(os.path.exists, compiled)):
        archive.add(path)
"""


def build(recipe: Recipe | None = None, progress: Progress = silent) -> Image:
    """Make an image, or give the one that was made before; two that make one at a time wait for each other.

    Args:
        recipe: what it holds; None takes the runtimes that are installed here.
        progress: told what is being done.

    Returns:
        The image, in the cache.

    Raises:
        UnavailableError: a program or the network is missing.
        RunError: the image does not boot.
        InputError: the cache cannot be written.
    """
    recipe = recipe or usual_recipe()
    cache = cache_folder()
    try:
        with _alone(cache, progress):
            image = kept(recipe)
            if image is None:
                for left in cache.glob(f"{_UNFINISHED}*"):  # by one that was killed
                    shutil.rmtree(left)
                with tempfile.TemporaryDirectory(dir=cache, prefix=_UNFINISHED) as folder:
                    finished = _make(recipe, Path(folder), progress)
                    image = Image(finished.folder.rename(cache / recipe.key))
            return image
    except OSError as error:
        raise InputError(
            f"could not write the image of the emulated board to {cache}: {(error.strerror or str(error)).lower()}; "
            "free some room there, or set XDG_CACHE_HOME to another folder."
        ) from error


def _make(recipe: Recipe, folder: Path, progress: Progress) -> Image:
    """Make an image in a folder and boot it once."""
    root = folder / "root"
    image = Image(folder / "image")
    for each in (root / SITE, image.folder):
        each.mkdir(parents=True)
    progress("fetching the list of packages", 0.0)
    apt = Apt(folder / "apt", recipe)
    apt.update()
    progress("fetching Debian packages", 0.1)
    packages = apt.download([*recipe.packages, apt.dependency(recipe.kernel)], folder / "packages")
    progress("fetching runtimes", 0.25)
    unpack_wheels(recipe.wheels, recipe.python, folder / "wheels", root / SITE)
    progress("unpacking", 0.35)
    for package in packages:
        unpack(package, root)
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    kernel.rename(image.kernel)
    _arrange(recipe, root)
    progress("trying it", 0.45)
    _archive(root, image)
    _try(recipe, root, image)
    _archive(root, image)
    names = [package.name.split("_") for package in packages]
    versions = {name: version.replace("%3a", ":") for name, version, _ in names} | dict(recipe.wheels)
    (image.folder / "versions.json").write_text(json.dumps(versions, indent=1) + "\n")
    return image


def _arrange(recipe: Recipe, root: Path) -> None:
    """Leave in the root what a board needs, and add what makes it start."""
    modules = {path.name: path.read_bytes() for path in (root / "lib/modules").rglob("*.ko")}
    for pattern in recipe.dropped:
        for path in sorted(root.glob(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    files = {
        "init": recipe.init,
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "etc/group": "root:x:0:\n",
        "etc/shells": "/bin/sh\n",
        "etc/hosts": "127.0.0.1 localhost board\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (root / "init").chmod(0o755)
    (root / "lib/modules").mkdir()
    for name in recipe.modules:
        (root / "lib/modules" / f"{name}.ko").write_bytes(modules[f"{name}.ko"])
    (root / "usr/bin/python3").symlink_to(f"python{recipe.python}")


def _archive(root: Path, image: Image) -> None:
    with image.initramfs.open("wb") as file:
        write_archive(root, file)


def _try(recipe: Recipe, root: Path, image: Image) -> None:
    """Boot the image, import what agents import, and put into the root what Python compiled for that.

    The board takes half a minute for it, once. Compiled modules hold the time of their source, which is 0 for all: the
    archive has no times.

    Raises:
        RunError: it does not boot, or cannot import all.
    """
    script = _TRIAL.format(imported=recipe.imported)
    with booted(image) as board:
        try:
            done = subprocess.run(
                board.ssh("exec python3 -"),
                input=script.encode(),
                capture_output=True,
                check=False,
                timeout=_TRIAL_LIMIT_S,
            )
        except subprocess.TimeoutExpired:
            raise RunError(
                f"the image of the emulated board does not work: its runtimes were not "
                f"imported after {_TRIAL_LIMIT_S:g} s."
            ) from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise RunError(f"the image of the emulated board does not work: {lines[-1].rstrip('.')[:300]}.")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(root, filter="data")


@contextmanager
def _alone(cache: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock under which images are made."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another command that makes an image")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
