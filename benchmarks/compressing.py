"""Compress a float model file with any method, and say what became of it: size, zeros, work, accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimedge.artifact import Artifact
from slimedge.benchmarks.accuracy import Score, score
from slimedge.benchmarks.beside import Beside, scored_beside
from slimedge.benchmarks.inspecting import Inspection
from slimedge.errors import InputError
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras

    from slimedge.data import Checks, Data

    # From a float model and the examples to compress it on to the compressed model.
    Method = Callable[[keras.Model, Data, Progress], keras.Model]


@dataclass(frozen=True, slots=True)
class Compressed:
    """What compressing a model gave.

    Attributes:
        artifact: the written file, with its lineage.
        before: what is in the float model, as a file without an optimizer.
        after: what is in the compressed one.
        score_before: of the float model on the evaluation examples.
        score_after: of the compressed one, paired with it.
        examples: how many the method could use; none of them is scored.
        notices: what the user should know about the data.
        beside: other models on the evaluation examples.
    """

    artifact: Artifact
    before: Inspection
    after: Inspection
    score_before: Score
    score_after: Score
    examples: int
    notices: tuple[str, ...]
    beside: tuple[Beside, ...] = ()


def compress_file(
    model: Path | str,
    data: Data,
    out: Path | str,
    method: Method,
    *,
    split: Mapping[str, Any] | None = None,
    beside: Sequence[Path] = (),
    checks: Checks = "strict",
    trust: bool = False,
    progress: Progress = silent,
) -> Compressed:
    """Compress a model file on one part of the data, and score it on another.

    Args:
        model: a `.keras` file.
        data: examples to compress on, and for evaluation.
        out: the `.keras` file to write.
        method: what compresses; it gets the model in canonical form and all examples that are not for evaluation.
        split: arguments of `Data.split` but for those of the other parts.
        beside: other `.keras` files that take and give the same, to be scored on the same examples.
        checks: of `Data.bind`.
        trust: whether an `.h5` may be opened.
        progress: told what is being done.

    Raises:
        InputError: a file, data or setting that cannot be used; nothing is written.
        CheckError: the method found its result wrong; likewise.
    """
    from slimedge.benchmarks.inspecting import inspect
    from slimedge.benchmarks.lost_answers import scored_output
    from slimedge.benchmarks.quantizing import model_outputs
    from slimedge.canonical import canonical
    from slimedge.files import scratch_folder
    from slimedge.keras_file import input_specs, load_model, output_specs, save_model
    from slimedge.preprocessing import starts_with_preprocessing

    if Path(out).exists() and Path(out).samefile(model):
        raise InputError(f"{out} is the model itself; write the compressed model to another file.")
    progress("loading the model")
    network = canonical(load_model(model, trust=trust, compiled=False))
    outputs = output_specs(network)
    bound = data.bind(
        input_specs(network), preprocessing=starts_with_preprocessing(network), checks=checks, outputs=outputs
    )
    parts = bound.split(**{**(split or {}), "calibration": 0})
    if not len(parts.training):
        raise InputError(
            "evaluation leaves no example to compress the model on; give more data, or ask for fewer with --samples."
        )
    compressed = method(network, parts.training, progress)
    artifact = save_model(compressed, out)
    name, position, truth = scored_output(outputs, parts.evaluation)
    before = model_outputs(network, parts.evaluation, position, "scoring the float model", progress)
    after = model_outputs(compressed, parts.evaluation, position, "scoring the compressed model", progress)
    others = tuple(
        scored_beside(path, network, parts.evaluation, before, after, trust=trust, progress=progress)
        for path in beside
    )
    progress("weighing")
    with scratch_folder() as folder:
        plain = inspect(save_model(network, folder / Path(model).with_suffix(".keras").name))
    return Compressed(
        artifact=artifact,
        before=plain,
        after=inspect(artifact),
        score_before=score(before, None, truth, name=name),
        score_after=score(after, before, truth, name=name),
        examples=len(parts.training),
        notices=bound.notices,
        beside=others,
    )
