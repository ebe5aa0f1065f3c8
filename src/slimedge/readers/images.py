"""A folder of images, one subfolder a class; each file is decoded when its example is read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from slimedge.errors import InputError
from slimedge.readers.arrays import first_line
from slimedge.source import UNNAMED_LABELS, Array, Column, Facts, Indices, Options, Source, refuse

if TYPE_CHECKING:
    from PIL.Image import Image

_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp"})
_FORMATS = ("PNG", "JPEG", "BMP")
_PARTS = {"train": "train", "training": "train", "test": "test", "validation": "test", "val": "test"}
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_MOST_PIXELS = 2**26
_DEEP_MODES = ("I", "F")
"""Pillow's modes of more than 8 bits a channel (`I`, `I;16`, `F`)."""


class ImageReader:
    """Reads PNG, JPEG and BMP; the subfolders' sorted names are the classes.

    Folders `train` and `test` (or `val`) that hold the class folders become the parts. A folder of
    images without subfolders has no labels.
    """

    def knows(self, given: Any) -> bool:
        """Tell a folder; what is in it is seen on opening."""
        return isinstance(given, Path) and given.is_dir()

    def open(self, given: Path, options: Options) -> Source:
        """List the files; none is decoded yet."""
        refuse(options, str(given), "labels")
        folders = sorted(path for path in given.iterdir() if path.is_dir() and not path.name.startswith("."))
        if folders and all(folder.name.lower() in _PARTS and _has_folders(folder) for folder in folders):
            return _parts(given, {folder.name.lower(): folder for folder in folders}, options)
        if options.part is not None:
            raise InputError(
                f"{given} has no parts; put the class folders into folders 'train' and 'test', or leave "
                "part= out."
            )
        return _folders(given, {"": given}, options)


def _has_folders(folder: Path) -> bool:
    return any(path.is_dir() for path in folder.iterdir())


def _parts(origin: Path, folders: dict[str, Path], options: Options) -> Source:
    """Read the folders as train and test; of `test` and `val` beside each other, `test`."""
    halves: dict[str, Path] = {}
    left_out = []
    for name, part in _PARTS.items():
        if name in folders and part in halves:
            left_out.append(f"{folders[name]} is left out, as {halves[part]} is the {part} part.")
        elif name in folders:
            halves[part] = folders[name]
    return _folders(origin, halves, options, tuple(left_out))


def _folders(
    origin: Path, halves: dict[str, Path], options: Options, notices: tuple[str, ...] = ()
) -> Source:
    if options.part is not None and options.part not in halves:
        raise InputError(
            f"{origin} has no part '{options.part}'; it has {' and '.join(halves)}: choose one of them, or "
            "leave part= out to use all."
        )
    wanted = {part: folder for part, folder in halves.items() if options.part in {None, part}}
    # Of all parts, so that a class has one number in each.
    classes = sorted(
        {
            path.name
            for folder in halves.values()
            for path in folder.iterdir()
            if path.is_dir() and not path.name.startswith(".")
        }
    )
    paths: list[Path] = []
    labels: list[int] = []
    parts: dict[str, range] = {}
    for part, folder in wanted.items():
        start = len(paths)
        for index, name in enumerate(classes):
            found = list(_images(folder / name))
            paths += found
            labels += [index] * len(found)
        parts[part] = range(start, len(paths))
    told = list(notices)
    loose = [path for path in sorted(origin.iterdir()) if _is_image(path)]
    if not paths:
        paths, labels, classes = loose, [], []
    elif loose:
        told.append(f"{len(loose):,} images in {origin} itself are left out: they lie in no class folder.")
    if not paths:
        raise InputError(
            f"{origin} holds no images and no IDX files; give a folder with one subfolder of .png, .jpg or "
            ".bmp files a class, or one of IDX files as train-images-idx3-ubyte.gz."
        )
    counts = np.bincount(labels, minlength=len(classes))
    empty = [name for name, count in zip(classes, counts, strict=False) if count == 0]
    if empty:
        told.append(f"the class folders {', '.join(empty)} hold no images; their class numbers stay.")
    facts = Facts(
        labels={UNNAMED_LABELS: np.asarray(labels, np.int64)} if labels else {},
        class_names=tuple(classes),
        parts=parts if "" not in parts else {},
        pixel_bytes=True,
        notices=tuple(told),
    )
    return ImageSource(tuple(paths), facts, name=options.name, size=options.image_size)


def _images(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders.sort()
        yield from (path for name in sorted(names) if _is_image(path := Path(where, name)))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _ENDINGS and not path.name.startswith(".") and path.is_file()


class ImageSource(Source):
    """Image files, decoded when they are read.

    Args:
        paths: one file an example.
        facts: labels and class names.
        name: of the one input.
        size: height and width to resize to; None for the files' own.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA); None for the first file's own.
    """

    lazy: ClassVar[bool] = True

    def __init__(
        self,
        paths: Sequence[Path],
        facts: Facts,
        *,
        name: str,
        size: tuple[int, int] | None = None,
        channels: int | None = None,
    ) -> None:
        with _opened(paths[0]) as first:
            own_channels = len(first.getbands()) if first.mode in _MODES.values() else 3
            own = (first.height, first.width)
        self._channels = own_channels if channels is None else channels
        self._paths = tuple(paths)
        self._name = name
        self._size = size
        shape = (*(size or own), self._channels)
        super().__init__({name: Column(shape, np.dtype(np.uint8))}, facts)

    def __len__(self) -> int:
        return len(self._paths)

    def shaped(self, shape: Sequence[int | None]) -> Source:
        """Give the images in a model's height, width and channels; a shape of two axes means grey ones."""
        if len(shape) not in {2, 3}:
            return self
        channels = shape[2] if len(shape) == 3 else 1
        if channels not in {*_MODES, None}:
            return self
        height, width = shape[:2]
        size = self._size if height is None or width is None else (height, width)
        facts = self.facts
        own = self.columns[self._name].shape[:2]
        if size is not None and size != own:
            notice = f"images are resized to {size[0]}×{size[1]} pixels (bilinear, each side by itself)."
            facts = replace(facts, notices=(*facts.notices, notice))
        return ImageSource(self._paths, facts, name=self._name, size=size, channels=channels)

    def read(self, indices: Indices) -> dict[str, Array]:
        """Decode these files.

        Raises:
            InputError: a file is damaged, or the files differ in size and no size was asked for.
        """
        images = np.empty((len(indices), *self.columns[self._name].shape), np.uint8)
        for row, index in enumerate(indices):
            image = _decoded(self._paths[index], self._channels, self._size)
            if image.shape != images.shape[1:]:
                raise InputError(
                    f"{self._paths[index]} is {image.shape[0]}×{image.shape[1]} pixels and {self._paths[0]} "
                    f"is {images.shape[1]}×{images.shape[2]}, and the model takes any size; choose one with "
                    "--image-size 224x224 (image_size=(224, 224) in Python)."
                )
            images[row] = image
        return {self._name: images}

    def content(self, indices: Indices) -> Iterator[bytes]:
        """Give the files' bytes."""
        for index in indices:
            try:
                yield self._paths[index].read_bytes()
            except OSError as error:
                raise _unreadable(self._paths[index], error) from error


def _decoded(path: Path, channels: int, size: tuple[int, int] | None) -> Array:
    """Give the pixels (height, width, channels) in 0…255."""
    from PIL import Image

    with _opened(path) as image:
        try:
            pixels = image.convert(_MODES[channels])
        except Exception as error:  # a damaged file makes Pillow raise almost anything
            raise _unreadable(path, error) from error
        if size is not None and pixels.size != size[::-1]:
            pixels = pixels.resize(size[::-1], Image.Resampling.BILINEAR)
        return np.asarray(pixels, np.uint8).reshape(pixels.height, pixels.width, channels)


def _opened(path: Path) -> Image:
    """Open an image file; only its header is read.

    Raises:
        InputError: it is no such image, has more than 8 bits a channel, or is enormous.
    """
    from PIL import Image

    try:
        image = Image.open(path, formats=_FORMATS)
    except Exception as error:  # a damaged file makes Pillow raise almost anything
        raise _unreadable(path, error) from error
    if image.width * image.height > _MOST_PIXELS:
        image.close()
        raise InputError(
            f"{path} is {image.width}×{image.height} pixels, over the {_MOST_PIXELS:,} that are read; give "
            "smaller images."
        )
    if image.mode.startswith(_DEEP_MODES):
        image.close()
        raise InputError(f"{path} has more than 8 bits a channel ({image.mode}); save it with 8 bits.")
    return image


def _unreadable(path: Path, error: BaseException) -> InputError:
    return InputError(
        f"{path} is no PNG, JPEG or BMP image or is damaged ({_reason(error)}); replace it or take it out."
    )


def _reason(error: BaseException) -> str:
    # Pillow's own "cannot identify image file '<path>'" would say the path twice.
    return "not recognised" if "identify" in str(error) else first_line(error)
