"""Examples for a model: loaded from anywhere, split without overlap, checked against the model's inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from slimedge.artifact import TensorSpec
from slimedge.binding import Binding, Scale, bind_inputs, parse_scale, raw_inputs, unbound
from slimedge.data_arguments import (
    check_enough,
    check_lengths,
    checked_limit,
    checked_seed,
    checked_size,
    path_or_object,
)
from slimedge.errors import InputError
from slimedge.labels import check_labels, tidied
from slimedge.readers import open_source
from slimedge.readers.arrays import named_labels
from slimedge.source import UNNAMED, UNNAMED_LABELS, Array, Indices, Options, Source
from slimedge.splitting import Splits, count_of, drawing_order

Checks = Literal["strict", "types"]

CALIBRATION_EXAMPLES = 512
EVALUATION_SHARE = 0.2

_HASHED_AT_ONCE = 256
"""Rows hashed at a time; a part of the fingerprint's definition."""


@dataclass(frozen=True, eq=False, repr=False)
class Data:
    """Examples by input name, with or without labels; made with `Data.load`, and never changed.

    Attributes:
        source: where the examples are read from, when they are asked for.
        indices: (n,) the source's rows that belong to this data, in order.
        targets: labels of all the source's rows by output name, int64 classes or float32 targets.
        bindings: how the source's arrays become inputs.
        scale: as the user set it.
        notices: things the user should be told, one sentence each.

    Example:
        >>> data = Data.load((np.zeros((10, 4), np.float32), np.arange(10) % 2))
        >>> data
        Data(10 examples; x (4,) float32; 2 classes)
        >>> parts = data.split(seed=1, calibration=4, evaluation=0.2)
        >>> len(parts.calibration), len(parts.training), len(parts.evaluation)
        (4, 4, 2)
    """

    source: Source
    indices: Indices
    targets: Mapping[str, Array]
    bindings: tuple[Binding, ...]
    scale: Scale = None
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for array in (self.indices, *self.targets.values()):
            array.setflags(write=False)

    @classmethod
    def load(
        cls,
        source: Any,
        *,
        labels: Any = None,
        name: str = UNNAMED,
        scale: float | str | Mapping[str, float] | None = None,
        part: str | None = None,
        image_size: tuple[int, int] | str | None = None,
        batched: bool | None = None,
        limit: int | None = None,
    ) -> Data:
        """Open data; large files are read or decoded only when their examples are.

        Args:
            source: an `.npz` file (arrays by input name, labels `y` or `y:output`; names that all end in
                `_train` or `_test` make two parts), a folder of IDX files (MNIST), a folder with a
                subfolder of images a class, a `.csv` with a header row, `module:function`; in Python also
                an array, `(x, y)`, a dict of arrays, `((x, y), (x_test, y_test))`, or a tf.data.Dataset.
            labels: name of the array or column that holds the labels (by default `y`, in a CSV `label` or
                `y`), or the labels themselves: (n,) classes, or arrays by output name.
            name: input name for an array that came without one.
            scale: what values are multiplied with, as 1/255 or "1/255", or by input name. Pixels from
                IDX files and image folders go to 0…1 by themselves unless the model scales them.
            part: `train` or `test` to take only that part of a source that has both.
            image_size: height and width, or "224x224", for a model that takes images of any size.
            batched: whether a tf.data.Dataset gives batches, where its shapes do not tell.
            limit: take at most so many examples of a tf.data.Dataset.

        Returns:
            The data, not yet checked against a model: `bind` does that.

        Raises:
            InputError: there is nothing to read, it is damaged, or it does not fit together.
        """
        if isinstance(source, Data):
            return source
        options = Options(
            labels=labels if isinstance(labels, str) else None,
            name=name,
            part=part,
            image_size=checked_size(image_size),
            batched=batched,
            limit=checked_limit(limit),
        )
        opened = open_source(path_or_object(source), options)
        facts = opened.facts
        raw = facts.labels
        if labels is not None and not isinstance(labels, str):
            if raw:
                raise InputError("labels were given twice, in the data and as labels=; give them once.")
            raw = named_labels(labels)
            check_lengths(raw, len(opened))
        targets: dict[str, Array] = {}
        notices = list(facts.notices)
        for output, array in raw.items():
            targets[output], notice = tidied(array, output)
            notices += [notice] if notice else []
        parsed = parse_scale(scale)
        bindings = tuple(
            unbound(name, column.dtype, parsed, alone=len(opened.columns) == 1)
            for name, column in opened.columns.items()
        )
        return cls(opened, np.arange(len(opened)), targets, bindings, parsed, tuple(notices))

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        columns = self.source.columns
        inputs = (f"{b.name} {b.shape or columns[b.array].shape} {b.dtype}" for b in self.bindings)
        classes = self._classes()
        if classes is not None:
            count = len(self.class_names) or int(self.targets[UNNAMED_LABELS].max(initial=-1)) + 1
            labels = f"{count} classes"
        else:
            labels = "labels" if self.targets else "no labels"
        return f"Data({len(self):,} examples; {', '.join(inputs)}; {labels})"

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs: the source's own, or after `bind` the model's."""
        return tuple(binding.name for binding in self.bindings)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in order; empty when the source has none."""
        return self.source.facts.class_names

    @property
    def labels(self) -> Array | None:
        """Labels (n, …), int64 classes or float32 targets; None without, and where they go by output name."""
        return self.targets[UNNAMED_LABELS][self.indices] if UNNAMED_LABELS in self.targets else None

    def labels_for(self, outputs: Sequence[TensorSpec]) -> dict[str, Array]:
        """Give the labels by output name, checked against a model's outputs.

        Args:
            outputs: of the model, in Keras order.

        Returns:
            Labels (n, …) for each output that has some; empty without labels.

        Raises:
            InputError: they do not fit the outputs.
        """
        return check_labels({name: array[self.indices] for name, array in self.targets.items()}, outputs)

    def batches(self, batch_size: int) -> Iterator[tuple[dict[str, Array], Array | None]]:
        """Read the examples in order.

        Args:
            batch_size: examples at a time; the last batch may be smaller.

        Returns:
            An iterator of inputs by name, each (k, …), and `labels` (k, …) or None.

        Raises:
            InputError: a batch size under 1, or, while reading, a damaged file.

        Example:
            >>> data = Data.load(np.zeros((5, 2), np.float32))
            >>> [len(inputs["x"]) for inputs, labels in data.batches(2)]
            [2, 2, 1]
        """
        if batch_size < 1:
            raise InputError(f"batch_size={batch_size} is not allowed; give 1 or more.")
        return self._batches(batch_size)

    def _batches(self, size: int) -> Iterator[tuple[dict[str, Array], Array | None]]:
        labels = self.targets.get(UNNAMED_LABELS)
        for start in range(0, len(self), size):
            rows = self.indices[start : start + size]
            read = self.source.read(rows)
            inputs = {binding.name: binding(read[binding.array]) for binding in self.bindings}
            yield inputs, None if labels is None else labels[rows]

    def arrays(self) -> tuple[dict[str, Array], Array | None]:
        """Give all inputs by name, each (n, …), and the labels (n, …) or None; all of it in memory."""
        read = self.source.read(self.indices)
        return {binding.name: binding(read[binding.array]) for binding in self.bindings}, self.labels

    def take(self, n: float, seed: int = 0) -> Data:
        """Give n of the examples in random order, each class with its share.

        Args:
            n: a count (integer) or a fraction (float in 0…1).
            seed: the same seed gives the same examples on every machine.

        Raises:
            InputError: there are fewer.
        """
        n = count_of(n, len(self), "n")
        return self.rows(self._drawn(np.arange(len(self)), (checked_seed(seed), 0))[:n])

    def rows(self, positions: Indices) -> Data:
        """Give the examples at these positions, 0 to n - 1, in their order.

        Args:
            positions: (k,) whole numbers.

        Example:
            >>> Data.load(np.arange(5)).rows(np.array([4, 1])).arrays()[0]["x"].tolist()
            [4, 1]
        """
        return replace(self, indices=self.indices[positions])

    def with_class_names(self, names: Sequence[str]) -> Data:
        """Give the same examples with names for the classes, in order, which reports then show.

        Example:
            >>> Data.load((np.zeros((2, 3)), np.array([0, 1]))).with_class_names(["cat", "dog"]).class_names
            ('cat', 'dog')
        """
        source = copy(self.source)
        source.facts = replace(source.facts, class_names=tuple(names))
        return replace(self, source=source)

    def split(
        self,
        *,
        seed: int = 0,
        calibration: float | None = None,
        evaluation: float | None = None,
        training: float | None = None,
    ) -> Splits:
        """Divide the data so that no example is in two parts.

        Where the source has the parts train and test, calibration and training come from train and
        evaluation from test. Classes keep their shares. With the same seed a smaller evaluation lies
        within a larger one, and no evaluation meets a calibration while there are examples enough.
        Counts are integers, fractions are floats in 0…1 of the data, or of the part, to take from.

        Args:
            seed: the same seed gives the same examples on every machine.
            calibration: by default 512, or half of what evaluation leaves when that is less.
            evaluation: by default the whole test part, or 20 % where there is none.
            training: by default all the rest.

        Returns:
            Calibration and training in random order, evaluation in the source's order.

        Raises:
            InputError: together they ask for more examples than there are.
        """
        seed = checked_seed(seed)
        train, test = self._part("train"), self._part("test")
        apart = len(train) > 0 and len(test) > 0
        pool = self._drawn(train if apart else np.arange(len(self)), (seed, 1))
        held_back = self._drawn(test, (seed, 2)) if apart else pool
        if evaluation is None:
            evaluation = 1.0 if apart else EVALUATION_SHARE
        for_evaluation = held_back[: count_of(evaluation, len(held_back), "evaluation")]
        # Evaluation comes from the beginning of the order and calibration from its end, so that two runs
        # with the same seed and other counts do not calibrate on what the other one is measured on.
        rest = pool if apart else pool[len(for_evaluation) :]
        if calibration is None:
            n = min(CALIBRATION_EXAMPLES, (len(rest) + 1) // 2)
        else:
            n = count_of(calibration, len(pool), "calibration")
        check_enough(n, len(rest), "calibration", "evaluation leaves")
        rest, for_calibration = rest[: len(rest) - n], rest[len(rest) - n :]
        n = len(rest) if training is None else count_of(training, len(pool), "training")
        check_enough(n, len(rest), "training", "calibration and evaluation leave")
        return Splits(
            calibration=self.rows(for_calibration),
            training=self.rows(rest[:n]),
            evaluation=self.rows(np.sort(for_evaluation)),
        )

    def bind(
        self,
        specs: Sequence[TensorSpec],
        *,
        preprocessing: bool | Collection[str] = False,
        checks: Checks = "strict",
        outputs: Sequence[TensorSpec] = (),
    ) -> Data:
        """Fit the data to a model's inputs, and check everything that is often wrong, before any work.

        Arrays are checked in full; of image files all names and 512 decoded images are looked at, and a
        damaged one among the rest is found when it is read.

        Args:
            specs: the model's inputs, in Keras order.
            preprocessing: whether the model scales raw pixels itself, or the names of the inputs for
                which it does, as `starts_with_preprocessing` gives them.
            checks: "strict", or "types" to leave out what can only be guessed: the range of pixels, noise
                for images, and examples that are all equal.
            outputs: the model's outputs, to check the labels against; empty to leave them.

        Returns:
            Data whose inputs have the model's names, shapes and types.

        Raises:
            InputError: one sentence for each mistake: no data, a missing or unknown input, a wrong shape,
                type or range, NaN or infinity, noise, equal examples, or labels that do not fit.
        """
        if checks not in {"strict", "types"}:
            raise InputError(f"checks={checks!r} is not allowed; give 'strict' or 'types'.")
        if not len(self):
            raise InputError("the data holds no examples; give at least one, better some hundreds.")
        source, bindings, notices = bind_inputs(
            self.source,
            self.indices,
            specs,
            scale=self.scale,
            raw=raw_inputs(preprocessing, specs),
            strict=checks == "strict",
        )
        notices = tuple(dict.fromkeys((*self.notices, *notices)))
        bound = replace(self, source=source, bindings=bindings, notices=notices)
        if outputs:
            bound.labels_for(outputs)
        return bound

    @property
    def is_bound(self) -> bool:
        """Whether the data was checked against a model's inputs and fitted to them."""
        return all(binding.shape is not None for binding in self.bindings)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of names, values and labels that this data gives; of image files, their bytes."""
        digest = hashlib.sha256()
        for piece in self._content():
            digest.update(piece)
        return digest.hexdigest()

    def _content(self) -> Iterator[bytes]:
        lazy = self.source.lazy
        yield json.dumps(
            [
                len(self),
                [
                    [
                        b.name,
                        b.dtype.name,
                        b.shape or self.source.columns[b.array].shape,
                        b.scale if lazy else None,
                    ]
                    for b in self.bindings
                ],
                sorted(self.targets),
            ]
        ).encode()
        if lazy:
            yield from self.source.content(self.indices)
        else:
            for inputs, _ in self._batches(_HASHED_AT_ONCE):
                yield from (np.ascontiguousarray(inputs[name]).tobytes() for name in self.input_names)
        for name in sorted(self.targets):
            yield np.ascontiguousarray(self.targets[name][self.indices]).tobytes()

    def _classes(self) -> Array | None:
        labels = self.labels
        return labels if labels is not None and labels.ndim == 1 and labels.dtype.kind == "i" else None

    def _drawn(self, pool: Indices, seed: tuple[int, ...]) -> Indices:
        classes = self._classes()
        return pool[drawing_order(len(pool), None if classes is None else classes[pool], seed)]

    def _part(self, name: str) -> Indices:
        rows = self.source.facts.parts.get(name, range(0))
        return np.flatnonzero((self.indices >= rows.start) & (self.indices < rows.stop))
