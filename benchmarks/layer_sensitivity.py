"""How much accuracy and how many dB each layer's rounding costs a model file."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimedge.compress.sensitivity import CANDIDATES, Sensitivity
from slimedge.errors import InputError
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    from slimedge.data import Checks, Data

EXAMPLES = 1_000


@dataclass(frozen=True, slots=True)
class Measured:
    """Sensitivity of a model's layers.

    Attributes:
        model: name of the file.
        found: for each layer.
        examples: how many outputs were compared on.
        metric: `accuracy` with labels, `agreement` without, None where the outputs are not classes.
        observer: that found the ranges.
        calibration_examples: on how many.
        notices: what the user should know about the data.
    """

    model: str
    found: Sensitivity
    examples: int
    metric: str | None
    observer: str
    calibration_examples: int
    notices: tuple[str, ...]


def measure_sensitivity(
    model: Path | str,
    data: Data,
    *,
    candidates: Sequence[int] = CANDIDATES,
    observer: str = "minmax",
    exclude: Collection[str] = (),
    granularity: str = "per_channel",
    examples: int = EXAMPLES,
    split: Mapping[str, Any] | None = None,
    checks: Checks = "strict",
    trust: bool = False,
    progress: Progress = silent,
) -> Measured:
    """Measure what rounding each layer costs: alone, and spared while all others are rounded.

    Args:
        model: a float `.keras` file.
        data: examples for calibration and for comparing.
        candidates: bits of the weights, 2 to 8.
        observer: see `slimedge.compress.quantization.quantize`.
        exclude: likewise.
        granularity: likewise.
        examples: at most so many of the evaluation part are compared on.
        split: arguments of `Data.split`.
        checks: of `Data.bind`.
        trust: whether an `.h5` may be opened.
        progress: told what is being done.

    Raises:
        InputError: a file, data or setting that cannot be used, or a model without a layer that can be rounded.
    """
    from slimedge.benchmarks.lost_answers import LostAnswers
    from slimedge.canonical import canonical
    from slimedge.compress.layer_bits import check_layer_bits
    from slimedge.compress.observers import maker
    from slimedge.compress.quantization import check_float, with_nested
    from slimedge.compress.rehearsal import Rehearsal
    from slimedge.compress.sensitivity import sensitivity
    from slimedge.compress.settings import Settings
    from slimedge.keras_file import input_specs, load_model, output_specs
    from slimedge.preprocessing import starts_with_preprocessing

    maker(observer)
    for bits in candidates:
        check_layer_bits({"*": bits})
    progress("loading the model")
    network = canonical(load_model(model, trust=trust))
    check_float(network, exclude)
    bound = data.bind(
        input_specs(network),
        preprocessing=starts_with_preprocessing(network),
        checks=checks,
        outputs=output_specs(network),
    )
    parts = bound.split(**(split or {}))
    if not len(parts.evaluation):
        raise InputError("the split leaves no example to compare outputs on; give more data, or --samples.")
    compared = parts.evaluation.take(min(examples, len(parts.evaluation)), seed=(split or {}).get("seed", 0))
    lost = LostAnswers(network, compared)
    progress("finding ranges")
    settings = Settings(observer=observer, exclude=with_nested(network, exclude), granularity=granularity)
    rehearsal = Rehearsal(
        network,
        parts.calibration,
        compared,
        settings=settings,
        drop=lambda outputs: lost.share(outputs) if lost.has_classes() else None,
    )
    lost.exact = rehearsal.outputs({})[lost.position]
    found = sensitivity(
        rehearsal,
        candidates=sorted(set(candidates)),
        progress=lambda share: progress("rounding one layer at a time", share),
    )
    metric = ("agreement" if lost.labels is None else "accuracy") if lost.has_classes() else None
    return Measured(
        model=Path(model).name,
        found=found,
        examples=len(compared),
        metric=metric,
        observer=observer,
        calibration_examples=len(parts.calibration),
        notices=bound.notices,
    )
