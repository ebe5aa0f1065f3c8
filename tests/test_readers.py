"""Every reader gives the same examples for the same pictures, and refuses a damaged source in one sentence."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pictures import classes, idx, pictures, write_idx, write_images

from slimedge import spool
from slimedge.artifact import TensorSpec
from slimedge.data import Data
from slimedge.errors import InputError
from slimedge.readers import READERS

IMAGES, LABELS = pictures(12), classes(12)
MODEL = [TensorSpec("image", (None, 28, 28, 1), "float32")]


def bound(source, options) -> Data:
    data = Data.load(source, **options)
    shape = data.source.columns[data.input_names[0]].shape
    return data.bind([TensorSpec("in", (None, *shape), "float32")])


def refusal(source, **options) -> str:
    """Give the message with which a source is refused; it is one sentence."""
    with pytest.raises(InputError) as caught:
        bound(source, options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


# ---- the contract ----


def as_npz(folder: Path):
    np.savez_compressed(folder / "a.npz", image=IMAGES, y=LABELS)
    return folder / "a.npz", {"scale": "1/255"}


def as_idx(folder: Path):
    return write_idx(folder / "idx", "train", IMAGES, LABELS), {}


def as_plain_idx(folder: Path):
    return write_idx(folder / "idx", "t10k", IMAGES, LABELS, packed=False), {}


def as_csv(folder: Path):
    lines = [",".join(map(str, [*row.ravel(), label])) for row, label in zip(IMAGES, LABELS, strict=True)]
    header = ",".join([*(f"p{i}" for i in range(784)), "label"])
    (folder / "a.csv").write_text("\n".join([header, *lines]))
    return folder / "a.csv", {"scale": 1 / 255}


def as_function(folder: Path):
    (folder / "my_pictures.py").write_text(
        "from pictures import classes, pictures\ndef give():\n    return pictures(12), classes(12)\n"
    )
    return "my_pictures:give", {"scale": 1 / 255}


def as_pair(_: Path):
    return (IMAGES, LABELS), {"scale": 1 / 255}


def as_dict(_: Path):
    return {"image": IMAGES.astype(np.float32) / 255, "y": LABELS}, {}


def as_dataset(_: Path):
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(5), {"scale": 1 / 255}


WAYS = [as_npz, as_idx, as_plain_idx, as_csv, as_function, as_pair, as_dict, as_dataset]


@pytest.mark.parametrize("way", WAYS)
def test_every_reader_gives_the_same_pictures(way, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = [TensorSpec("image", (None, 784), "float32")] if way is as_csv else MODEL
    source, options = way(tmp_path)

    inputs, labels = Data.load(source, **options).bind(model).arrays()

    assert np.array_equal(inputs["image"].reshape(12, 28, 28), IMAGES.astype(np.float32) / 255)
    assert labels.tolist() == LABELS.tolist()
    assert labels.dtype == np.int64


def test_every_registered_reader_is_there():
    for name, reader in READERS.items():
        assert not reader().knows(object()), name


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.npz", "there is no nowhere.npz; give an .npz file, an IDX folder"),
        (3, "data cannot be read from an object of type int; give an .npz file"),
        ([[1, 2], [3]], "'x' is a list that does not make one array"),
        ((1, 2, 3), "the data is a tuple of 3, and a tuple is read as (inputs, labels)"),
        ({"y": np.zeros(3)}, "the data holds no inputs, only labels"),
        ({"a": np.zeros((3, 1)), "b": np.zeros((4, 1))}, "the inputs of the data differ in their number"),
        ((np.zeros((3, 1)), np.zeros(4)), "the data has 3 examples and 4 labels"),
        (np.float32(1), "'x' of the data is a single number"),
    ],
)
def test_what_is_no_data_is_refused(source, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refusal(source).startswith(message)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("hello")

    assert "cannot be read from" in refusal(tmp_path / "a.txt")


def test_an_option_that_says_nothing_is_refused_rather_than_ignored(tmp_path):
    write_idx(tmp_path, "train", IMAGES, LABELS)

    assert refusal(tmp_path, labels="y").startswith("labels='y' does not go with")
    assert refusal(IMAGES, part="train").startswith("part='train' does not go with the data")
    assert refusal(IMAGES, image_size="big").startswith(
        "image_size='big' is not allowed; give height and width"
    )
    assert refusal(IMAGES, limit=0).startswith("limit=0 is not allowed")


# ---- npz ----


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


# ---- IDX ----


def test_train_and_t10k_are_two_parts(tmp_path):
    write_idx(tmp_path, "train", IMAGES, LABELS)
    write_idx(tmp_path, "t10k", IMAGES[:5], LABELS[:5])

    splits = Data.load(tmp_path).split(calibration=4)

    assert (len(splits.calibration), len(splits.training), len(splits.evaluation)) == (4, 8, 5)
    assert np.array_equal(splits.evaluation.arrays()[0]["x"], IMAGES[:5])
    assert len(Data.load(tmp_path, part="train")) == 12


HEAD = struct.pack(">4B3I", 0, 0, 8, 3, 12, 28, 28)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is no IDX file: it does not begin with the magic number"),
        (b"hello, world", "is no IDX file: it does not begin with the magic number"),
        (HEAD[:9], "is cut short within its header"),
        (HEAD + IMAGES.tobytes()[:-1], "it promises 9,408 bytes of data and holds 9,407"),
        (HEAD + IMAGES.tobytes() + b"!", "holds more than the 9,408 bytes that its header promises"),
        (struct.pack(">4B3I", 0, 0, 8, 3, 2**31, 2**15, 28), "bytes of data, and"),
        (
            struct.pack(">4B3I", 0, 0, 0x0D, 3, 1, 1, 1),
            "holds numbers of IDX type 0x0d, and only unsigned bytes",
        ),
        (idx(LABELS.astype(np.uint8)), "has 1 axes, and images have 3"),
    ],
)
def test_a_damaged_idx_file_is_refused(tmp_path, body, message):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(body))

    assert message in refusal(tmp_path)


def test_a_gzip_bomb_is_read_no_further_than_its_header_promises(tmp_path, monkeypatch):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(HEAD + bytes(20_000_000)))
    taken = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, n: taken.append(n) or read(self, n))

    assert "holds more than the 9,408 bytes" in refusal(tmp_path)
    assert sum(taken) < 10_000


@pytest.mark.parametrize("share", [0.25, 0.9])
def test_a_truncated_gzip_is_refused(tmp_path, share):
    packed = gzip.compress(HEAD + IMAGES.tobytes())
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(packed[: int(share * len(packed))])

    assert "is damaged or cut short" in refusal(tmp_path)


def test_a_plain_idx_file_whose_length_is_not_what_it_says_is_refused(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(HEAD + IMAGES.tobytes()[:-5])

    assert "its header promises 9,408 bytes and there are 9,403" in refusal(tmp_path)


def test_idx_labels_that_do_not_count_the_images_are_refused(tmp_path):
    write_idx(tmp_path, "train", IMAGES, LABELS[:-1])

    assert "has 12 examples and 11 labels" in refusal(tmp_path)


def test_two_data_sets_in_one_folder_are_refused(tmp_path):
    write_idx(tmp_path, "emnist-letters-train", IMAGES, LABELS)
    write_idx(tmp_path, "emnist-digits-train", IMAGES, LABELS)

    assert "holds 2 data sets (emnist-digits-, emnist-letters-)" in refusal(tmp_path)


# ---- image folders ----


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


# ---- CSV ----


def test_a_csv_takes_the_label_column_asked_for(tmp_path):
    (tmp_path / "a.csv").write_text("\ufeffkind;a;b\n2;0.5;1e1\n0;-1;4\n\n", encoding="utf-8")

    inputs, labels = Data.load(tmp_path / "a.csv", labels="kind").arrays()

    assert inputs["x"].tolist() == [[0.5, 10], [-1, 4]]
    assert inputs["x"].dtype == np.float32
    assert labels.tolist() == [2, 0]


def test_fractions_in_a_csv_s_label_column_are_targets(tmp_path):
    (tmp_path / "a.csv").write_text("a,y\n1,0.5\n2,1\n")

    assert Data.load(tmp_path / "a.csv").labels.dtype == np.float32


def test_a_csv_without_a_label_column_is_all_inputs_and_says_so(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3,4\n")

    data = Data.load(tmp_path / "a.csv")

    assert data.labels is None
    assert data.notices == (
        (
            "a.csv has no column 'label' or 'y', so all its columns are inputs and there are no labels; "
            "--label-column names one (labels= in Python)."
        ),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; give a header row"),
        ("1,2,3\n4,5,6\n", "holds numbers; put a header row with the columns' names above it"),
        ("a,b,y\n1,2,0\n3,cat,1\n", "row 3, column 'b' of"),
        ("a,b,y\n1,2,0\n3,cat,1\n", "is 'cat', which is no number"),
        ("a,b,y\n1,2,0\n3,,1\n", "is empty; give numbers only"),
        ("a,b,y\n1,2,0\n3,1\n", "row 3 of"),
        ("a,b,y\n1,2,0\n3,1\n", "has 2 cells and the header has 3"),
        ("a,a,y\n1,2,0\n", "has two columns 'a'"),
        ("y\n1\n", "has only the label column 'y'"),
        ("a,y\n", "the data holds no examples"),
        (b"a,y\n\xff\xfe,1\n", "is not UTF-8 text"),
        ("a" * 2**21, "has a first line of over a million characters"),
        (
            "a,y\nnan,1\n2,0\n",
            "input 'in' holds NaN or infinity in 1 of 2 examples looked at, first in example 0",
        ),
    ],
)
def test_a_csv_with_a_mistake_says_where(tmp_path, text, message):
    (tmp_path / "a.csv").write_bytes(text if isinstance(text, bytes) else text.encode())

    assert message in refusal(tmp_path / "a.csv")


def test_a_label_column_that_is_not_there_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")

    assert "has no column 'kind'; its columns are a, b: name one of these with --label-column" in refusal(
        tmp_path / "a.csv", labels="kind"
    )


# ---- module:function ----


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def give(): return 1 / 0", "failed with ZeroDivisionError: division by zero; it is called without"),
        (
            "def give(n): return n",
            "failed with TypeError: give() missing 1 required positional argument: 'n'",
        ),
        ("def give(): raise SystemExit('bye')", "failed with SystemExit: bye"),
        ("def give(): pass", "gave None; return arrays"),
        ("def give(): return 'a.npz'", "gave 'a.npz'; return arrays"),
        ("give = 3", "is of type int; name a function"),
        ("def given(): pass", "has no function 'give'; did you mean 'given'"),
        ("def give(:", "failed with SyntaxError"),
        (
            "import no_such_thing_at_all",
            "failed with ModuleNotFoundError: No module named 'no_such_thing_at_all'",
        ),
        ("def give(): raise ValueError('one\\ntwo')", "failed with ValueError: one; it is called"),
    ],
)
def test_a_function_s_mistakes_become_one_sentence(tmp_path, monkeypatch, body, message):
    name = f"given_{abs(hash(body))}"
    (tmp_path / f"{name}.py").write_text(body)
    monkeypatch.chdir(tmp_path)

    assert message in refusal(f"{name}:give")


def test_a_module_that_is_not_there_says_where_to_run():
    assert refusal("no_such_module:give").startswith(
        "there is no module 'no_such_module' for no_such_module:give; run in the folder that holds"
    )


def test_the_current_folder_does_not_stay_on_the_path(tmp_path, monkeypatch):
    import sys

    before = list(sys.path)
    monkeypatch.chdir(tmp_path)
    Data.load(as_function(tmp_path)[0])

    assert sys.path == before


# ---- tf.data ----


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


@pytest.fixture
def pairs(tf):
    return tf.data.Dataset.from_tensor_slices((IMAGES[..., np.newaxis], LABELS))


def test_whether_a_dataset_is_batched_is_found_out(pairs):
    for dataset in (pairs, pairs.batch(5), pairs.batch(4, drop_remainder=True)):
        inputs, labels = Data.load(dataset).arrays()
        assert np.array_equal(inputs["x"][..., 0], IMAGES)
        assert labels.tolist() == LABELS.tolist()
    alone = pairs.map(lambda image, _: image)
    for dataset in (alone, alone.batch(5), alone.batch(4, drop_remainder=True)):
        assert Data.load(dataset).arrays()[0]["x"].shape == (12, 28, 28, 1)
    table = pairs.map(lambda image, label: (image[0, :3, 0], label)).batch(4, drop_remainder=True)
    assert len(Data.load(table)) == 12


def test_an_example_of_unknown_height_is_no_batch(tf):
    spec = (tf.TensorSpec((None, 28, 1), tf.uint8), tf.TensorSpec((3,), tf.float32))
    examples = zip(IMAGES[..., np.newaxis], np.eye(3, dtype=np.float32)[LABELS], strict=True)
    dataset = tf.data.Dataset.from_generator(lambda: examples, output_signature=spec)

    inputs, labels = Data.load(dataset).arrays()

    assert np.array_equal(inputs["x"][..., 0], IMAGES)
    assert labels.tolist() == LABELS.tolist()


def test_a_dataset_that_shuffles_anew_is_read_once(pairs):
    data = Data.load(pairs.shuffle(12, reshuffle_each_iteration=True).batch(4))

    first, _ = data.arrays()
    second, labels = data.arrays()

    assert np.array_equal(first["x"], second["x"])
    order = [int(np.flatnonzero((image[..., 0] == IMAGES).all(axis=(1, 2)))[0]) for image in first["x"]]
    assert sorted(order) == list(range(12))
    assert labels.tolist() == LABELS[order].tolist()


def test_a_dataset_of_named_inputs_and_outputs_keeps_the_names(pairs):
    named = pairs.map(lambda image, label: ({"image": image, "row": image[0, :, 0]}, {"kind": label})).batch(
        5
    )

    data = Data.load(named)

    assert data.input_names == ("image", "row")
    assert data.targets["kind"].tolist() == LABELS.tolist()


def test_an_endless_dataset_needs_a_limit(pairs):
    assert "repeats for ever; take .repeat() out, or say how many" in refusal(pairs.repeat())
    data = Data.load(pairs.repeat(), limit=20)
    assert len(data) == 20
    assert data.notices == (
        "the tf.data.Dataset goes on; its first 20 examples are used (limit= takes another number).",
    )


def test_a_dataset_of_unknown_length_is_capped_and_says_so(pairs, monkeypatch):
    unknown = pairs.filter(lambda _, label: label < 2)
    assert len(Data.load(unknown.batch(3))) == 8
    assert Data.load(unknown.batch(3)).notices == ()

    monkeypatch.setattr("slimedge.readers.tf_dataset.DEFAULT_LIMIT", 5)
    capped = Data.load(unknown.batch(3))
    assert len(capped) == 5
    assert "its first 5 examples are used" in capped.notices[0]


def test_a_dataset_s_mistakes_become_one_sentence(tf, pairs):
    def broken():
        yield np.zeros(3, np.float32)
        raise ValueError("the disk is on fire")

    def ragged():
        yield np.zeros((2, 3), np.float32)
        yield np.zeros((4, 3), np.float32)

    some = tf.data.Dataset
    shape = tf.TensorSpec((None, 3), tf.float32)
    assert (
        "failed while it was read, with InvalidArgumentError: ValueError: the disk is on fire; make"
        in refusal(some.from_generator(broken, output_signature=tf.TensorSpec(3, tf.float32)))
    )
    assert "with InvalidArgumentError: Cannot batch tensors with different shapes" in refusal(
        some.from_generator(ragged, output_signature=shape), batched=False
    )
    assert "does not tell its shapes" in refusal(
        some.from_generator(ragged, output_signature=tf.TensorSpec(None, tf.float32))
    )
    assert "is of type string; map it to numbers" in refusal(some.from_tensor_slices(["a"]))
    assert "is a RaggedTensorSpec, and dense tensors" in refusal(
        some.from_tensor_slices(tf.ragged.constant([[1], [2, 3]]))
    )
    assert "gives tuples of 3" in refusal(pairs.map(lambda image, label: (image, label, label)))
    assert "the data holds no examples" in refusal(pairs.take(0))
