"""A file is whole or not there."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import keras
import pytest

from slimedge.errors import InputError
from slimedge.files import atomic_path, scratch_folder, sha256_of
from slimedge.keras_file import save_model


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs needs root; run the tests as root to see what a full disk does.")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "made" / "file.bin"
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"whole")
        assert not path.exists()
        assert temporary.suffix == ".bin"
    assert path.read_bytes() == b"whole"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def write() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.bin"]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(small_disk: Path) -> None:
    def write() -> None:
        with atomic_path(small_disk / "file.bin") as temporary:
            temporary.write_bytes(b"x" * 200_000)

    with pytest.raises(InputError, match="no space left on device; nothing was left there"):
        write()
    assert list(small_disk.iterdir()) == []


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(InputError, match="could not write"), atomic_path(tmp_path / "taken" / "file.bin"):
        pass


def test_an_error_of_another_file_is_not_called_a_failed_write(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "file.bin"):
        (tmp_path / "missing").read_bytes()


def test_the_hash_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a").startswith("ba7816bf")


def test_what_was_made_for_a_file_that_failed_goes_again(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), atomic_path(tmp_path / "new" / "newer" / "file.bin"):
        raise ValueError("no")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_under_the_files_name_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file.bin").mkdir()
    with (
        pytest.raises(InputError, match=r"could not write .*file\.bin: is a directory"),
        atomic_path(tmp_path / "file.bin") as temporary,
    ):
        temporary.write_bytes(b"whole")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.bin"]


def test_a_read_only_folder_is_one_sentence(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with (
        pytest.raises(InputError, match="read-only file system; nothing was left there, choose a folder"),
        atomic_path(small_disk / "file.bin"),
    ):
        pass


def test_a_library_that_raises_an_os_error_of_its_own_is_left_alone(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match="not a model"),
        atomic_path(tmp_path / "file.bin"),
    ):
        raise OSError("this is not a model")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_does_not_fit_on_the_disk_is_one_sentence(small_disk: Path) -> None:
    inputs = keras.Input((300,))
    network = keras.Model(inputs, keras.layers.Dense(300)(inputs))
    with pytest.raises(InputError, match=r"could not write .*m\.keras: no space left on device"):
        save_model(network, small_disk / "m.keras")
    assert list(small_disk.iterdir()) == []


def test_a_scratch_folder_is_gone_afterwards() -> None:
    with scratch_folder() as folder:
        (folder / "file").write_text("something")
    assert not folder.exists()
    with pytest.raises(KeyboardInterrupt), scratch_folder() as folder:
        raise KeyboardInterrupt
    assert not folder.exists()


@pytest.mark.parametrize(
    "make", [scratch_folder, lambda: atomic_path(Path(tempfile.gettempdir()) / "file.bin")]
)
def test_a_signal_in_the_moment_a_folder_is_made_leaves_nothing(
    make: Callable[[], AbstractContextManager[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mkdir = os.mkdir

    def interrupted(path: str, mode: int = 0o777) -> None:
        mkdir(path, mode)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "mkdir", interrupted)
    with pytest.raises(KeyboardInterrupt), make():
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_full_scratch_folder_says_where_it_is(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    with (
        pytest.raises(
            InputError, match=r"could not write temporary files in .*: no space left .* set TMPDIR"
        ),
        scratch_folder() as folder,
    ):
        (folder / "file").write_bytes(b"x" * 200_000)
    assert list(small_disk.iterdir()) == []


def test_an_error_of_something_else_passes_a_scratch_folder() -> None:
    with pytest.raises(FileNotFoundError), scratch_folder():
        Path("/no/such/file").read_bytes()
