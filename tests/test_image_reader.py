"""Folders of images: classes, parts, sizes, and files that are no pictures."""

from __future__ import annotations

import numpy as np
import pytest
from pictures import pictures, write_images
from reading import IMAGES, LABELS, MODEL, refusal

from slimedge.artifact import TensorSpec
from slimedge.data import Data
from slimedge.errors import InputError


def test_subfolders_are_classes_in_the_order_of_their_names(tmp_path):
    write_images(tmp_path, IMAGES, LABELS, ["zebra", "ant", "Bee"])

    data = Data.load(tmp_path)
    inputs, labels = data.bind(MODEL).arrays()

    assert data.class_names == ("Bee", "ant", "zebra")
    assert counted(labels) == {0: 4, 1: 4, 2: 4}
    bees = inputs["image"][labels == 0][..., 0]
    assert np.array_equal(bees, IMAGES[LABELS == 2].astype(np.float32) / 255)


def counted(labels: np.ndarray) -> dict[int, int]:
    return dict(enumerate(np.bincount(labels).tolist()))


@pytest.mark.parametrize("ending", ["png", "bmp", "jpg"])
def test_png_bmp_and_jpeg_are_read(tmp_path, ending):
    write_images(tmp_path, IMAGES, LABELS, "abc", ending)

    inputs, labels = Data.load(tmp_path).bind(MODEL).arrays()

    expected = IMAGES[np.argsort(LABELS, kind="stable")].astype(np.float32) / 255
    assert np.abs(inputs["image"][..., 0] - expected).max() <= (0.02 if ending == "jpg" else 0)
    assert labels.tolist() == sorted(LABELS)


def test_images_take_the_model_s_size_and_colours(tmp_path):
    from PIL import Image

    colours = np.stack([IMAGES, 255 - IMAGES, IMAGES // 2], axis=-1)
    write_images(tmp_path, colours, LABELS, "abc")
    data = Data.load(tmp_path)

    def sized(*shape):
        return data.bind([TensorSpec("in", (None, *shape), "float32")], preprocessing=True)

    first = Image.fromarray(colours[0])
    assert np.array_equal(sized(28, 28, 3).arrays()[0]["in"][0], colours[0])
    assert np.array_equal(sized(28, 28).arrays()[0]["in"][0], np.asarray(first.convert("L")))
    small = sized(14, 21, 3)
    assert np.array_equal(
        small.arrays()[0]["in"][0], np.asarray(first.resize((21, 14), Image.Resampling.BILINEAR))
    )
    assert small.notices[0] == "images are resized to 14×21 pixels (bilinear, each side by itself)."
    assert "the pixels of 'in' are given as 0…255, since the model scales them itself." in small.notices


def test_images_of_different_sizes_need_one_to_go_to(tmp_path):
    write_images(tmp_path / "a", IMAGES[:2], [0, 1], "ab")
    write_images(tmp_path / "a", pictures(2, 40, 30), [0, 1], "cd")
    free = [TensorSpec("in", (None, None, None, 1), "float32")]

    with pytest.raises(
        InputError, match=r"is 40×30 pixels and .* is 28×28, and the model takes any size; choose"
    ):
        Data.load(tmp_path / "a").bind(free)
    inputs, _ = Data.load(tmp_path / "a", image_size="20x10").bind(free).arrays()
    assert inputs["in"].shape == (4, 20, 10, 1)


def test_train_and_val_folders_are_two_parts_with_the_same_class_numbers(tmp_path):
    write_images(tmp_path / "train", IMAGES, LABELS, "abc")
    write_images(tmp_path / "val", IMAGES[:2], np.array([2, 2]), "abc")

    data = Data.load(tmp_path)

    assert data.class_names == Data.load(tmp_path, part="test").class_names == ("a", "b", "c")
    assert data.split(calibration=3).evaluation.labels.tolist() == [2, 2]
    assert "has no part 'val'; it has train and test" in refusal(tmp_path, part="val")


def test_of_val_and_test_folders_the_test_is_taken_and_it_is_told(tmp_path):
    for part, count in (("train", 12), ("test", 6), ("val", 3)):
        write_images(tmp_path / part, IMAGES[:count], LABELS[:count], "abc")

    data = Data.load(tmp_path)

    assert len(data) == 18
    assert data.notices == (f"{tmp_path / 'val'} is left out, as {tmp_path / 'test'} is the test part.",)


def test_images_without_class_folders_have_no_labels(tmp_path):
    write_images(tmp_path, IMAGES, LABELS * 0, ["."])

    data = Data.load(tmp_path)

    assert (len(data), data.labels, data.class_names) == (12, None, ())


def test_images_outside_the_class_folders_and_empty_classes_are_told(tmp_path):
    write_images(tmp_path, IMAGES, LABELS, ["a", "b", "."])
    (tmp_path / "c").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("not an image")

    data = Data.load(tmp_path)

    assert len(data) == 8
    assert data.notices[0].startswith("4 images in ")
    assert data.notices[1] == "the class folders c hold no images; their class numbers stay."


@pytest.mark.parametrize("share", [0, 0.3, 0.8])
def test_a_truncated_png_is_refused_by_name(tmp_path, share):
    write_images(tmp_path, IMAGES, LABELS, "abc")
    path = tmp_path / "a" / "0003.png"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    assert refusal(tmp_path).startswith(f"{path} is no PNG, JPEG or BMP image or is damaged")


def test_a_file_that_only_calls_itself_an_image_is_refused(tmp_path):
    from PIL import Image

    (tmp_path / "a").mkdir()
    Image.fromarray(IMAGES[0]).save(tmp_path / "a" / "x.gif")
    (tmp_path / "a" / "x.gif").rename(tmp_path / "a" / "x.png")

    assert "is no PNG, JPEG or BMP image or is damaged (not recognised)" in refusal(tmp_path)


def test_images_of_16_bits_and_enormous_ones_are_refused(tmp_path, monkeypatch):
    from PIL import Image

    (tmp_path / "a").mkdir()
    Image.fromarray(IMAGES[0].astype(np.uint16) * 257).save(tmp_path / "a" / "x.png")
    assert "has more than 8 bits a channel" in refusal(tmp_path)

    Image.fromarray(IMAGES[0]).save(tmp_path / "a" / "x.png")
    monkeypatch.setattr("slimedge.readers.images._MOST_PIXELS", 500)
    assert "is 28×28 pixels, over the 500 that are read" in refusal(tmp_path)


def test_images_are_decoded_when_they_are_read(tmp_path, monkeypatch):
    from slimedge.readers import images

    write_images(tmp_path, IMAGES, LABELS, "abc")
    data = Data.load(tmp_path).bind(MODEL)
    decoded = []
    decode = images._decoded
    monkeypatch.setattr(
        images, "_decoded", lambda path, *rest: decoded.append(path.name) or decode(path, *rest)
    )

    batches = data.batches(4)
    next(batches)

    assert decoded == ["0000.png", "0003.png", "0006.png", "0009.png"]


def test_of_many_images_some_are_decoded_to_check_them_first_and_last_among_them(tmp_path, monkeypatch):
    write_images(tmp_path, IMAGES, LABELS * 0, "a")
    monkeypatch.setattr("slimedge.binding._FILES_LOOKED_AT", 4)

    (tmp_path / "a" / "0005.png").write_bytes(b"")
    data = Data.load(tmp_path).bind(MODEL)
    with pytest.raises(InputError, match=r"0005\.png is no PNG"):
        data.arrays()

    (tmp_path / "a" / "0011.png").write_bytes(b"")
    assert "0011.png is no PNG" in refusal(tmp_path)


def test_a_folder_without_images_is_refused(tmp_path):
    assert "holds no images and no IDX files; give a folder with one subfolder" in refusal(tmp_path)
