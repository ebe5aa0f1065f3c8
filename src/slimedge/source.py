"""Examples that are read when they are asked for: what every data reader gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slimedge.errors import InputError

Array: TypeAlias = NDArray[Any]
Indices: TypeAlias = NDArray[np.int64]

UNNAMED = "x"
"""The name of an array that came without one; it fits any model with a single input."""

UNNAMED_LABELS = ""
"""The key of labels that came without an output's name."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user may say about a source; a reader uses those that concern it.

    Attributes:
        labels: name of the array or column that holds the labels; None for the reader's default.
        name: input name for an array that came without one.
        part: `train` or `test`, where a source has both and only one is wanted.
        image_size: height and width for a model that takes images of any size.
        batched: whether a tf.data.Dataset gives batches, where its element_spec leaves that open.
        limit: at most so many examples are taken from a stream of unknown length.
    """

    labels: str | None = None
    name: str = UNNAMED
    part: str | None = None
    image_size: tuple[int, int] | None = None
    batched: bool | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """One array of a source.

    Attributes:
        shape: of one example.
        dtype: of the elements.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a source knows besides its inputs.

    Attributes:
        labels: raw labels by output name, one row an example; `UNNAMED_LABELS` for labels without a name.
        class_names: names of the classes in order; empty when the source has none.
        parts: rows of the named parts (`train`, `test`); empty when there are none.
        pixel_bytes: whether the format itself says that these are pixels in 0…255.
        notices: things the user should be told, one sentence each.
    """

    labels: Mapping[str, Array] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    parts: Mapping[str, range] = field(default_factory=dict)
    pixel_bytes: bool = False
    notices: tuple[str, ...] = ()


_NO_FACTS = Facts()


class Source(ABC):
    """Examples by row, read on demand; what it holds never changes.

    Args:
        columns: the arrays by name.
        facts: labels, class names, parts.
    """

    lazy: ClassVar[bool] = False
    """Whether reading a row is costly: a file is opened and decoded."""

    def __init__(self, columns: Mapping[str, Column], facts: Facts) -> None:
        self.columns = columns
        self.facts = facts

    @abstractmethod
    def __len__(self) -> int:
        """Give the number of examples."""

    @abstractmethod
    def read(self, indices: Indices) -> dict[str, Array]:
        """Give new arrays with these rows, in this order, by name."""

    def shaped(self, shape: Sequence[int | None]) -> Source:
        """Give the source that reads in a model's shape, where the reader has a choice.

        Args:
            shape: one example's shape as the model takes it.
        """
        del shape
        return self

    def content(self, indices: Indices) -> Iterator[bytes]:
        """Give what identifies these rows without decoding them; only for lazy sources."""
        raise NotImplementedError(f"{type(self).__name__} is read in full, for {len(indices)} rows.")


class ArraySource(Source):
    """Arrays in memory or mapped from a file, one row an example.

    Args:
        arrays: by input name, each (n, …).
        facts: labels and the like.
        origin: what they come from, for messages.

    Raises:
        InputError: no arrays, arrays without rows, arrays or labels of different length.
    """

    def __init__(self, arrays: Mapping[str, Array], facts: Facts = _NO_FACTS, *, origin: str) -> None:
        super().__init__(
            {name: Column(array.shape[1:], array.dtype) for name, array in arrays.items()}, facts
        )
        self._arrays = dict(arrays)
        if not arrays:
            raise InputError(f"{origin} holds no inputs, only labels; give at least one array beside them.")
        for name, array in arrays.items():
            if array.ndim == 0:
                raise InputError(
                    f"'{name}' of {origin} is a single number; give an array with one row an example, (n, …)."
                )
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"'{name}' has {n:,}" for name, n in lengths.items())
            raise InputError(
                f"the inputs of {origin} differ in their number of examples: {listed}; give each one row "
                "an example."
            )
        for name, labels in facts.labels.items():
            of = f" of output '{name}'" if name else ""
            if labels.ndim == 0 or len(labels) != len(self):
                count = "1" if labels.ndim == 0 else f"{len(labels):,}"
                raise InputError(
                    f"{origin} has {len(self):,} examples and {count} labels{of}; give one label an example."
                )

    def __len__(self) -> int:
        return len(next(iter(self._arrays.values())))

    def read(self, indices: Indices) -> dict[str, Array]:
        """Give copies of these rows."""
        return {name: np.asarray(array[indices]) for name, array in self._arrays.items()}


class JoinedSource(Source):
    """Named parts one after the other, as `train` and `test` of a data set.

    Args:
        parts: eager sources by the part's name.

    Raises:
        InputError: the parts differ in their inputs, shapes or types.
    """

    def __init__(self, parts: Mapping[str, Source]) -> None:
        (first_name, first), *others = parts.items()
        for name, part in others:
            if dict(part.columns) != dict(first.columns):
                raise InputError(
                    f"the parts '{first_name}' and '{name}' do not go together: {_listed(first)} "
                    f"against {_listed(part)}; give both the same inputs, shapes and types."
                )
            if part.facts.labels.keys() != first.facts.labels.keys():
                raise InputError(
                    f"only one of the parts '{first_name}' and '{name}' has labels; give both of them "
                    "labels, or load the one part that is wanted (part=)."
                )
        self._sources = tuple(parts.values())
        starts = np.cumsum([0, *(len(source) for source in self._sources)]).tolist()
        super().__init__(
            first.columns,
            replace(
                first.facts,
                labels={
                    name: np.concatenate([source.facts.labels[name] for source in self._sources])
                    for name in first.facts.labels
                },
                parts={
                    name: range(start, stop)
                    for name, start, stop in zip(parts, starts[:-1], starts[1:], strict=True)
                },
                notices=tuple(dict.fromkeys(n for source in self._sources for n in source.facts.notices)),
            ),
        )

    def __len__(self) -> int:
        return sum(len(source) for source in self._sources)

    def read(self, indices: Indices) -> dict[str, Array]:
        """Give the rows in the order asked for, whichever part holds them."""
        rows = {
            name: np.empty((len(indices), *column.shape), column.dtype)
            for name, column in self.columns.items()
        }
        start = 0
        for source in self._sources:
            inside = (indices >= start) & (indices < start + len(source))
            for name, array in source.read(indices[inside] - start).items():
                rows[name][inside] = array
            start += len(source)
        return rows


def join(parts: Mapping[str, Source], wanted: str | None, origin: str) -> Source:
    """Give the part that is wanted, or all of them as one source.

    Args:
        parts: by name; at least one.
        wanted: a part's name, or None for all.
        origin: what the user gave, for the message.

    Raises:
        InputError: there is no such part.
    """
    if wanted is None:
        return next(iter(parts.values())) if len(parts) == 1 else JoinedSource(parts)
    if wanted not in parts:
        raise InputError(
            f"{origin} has no part '{wanted}'; it has {' and '.join(parts)}: choose one of them, or leave "
            "part= out to use all."
        )
    return parts[wanted]


def refuse(options: Options, origin: str, *names: str) -> None:
    """Refuse options that say nothing about a source, rather than ignore them.

    Args:
        options: what the user said.
        origin: what the user gave, for the message.
        names: of the options that do not fit.

    Raises:
        InputError: one of them was set.
    """
    for name in names:
        if getattr(options, name) is not None:
            raise InputError(f"{name}={getattr(options, name)!r} does not go with {origin}; leave it out.")


def _listed(source: Source) -> str:
    return ", ".join(f"'{name}' {column.shape} {column.dtype}" for name, column in source.columns.items())
