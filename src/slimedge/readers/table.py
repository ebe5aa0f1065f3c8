"""A numeric CSV: a header row, numbers below it, one column of labels."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slimedge.errors import InputError
from slimedge.readers.arrays import first_line
from slimedge.source import UNNAMED_LABELS, ArraySource, Facts, Options, Source, refuse

_DEFAULT_LABELS = ("label", "y")
_DELIMITERS = ",;\t"
_LONGEST_HEADER = 2**20


class CsvReader:
    """Reads all columns but the labels' as one float32 array (n, columns)."""

    def knows(self, given: Any) -> bool:
        """Tell a CSV by its ending."""
        return isinstance(given, Path) and given.suffix.lower() == ".csv"

    def open(self, given: Path, options: Options) -> Source:
        """Read row by row; 4 bytes a number."""
        refuse(options, str(given), "part")
        try:
            with given.open(encoding="utf-8-sig", newline="") as file:
                header = file.readline(_LONGEST_HEADER)
                if len(header) == _LONGEST_HEADER:
                    raise InputError(f"{given} has a first line of over a million characters; it is no CSV.")
                file.seek(0)
                delimiter = max(_DELIMITERS, key=header.count)
                return _table(given, csv.reader(file, delimiter=delimiter), options)
        except UnicodeDecodeError as error:
            raise InputError(f"{given} is not UTF-8 text; save it as CSV in UTF-8.") from error
        except csv.Error as error:
            raise InputError(f"{given} is no CSV ({first_line(error)}); save it as CSV in UTF-8.") from error
        except OSError as error:
            raise InputError(f"{given} cannot be read: {(error.strerror or str(error)).lower()}.") from error


def _table(path: Path, rows: Iterator[list[str]], options: Options) -> Source:
    header = [name.strip() for name in next(rows, [])]
    labels_at = _label_column(path, header, options.labels)
    features, labels = array("f"), array("d")
    whole = True
    number = 1
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        if len(row) != len(header):
            raise InputError(
                f"row {number} of {path} has {len(row)} cells and the header has {len(header)}; give every "
                "row one cell a column."
            )
        try:
            numbers = [float(cell) for cell in row]
        except ValueError:
            raise _not_a_number(path, number, header, row) from None
        if labels_at is not None:
            labels.append(numbers.pop(labels_at))
            whole = whole and row[labels_at].strip().lstrip("+-").isdecimal()
        features.extend(numbers)
    width = len(header) - (labels_at is not None)
    if width == 0:
        raise InputError(
            f"{path} has only the label column '{header[0]}'; give the inputs in columns beside it."
        )
    inputs = np.frombuffer(features, np.float32) if features else np.empty(0, np.float32)
    targets = np.asarray(labels, np.int64 if whole else np.float32)
    notice = (
        f"{path.name} has no column '{_DEFAULT_LABELS[0]}' or '{_DEFAULT_LABELS[1]}', so all its columns are "
        "inputs and there are no labels; --label-column names one (labels= in Python)."
    )
    return ArraySource(
        {options.name: inputs.reshape(-1, width)},
        Facts(
            labels={} if labels_at is None else {UNNAMED_LABELS: targets},
            notices=(notice,) if labels_at is None else (),
        ),
        origin=str(path),
    )


def _label_column(path: Path, header: Sequence[str], wanted: str | None) -> int | None:
    if not header:
        raise InputError(
            f"{path} is empty; give a header row with the columns' names, then one row an example."
        )
    if all(_is_number(name) for name in header):
        raise InputError(
            f"the first row of {path} holds numbers; put a header row with the columns' names above it."
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(f"{path} has two columns '{twice[0]}'; give each column its own name.")
    if wanted is None:
        return next((header.index(name) for name in _DEFAULT_LABELS if name in header), None)
    if wanted not in header:
        raise InputError(
            f"{path} has no column '{wanted}'; its columns are {', '.join(header[:20])}"
            f"{', …' if len(header) > 20 else ''}: name one of these with --label-column (labels= in Python)."
        )
    return header.index(wanted)


def _not_a_number(path: Path, number: int, header: Sequence[str], row: Sequence[str]) -> InputError:
    column, cell = next((c, v) for c, v in zip(header, row, strict=True) if not _is_number(v))
    found = f"'{cell[:40]}', which is no number" if cell.strip() else "empty"
    return InputError(
        f"row {number}, column '{column}' of {path} is {found}; give numbers only: number classes from 0, "
        "and leave out incomplete rows."
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
