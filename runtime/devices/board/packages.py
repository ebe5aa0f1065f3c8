"""Debian packages and wheels for another machine, fetched without root and without touching this one's settings."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from slimedge.errors import UnavailableError
from slimedge.runtime.devices.board.recipe import KEYRING, Recipe

ARCHITECTURE = "arm64"
# Newest first: what the wheels may ask of the C library, which is 2.36 on the board.
PLATFORMS = (*(f"manylinux_2_{minor}_aarch64" for minor in (28, 27, 17)), "manylinux2014_aarch64")
TIME_LIMIT_S = 600.0


class Apt:
    """apt with lists, cache and sources of its own, for packages of another architecture.

    Args:
        folder: for what it keeps.
        recipe: that names mirror and suite.

    Raises:
        UnavailableError: the keys that Debian signs with are not here.
    """

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        if not KEYRING.exists():
            raise UnavailableError(
                f"the keys that Debian signs its packages with are not in {KEYRING}; apt-get install "
                "debian-archive-keyring."
            )
        for name in ("lists/partial", "archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        source = f"[arch={ARCHITECTURE} signed-by={KEYRING}] {recipe.mirror} {recipe.suite} main"
        (folder / "sources.list").write_text(f"deb {source}\n")
        settings = {
            "APT::Architecture": ARCHITECTURE,
            "APT::Architectures": ARCHITECTURE,
            "APT::Sandbox::User": "",  # as root it would change to a user who may not write here
            "Dir::State": folder,
            "Dir::State::status": folder / "status",
            "Dir::Cache": folder,
            "Dir::Etc::sourcelist": folder / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Acquire::Languages": "none",
            "Acquire::Retries": 3,
        }
        self._options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]

    def update(self) -> None:
        """Fetch the list of packages."""
        self._run("apt-get", "update", "-qq")

    def dependency(self, name: str) -> str:
        """Give the first package that one depends on.

        Args:
            name: of a package whose only purpose is to depend on another.
        """
        told = self._run("apt-cache", "depends", name)
        found = re.search(r"^\s*Depends: (\S+)", told, re.MULTILINE)
        if found is None:
            raise UnavailableError(f"the Debian package {name} names no kernel; try again later.")
        return found[1]

    def download(self, names: Sequence[str], folder: Path) -> list[Path]:
        """Fetch packages.

        Args:
            names: of the packages, without what they depend on.
            folder: for the files.
        """
        folder.mkdir()
        self._run("apt-get", "download", "-qq", *names, cwd=folder)
        return sorted(folder.glob("*.deb"))

    def _run(self, program: str, *arguments: str, cwd: Path | None = None) -> str:
        return run([program, *self._options, *arguments], cwd=cwd)


def unpack(package: Path, root: Path) -> None:
    """Unpack a Debian package into a folder."""
    run(["dpkg-deb", "--extract", str(package), str(root)])


def unpack_wheels(wheels: Mapping[str, str], python: str, downloads: Path, site: Path) -> None:
    """Fetch wheels for the board and unpack them.

    Args:
        wheels: version by distribution.
        python: version of Python that they are for.
        downloads: a folder for the files.
        site: the folder that the board's Python looks in.
    """
    platforms = [part for name in PLATFORMS for part in ("--platform", name)]
    wanted = [f"{name}=={version}" for name, version in wheels.items()]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python, *platforms]
    run([*command, "--dest", str(downloads), *wanted])
    for wheel in sorted(downloads.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)


def run(command: Sequence[str], *, cwd: Path | None = None) -> str:
    """Run a program that fetches or unpacks, and give what it prints.

    Raises:
        UnavailableError: it is not installed, takes too long or fails; with the last that it said.
    """
    label = "pip" if "pip" in command else Path(command[0]).name
    if shutil.which(command[0]) is None:
        raise UnavailableError(
            f"{label} is not on this machine, and the emulated board is made of Debian packages; make its image on "
            "Debian or Ubuntu."
        )
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIME_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(
            f"{label} was not done after {TIME_LIMIT_S:.0f} s while the image of the emulated board was made; check "
            "the network and try again."
        ) from None
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        told = next((line for line in lines if line.startswith(("E:", "ERROR:"))), lines[-1])
        raise UnavailableError(
            f"{label} failed while the image of the emulated board was made ({told.rstrip('.')[:300]}); check the "
            "network and try again."
        )
    return done.stdout
