"""Data readers: each knows its kind of source and opens it; a new one is one file and one line here."""

from __future__ import annotations

import os
from typing import Any, Protocol

from slimedge.errors import InputError
from slimedge.registry import Registry
from slimedge.source import Options, Source

READERS = Registry(
    "data reader",
    {
        "function": "slimedge.readers.function:FunctionReader",
        "npz": "slimedge.readers.npz:NpzReader",
        "idx": "slimedge.readers.idx:IdxReader",
        "csv": "slimedge.readers.table:CsvReader",
        "images": "slimedge.readers.images:ImageReader",
        "tf.data": "slimedge.readers.tf_dataset:DatasetReader",
        "arrays": "slimedge.readers.arrays:ArraysReader",
    },
)
"""In the order in which they are asked; the first that knows the source opens it."""

ALLOWED = (
    "an .npz file, an IDX folder (the MNIST files), an image folder with one subfolder a class, a .csv file, "
    "module:function, or in Python arrays, (x, y), a dict of arrays or a tf.data.Dataset"
)
"""What a message lists when no reader knows the source."""


class Reader(Protocol):
    """Opens one kind of source."""

    def knows(self, given: Any) -> bool:
        """Tell whether this is a source of its kind; opens nothing larger than a folder's list."""

    def open(self, given: Any, options: Options) -> Source:
        """Open a source that it knows.

        Raises:
            InputError: the source is damaged, or not what its name promises.
        """


def open_source(given: Any, options: Options) -> Source:
    """Open what the user gave with the first reader that knows it.

    Args:
        given: a path, `module:function`, or a Python object.
        options: what the user said about it.

    Raises:
        InputError: nothing is there, no reader knows it, or it cannot be read.
    """
    for name in READERS:
        reader: Reader = READERS[name]()
        if reader.knows(given):
            return reader.open(given, options)
    shown = given if isinstance(given, str | os.PathLike) else f"an object of type {type(given).__name__}"
    raise InputError(f"data cannot be read from {shown}; give {ALLOWED}.")
