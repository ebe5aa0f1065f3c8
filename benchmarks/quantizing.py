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
from slimedge.benchmarks.judging import GoalOutcome, accuracy_outcome
from slimedge.comparison import LayerSqnr
from slimedge.compress.layer_bits import check_layer_bits
from slimedge.compress.quantization import SCHEMES, STATIC_INT8
from slimedge.compress.sensitivity import CANDIDATES
from slimedge.errors import GoalError, InputError
from slimedge.lineage import quantization_of
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras

    from slimedge.benchmarks.bit_choice import BitChoice
    from slimedge.benchmarks.fastest import Contest
    from slimedge.compress.layer_bits import LayerBits
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
        choice: of bits for each layer, where a budget of accuracy was given.
        goal: whether the budget was met on the evaluation examples.
        contest: what was tried for the target, where one was given.
    """

    artifact: Artifact
    integer_layers: tuple[str, ...]
    float_layers: Mapping[str, str]
    layer_sqnr: tuple[LayerSqnr, ...]
    before: Score
    after: Score
    notices: tuple[str, ...]
    choice: BitChoice | None = None
    goal: GoalOutcome | None = None
    contest: Contest | None = None


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
    bits: LayerBits | None = None,
    max_accuracy_drop: float | None = None,
    candidates: Sequence[int] = CANDIDATES,
    target: str | None = None,
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
        bits: likewise.
        max_accuracy_drop: percentage points that may be lost; bits of each layer of a static scheme are then chosen,
            the fewest that lose no more. None to take the bits as they are.
        candidates: bits that a layer may then have, beside float.
        target: where the file shall be faster than float; what may be fast there is tried, and the fastest kept.
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
        GoalError: nothing that was tried is faster than float on the target, or within the accuracy that may be lost;
            likewise.
    """
    from slimedge.benchmarks.bit_choice import choose_bits
    from slimedge.benchmarks.lost_answers import scored_output
    from slimedge.benchmarks.quantizing_for import LARGEST_DROP, quantize_for
    from slimedge.canonical import canonical
    from slimedge.compress.choosing import scheme_for
    from slimedge.compress.quantization import Quantize, quantize, with_nested
    from slimedge.compress.settings import Settings
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
    choice = None
    if max_accuracy_drop is not None:
        _check_choice(max_accuracy_drop, scheme, bits)
        for width in candidates:
            check_layer_bits({"*": width})
        settings = Settings(
            observer=observer,
            observers=dict(observers or {}),
            exclude=with_nested(network, exclude),
            methods=tuple(methods),
            granularity=granularity,
        )
        if scheme == STATIC_INT8 or scheme_for(network, settings)[0] == STATIC_INT8:
            choice = choose_bits(
                network,
                parts,
                settings,
                max_accuracy_drop,
                candidates=candidates,
                seed=(split or {}).get("seed", 0),
                progress=progress,
            )
            scheme, bits = STATIC_INT8, choice.bits
    total = len(parts.calibration)
    progress("calibrating", 0.0)
    asked = Quantize(
        scheme=scheme,
        observer=observer,
        observers=dict(observers or {}),
        exclude=tuple(exclude),
        methods=tuple(methods),
        granularity=granularity,
        block_size=block_size,
        bits=dict(bits or {}),
    )
    contest = None
    if target is None:
        quantized = quantize(
            network,
            parts.calibration,
            progress=lambda done: progress("calibrating", done / total),
            **asked.settings(),
        )
    else:
        won = quantize_for(
            network,
            parts,
            target,
            asked,
            largest_drop=LARGEST_DROP if max_accuracy_drop is None else max_accuracy_drop / 100,
            seed=(split or {}).get("seed", 0),
            progress=progress,
        )
        contest = won.contest
        if won.model is None:
            raise GoalError(
                f"{contest.reason.rstrip('.')}; nothing was written: deploy the float model, or quantize without "
                "--target for a smaller file."
            )
        quantized = won.model
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
    name, position, truth = scored_output(outputs, parts.evaluation)
    before = model_outputs(network, parts.evaluation, position, "scoring the float model", progress)
    after = model_outputs(quantized, parts.evaluation, position, "scoring the quantized model", progress)
    told = quantization_of(artifact.lineage) or {}
    scored = score(after, before, truth, name=name)
    return Quantized(
        artifact=artifact,
        integer_layers=tuple(told.get("rounded_layers") or _integer_layers(quantized)),
        float_layers=told["float_layers"],
        layer_sqnr=tuple(LayerSqnr(layer, level) for layer, level in told["layer_sqnr_db"].items()),
        before=score(before, None, truth, name=name),
        after=scored,
        notices=bound.notices,
        choice=choice,
        goal=None
        if max_accuracy_drop is None or scored.accuracy_delta is None
        else accuracy_outcome(artifact.path.name, scored.accuracy_delta, max_accuracy_drop),
        contest=contest,
    )


def _check_choice(max_accuracy_drop: float, scheme: str, bits: LayerBits | None) -> None:
    if max_accuracy_drop < 0:
        raise InputError(f"{max_accuracy_drop:g} points cannot be lost; give 0 or more.")
    if bits:
        raise InputError(
            "bits were given for some layers together with a budget of accuracy, which chooses them; leave one of them "
            "out."
        )
    if scheme in SCHEMES and scheme not in ("auto", STATIC_INT8):
        raise InputError(
            f"a budget of accuracy was given with the scheme {scheme}; bits of each layer are chosen with auto or "
            f"{STATIC_INT8}, take one of those or leave the budget out."
        )


def model_outputs(
    model: keras.Model, data: Data, position: int, doing: str, progress: Progress
) -> NDArray[Any]:
    """Give one output of a Keras model for all of the data.

    Args:
        model: any that the data is bound to.
        data: at least one example.
        position: of the output in Keras order.
        doing: what the user is told meanwhile.
        progress: who tells it.
    """
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
