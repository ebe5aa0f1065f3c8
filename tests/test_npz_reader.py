"""Arrays in an `.npz` file: names, parts, labels, and files that are damaged or lie."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from reading import IMAGES, LABELS, as_npz, refusal

from slimedge import spool
from slimedge.data import Data


def test_an_npz_of_train_and_test_arrays_has_two_parts(tmp_path):
    np.savez(tmp_path / "m.npz", x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:4], y_test=LABELS[:4])

    data = Data.load(tmp_path / "m.npz")

    assert len(data) == 16
    assert data.split(calibration=2).evaluation.indices.tolist() == [12, 13, 14, 15]
    assert len(Data.load(tmp_path / "m.npz", part="test")) == 4
    assert "has no part 'val'; it has train and test" in refusal(tmp_path / "m.npz", part="val")


def test_labels_of_an_npz_are_found_by_name_and_by_output(tmp_path):
    np.savez(tmp_path / "m.npz", image=IMAGES, kind=LABELS)
    np.savez(tmp_path / "n.npz", **{"image": IMAGES, "y:a": LABELS, "y:b": LABELS})

    assert Data.load(tmp_path / "m.npz", labels="kind").labels.tolist() == LABELS.tolist()
    assert sorted(Data.load(tmp_path / "n.npz").targets) == ["a", "b"]
    assert "has no labels 'kid'; it holds image, kind" in refusal(tmp_path / "m.npz", labels="kid")


@pytest.mark.parametrize("share", [0, 0.25, 0.9])
def test_a_truncated_npz_is_refused(tmp_path, share):
    whole = as_npz(tmp_path)[0].read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: int(share * len(whole))])

    assert "is no .npz file or is damaged" in refusal(tmp_path / "cut.npz")


def test_a_flipped_byte_in_an_npz_is_found(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=IMAGES)
    whole = bytearray(path.read_bytes())
    whole[1000] ^= 0xFF
    path.write_bytes(whole)

    assert "Bad CRC-32" in refusal(path)


def test_pickles_in_an_npz_are_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path(tmp_path / "trapped").touch, ())

    np.savez(tmp_path / "p.npz", x=np.array([Trap()], dtype=object))

    assert "holds pickled Python objects, which could run code and are never loaded" in refusal(
        tmp_path / "p.npz"
    )
    assert not (tmp_path / "trapped").exists()


def npz_of(path: Path, header: dict, body: bytes, name: str = "x.npy") -> Path:
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, header)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, member.getvalue() + body)
    return path


def test_an_npz_that_promises_more_than_it_holds_takes_no_memory(tmp_path):
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**12,)}

    message = refusal(npz_of(tmp_path / "b.npz", header, b"\0" * 1000))

    assert "its header promises 4,000,000,000,000 bytes and there are 1,000" in message


def test_what_is_no_array_in_an_npz_is_refused(tmp_path):
    header = {"descr": "<f4", "fortran_order": False, "shape": (1,)}
    with zipfile.ZipFile(tmp_path / "h.npz", "w") as archive:
        archive.writestr("x.npy", b"hello, I am no header")

    assert "holds 'run.py', which is no array" in refusal(
        npz_of(tmp_path / "a.npz", header, b"\0" * 4, "run.py")
    )
    assert "has a header that is none of NumPy's" in refusal(tmp_path / "h.npz")


def test_arrays_in_fortran_order_come_out_right(tmp_path):
    np.savez(tmp_path / "f.npz", x=np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)))

    assert Data.load(tmp_path / "f.npz").arrays()[0]["x"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_large_arrays_are_not_kept_in_memory(tmp_path, monkeypatch, save):
    monkeypatch.setattr(spool, "IN_MEMORY_BYTES", 100)
    monkeypatch.setattr("slimedge.readers.npz.IN_MEMORY_BYTES", 100)
    save(tmp_path / "l.npz", x=IMAGES, f=np.asfortranarray(IMAGES), y=LABELS)

    data = Data.load(tmp_path / "l.npz")
    inputs, labels = data.arrays()

    mapped = data.source._arrays["x"]
    assert isinstance(mapped, np.memmap) or isinstance(mapped.base, np.memmap)
    assert np.array_equal(inputs["x"], IMAGES)
    assert np.array_equal(inputs["f"], IMAGES)
    assert labels.tolist() == LABELS.tolist()
