"""The stage of a recipe that takes what is fastest on a target: integers where they are, else small weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from slimedge.artifact import Step
from slimedge.benchmarks.fastest import race
from slimedge.compress.quantization import STATIC_INT8, Quantize, quantize
from slimedge.errors import InputError
from slimedge.lineage import lineage_of, quantization_of, with_lineage
from slimedge.progress import Progress, silent
from slimedge.runtime.targets import parse_target
from slimedge.splitting import Splits

if TYPE_CHECKING:
    import keras

    from slimedge.benchmarks.fastest import Contest
    from slimedge.data import Data

WEIGHTS_ONLY = "weight_only_wi8_afp32"


@dataclass(frozen=True, slots=True)
class QuantizeFor:
    """Take the fastest way to quantize a model on a target, told by timing files on this machine.

    Static int8 and its variants are timed against float. Where one of them is faster, it is trained with its rounding;
    where none is, as on x86 without VNNI, weights alone are rounded to 8 bits, which makes the file a quarter as large
    and computes in float; and where even that is slower, the model stays float.

    Args:
        target: where files are timed, as `litert` or `ort`.
        max_accuracy_drop: percentage points that integers may lose before they are trained.
        epochs: of training with the rounding in it, towards the model that the recipe starts from or on labels; 0 for
            none.
        learning_rate: of that training at its highest.
        batch_size: examples a step.
        loss: None trains towards the outputs of the model that the recipe starts from; `labels` on the data's.
        exclude: names of layers that stay float.
        effort: how long files are timed: `quick`, `default` or `thorough`.
        seed: of the order of the examples, and of those that ranges and answers are looked at on.
    """

    target: str = "litert"
    max_accuracy_drop: float = 1.0
    epochs: int = 2
    learning_rate: float = 1e-3
    batch_size: int = 128
    loss: str | None = None
    exclude: tuple[str, ...] = ()
    effort: str = "quick"
    seed: int = 0

    takes_parent: ClassVar[bool] = True
    on_this_machine: ClassVar[bool] = True

    def check(self) -> None:
        """Refuse settings that cannot be used.

        Raises:
            InputError: one of them.
        """
        from slimedge.benchmarks.latency import SETTINGS
        from slimedge.compress.fitting.settings import FitSettings

        parse_target(self.target)
        if self.effort not in SETTINGS:
            raise InputError(f"effort '{self.effort}' is not known; it can be {', '.join(SETTINGS)}.")
        if not 0 <= self.max_accuracy_drop <= 100:
            raise InputError(
                f"max_accuracy_drop={self.max_accuracy_drop:g} is not allowed; give percentage points, 0 to 100."
            )
        if self.epochs < 0:
            raise InputError(f"epochs={self.epochs} is not allowed; give a whole number, 0 or more.")
        FitSettings(max(self.epochs, 1), self.learning_rate, self.batch_size, self.loss, self.seed)

    def __call__(
        self,
        model: keras.Model,
        data: Data,
        /,
        progress: Progress = silent,
        parent: keras.Model | None = None,
    ) -> keras.Model:
        """Quantize a model.

        Args:
            model: float; it stays as it is.
            data: bound to it; a part finds ranges, and the rest is trained on.
            progress: told what is being done.
            parent: the model that the recipe starts from.

        Returns:
            A quantized model, or the float one where nothing is as fast.

        Raises:
            InputError: the model is quantized already, or the target cannot run it.
            CheckError: training became NaN.
        """
        from slimedge.benchmarks.quantizing_for import quantize_for

        parts = data.split(seed=self.seed, evaluation=0)
        asked = Quantize(exclude=self.exclude)
        won = quantize_for(
            model,
            parts,
            self.target,
            asked,
            largest_drop=self.max_accuracy_drop / 100,
            seed=self.seed,
            effort=self.effort,
            progress=progress,
        )
        if won.model is None:
            return self._small(model, parts, won.contest, progress)
        scheme = (quantization_of(lineage_of(won.model)) or {}).get("scheme")
        if not self.epochs or scheme != STATIC_INT8:
            return won.model
        from slimedge.compress.training import train

        return train(
            won.model,
            parts.training,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            loss=self.loss,
            teacher=model if parent is None else parent,
            seed=self.seed,
            progress=progress,
        )

    def _small(self, model: keras.Model, parts: Splits, contest: Contest, progress: Progress) -> keras.Model:
        """Round weights alone, where that is not slower than float."""
        from slimedge.benchmarks.judging import SPEED_MARGIN
        from slimedge.export.exporting import export_model
        from slimedge.files import scratch_folder
        from slimedge.runtime.targets import formats_of

        place = parse_target(self.target)
        kind = formats_of(place)[0]
        progress("rounding weights alone")
        small = quantize(model, parts.calibration, scheme=WEIGHTS_ONLY, exclude=self.exclude)
        with scratch_folder() as folder:
            (before,) = export_model(model, to=kind, folder=folder, name="float")
            (after,) = export_model(small, to=kind, folder=folder, name="small")
            _, speedups = race(before, {WEIGHTS_ONLY: after}, place, effort=self.effort, progress=progress)
        found = speedups.get(WEIGHTS_ONLY)
        slower = found is not None and found.high < 1 / (1 + SPEED_MARGIN)
        told: dict[str, Any] = {"target": self.target, "reason": contest.reason}
        if slower:
            return with_lineage(
                model, (*lineage_of(model), Step("quantize_for", {**told, "scheme": "float"}))
            )
        *steps, step = lineage_of(small)
        return with_lineage(small, (*steps, replace(step, settings={**step.settings, "chosen_for": told})))
