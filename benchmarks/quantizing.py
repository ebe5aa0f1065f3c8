"""Quantize a model file and say what became of it: which layers, how exact, how accurate."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import Artifact
from slimedge.benchmarks.accuracy import Score, score
from slimedge.comparison import LayerSqnr
from slimedge.errors import InputError
from slimedge.lineage import quantization_of
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras

    from slimedge.data import Checks, Data

_BATCH = 100


@dataclass(frozen=True, slots=True)
class Quantized:
    """What quantizing a model gave.

    Attributes:
        artifact: the written file, with its lineage.
        integer_layers: names of the layers whose weights were rounded, in memory or in the files only; to float16 with
            the scheme fp16.
        float_layers: names of the layers that stayed float, with the reason.
        layer_sqnr: of each layer's output against the float model's, in the order of the layers.
        before: score of the float model on the evaluation examples.
        after: score of the quantized model, paired with it.
        notices: what the user should know about the data.
    """

    artifact: Artifact
    integer_layers: tuple[str, ...]
    float_layers: Mapping[str, str]
    layer_sqnr: tuple[LayerSqnr, ...]
    before: Score
    after: Score
    notices: tuple[str, ...]


def quantize_file(
    model: Path | str,
    data: Data,
    out: Path | str,
    *,
    scheme: str = "auto",
    observer: str = "minmax",
    observers: Mapping[str, str] | None = None,
    exclude: Collection[str] = (),
    methods: Sequence[str] = (),
    granularity: str = "per_channel",
    block_size: int | None = None,
    qat_epochs: int = 0,
    qat_engine: str = "keras",
    split: Mapping[str, Any] | None = None,
    checks: Checks = "strict",
    trust: bool = False,
    progress: Progress = silent,
) -> Quantized:
    """Quantize a model file on one part of the data, and score it on another.

    Args:
        model: a `.keras` file.
        data: examples for calibration and for evaluation.
        out: the `.keras` file to write.
        scheme: see `slimedge.compress.quantization.quantize`.
        observer: likewise.
        observers: likewise.
        exclude: likewise.
        methods: likewise.
        granularity: likewise.
        block_size: likewise.
        qat_epochs: passes over what calibration and evaluation leave, by `slimedge.compress.training.train`: on
            labels where there are some; 0 to leave the quantized model untrained.
        qat_engine: who does it; see there.
        split: arguments of `Data.split`.
        checks: of `Data.bind`.
        trust: whether an `.h5` may be opened.
        progress: told what is being done.

    Returns:
        The file with what is known about it.

    Raises:
        InputError: a file, data or setting that cannot be used; nothing is written.
    """
    from slimedge.canonical import canonical
    from slimedge.compress.quantization import quantize
    from slimedge.compress.training import ENGINES, train
    from slimedge.keras_file import input_specs, load_model, output_specs, save_model
    from slimedge.preprocessing import starts_with_preprocessing

    if Path(out).exists() and Path(out).samefile(model):
        raise InputError(f"{out} is the model itself; write the quantized model to another file.")
    progress("loading the model")
    network = canonical(load_model(model, trust=trust))
    outputs = output_specs(network)
    bound = data.bind(
        input_specs(network), preprocessing=starts_with_preprocessing(network), checks=checks, outputs=outputs
    )
    parts = bound.split(**(split or {}))
    ENGINES.check(qat_engine)
    if qat_epochs < 0:
        raise InputError(f"{qat_epochs} epochs of training are not possible; give a whole number from 0.")
    if qat_epochs and not len(parts.training):
        raise InputError(
            "calibration and evaluation leave no example to train on; give more data, or ask for fewer with "
            "--calibration and --samples."
        )
    total = len(parts.calibration)
    progress("calibrating", 0.0)
    quantized = quantize(
        network,
        parts.calibration,
        scheme=scheme,
        observer=observer,
        observers=observers,
        exclude=exclude,
        methods=methods,
        granularity=granularity,
        block_size=block_size,
        progress=lambda done: progress("calibrating", done / total),
    )
    if qat_epochs:
        quantized = train(
            quantized,
            parts.training,
            epochs=qat_epochs,
            loss="labels" if parts.training.labels_for(outputs) else None,
            teacher=network,
            engine=qat_engine,
            seed=(split or {}).get("seed", 0),
            progress=progress,
        )
    artifact = save_model(quantized, out)
    labels = parts.evaluation.labels_for(outputs)
    name = next(iter(labels), outputs[0].name)
    position = [spec.name for spec in outputs].index(name)
    before = _outputs(network, parts.evaluation, position, "scoring the float model", progress)
    after = _outputs(quantized, parts.evaluation, position, "scoring the quantized model", progress)
    truth = labels.get(name)
    settings = quantization_of(artifact.lineage) or {}
    return Quantized(
        artifact=artifact,
        integer_layers=tuple(settings.get("rounded_layers") or _integer_layers(quantized)),
        float_layers=settings["float_layers"],
        layer_sqnr=tuple(LayerSqnr(layer, level) for layer, level in settings["layer_sqnr_db"].items()),
        before=score(before, None, truth, name=name),
        after=score(after, before, truth, name=name),
        notices=bound.notices,
    )


def _outputs(model: keras.Model, data: Data, position: int, doing: str, progress: Progress) -> NDArray[Any]:
    pieces: list[NDArray[Any]] = []
    done = 0
    for inputs, _ in data.batches(_BATCH):
        progress(doing, done / len(data))
        arrays = list(inputs.values())
        given = model.predict_on_batch(arrays[0] if len(arrays) == 1 else arrays)
        pieces.append(_flat(given)[position])
        done += len(arrays[0])
    return np.concatenate(pieces)


def _flat(outputs: Any) -> list[NDArray[Any]]:
    import keras

    return [np.asarray(array) for array in keras.tree.flatten(outputs)]


def _integer_layers(model: keras.Model) -> tuple[str, ...]:
    from slimedge.fake_quant import FakeQuantWeights

    return tuple(layer.layer.name for layer in model._flatten_layers() if isinstance(layer, FakeQuantWeights))
