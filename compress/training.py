"""Quantization-aware training: the graph that post-training quantization gives, trained with its rounding in it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from slimedge.artifact import Step
from slimedge.canonical import canonical
from slimedge.compress.bound_data import bound_to
from slimedge.compress.fitting.constraints import Constraint, kept_by_default
from slimedge.compress.observers import maker
from slimedge.compress.qat.engines import Engine, Outcome
from slimedge.compress.qat.settings import Settings
from slimedge.compress.quantization import is_quantized, quantize
from slimedge.data import CALIBRATION_EXAMPLES
from slimedge.errors import InputError
from slimedge.keras_file import input_specs, output_specs
from slimedge.lineage import lineage_of, with_lineage
from slimedge.progress import Progress, silent
from slimedge.registry import Registry

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data

# Who trains; see `slimedge.compress.qat.engines`.
ENGINES = Registry(
    "engine",
    {"keras": "slimedge.compress.qat.engine:ENGINE", "tfmot": "slimedge.compress.qat.tfmot.engine:ENGINE"},
)


@dataclass(frozen=True, slots=True)
class Train(Settings):
    """The stage of `train`, which says what its arguments mean."""

    keep_zeros: bool | None = None
    keep_clusters: bool | None = None
    observer: str = "minmax"
    exclude: tuple[str, ...] = ()
    engine: str = "keras"

    takes_parent: ClassVar[bool] = True

    def __call__(
        self,
        model: keras.Model,
        data: Data,
        /,
        progress: Progress = silent,
        parent: keras.Model | None = None,
    ) -> keras.Model:
        """Train a model, quantized first where it is float; see `train`.

        Args:
            model: as of `train`.
            data: likewise.
            progress: likewise.
            parent: the model that a recipe starts from, which is the teacher where none of a kind is needed: without
                a loss on labels and with BatchNorm folded.
        """
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        teacher = parent if self.loss is None and self.batchnorm == "folded" else None
        return train(model, data, **settings, teacher=teacher, progress=progress)

    def check(self) -> None:
        """Refuse settings that no model can be trained with, beside those that cannot be made at all.

        Raises:
            InputError: one is outside of what is allowed.
        """
        ENGINES.check(self.engine)
        maker(self.observer)


def train(
    model: keras.Model,
    data: Data,
    *,
    epochs: int = 1,
    learning_rate: float = 1e-3,
    batch_size: int = 128,
    ranges: str = "learned",
    gradients: str = "straight_through",
    batchnorm: str = "folded",
    freeze_after: float = 0.5,
    loss: str | Callable[[Any, Any], Any] | None = None,
    schedule: str = "cosine",
    optimizer: Any = "adam",
    validation: float = 0.0,
    patience: int | None = None,
    weight_bits: int | None = None,
    keep_zeros: bool | None = None,
    keep_clusters: bool | None = None,
    constraints: Collection[Constraint] = (),
    teacher: keras.Model | None = None,
    observer: str = "minmax",
    exclude: Collection[str] = (),
    engine: str = "keras",
    seed: int = 0,
    progress: Progress = silent,
) -> keras.Model:
    """Train a model with the rounding of its quantization in it (Jacob et al., 2018).

    A float model is quantized first, as `quantize` does with `static_wi8_ai8`. What comes back is that graph with
    other numbers, so that it is exported like any quantized model: tensors that shared a range still do, every range
    holds 0 exactly, those of inputs, softmax, sigmoid and tanh stay, and biases fit the runtimes' int32.

    Args:
        model: float, any that `quantize` takes, or quantized; it stays as it is, and layers that are not trainable
            keep their weights.
        data: training examples, bound to the model's inputs or bindable to them.
        epochs: passes over the data; each in another order.
        learning_rate: of Adam at its highest, after a short warm-up; a cosine takes it to 0.
        batch_size: examples a step.
        ranges: of activations: `learned` by gradients for both ends (Jain et al., 2019; Bhalgat et al., 2020), or
            `moving_average` of what each batch shows (Jacob et al., 2018).
        gradients: `straight_through`, with the scale of each channel at its largest weight, or `lsq`, with scales that
            are learned (Esser et al., 2020), which is for few bits.
        batchnorm: `folded` trains the layers that BatchNorm was folded into; `trained` trains BatchNorm with them,
            on the statistics of each batch, and folds it at the end (Krishnamoorthi, 2018).
        freeze_after: share of the steps after which ranges and BatchNorm's statistics stay.
        loss: None trains towards the float model's outputs, which needs no labels; `labels` trains on the data's, by
            cross-entropy for classes and squared error for targets; or a function of (labels, outputs).
        schedule: of the learning rate: `cosine`, `linear` or `constant`.
        optimizer: `adam`, `adamw`, `sgd`, `rmsprop`, `lion`, or a Keras optimizer with the learning rate that it has.
        validation: share of the examples that is held out and looked at after each epoch; the best epoch is kept. 0
            takes all to train and keeps the last one.
        patience: epochs without a smaller loss on held-out examples after which training ends; None for never.
        weight_bits: 2 to 8, of all rounded weights; None keeps what quantization chose.
        keep_zeros: whether weights that are 0 stay 0; None where the lineage says that the model was pruned.
        keep_clusters: whether weights that share a value go on to share one; None where it was clustered.
        constraints: other things that training keeps; see `slimedge.compress.fitting.constraints`.
        teacher: the model whose outputs are trained towards. For a quantized `model` that is the float one it was made
            of; for a float one any with the same inputs and outputs, by default itself.
        observer: how ranges are found where the model is float, as in `quantize`.
        exclude: names of layers that stay float, likewise.
        engine: a name in `ENGINES`: `keras`, in this process, or `tfmot`, Google's own training in a process of its
            own, for the models that it takes; see `slimedge.compress.qat.tfmot.engine`.
        seed: of the order of the examples; the same seed on the same machine gives the same model.
        progress: told the epoch, the loss, and the share of the steps that are done.

    Returns:
        An ordinary quantized Keras 3 model with the same inputs, outputs and names.

    Raises:
        InputError: a setting or data that cannot be used, nothing to train, or nothing to train for.
        CheckError: the loss became NaN, or a constraint does not hold at the end; nothing was kept.
    """
    untold = engine != "keras"  # the others keep nothing, and say so where they are asked
    kept = kept_by_default(
        lineage_of(model),
        zeros=bool(keep_zeros) if untold else keep_zeros,
        clusters=bool(keep_clusters) if untold else keep_clusters,
    )
    held = (*kept, *constraints)
    settings = Settings(
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        ranges=ranges,
        gradients=gradients,
        batchnorm=batchnorm,
        freeze_after=freeze_after,
        loss=loss,
        schedule=schedule,
        optimizer=optimizer,
        validation=validation,
        patience=patience,
        weight_bits=weight_bits,
        constraints=held,
        seed=seed,
    )
    chosen: Engine = ENGINES[engine]
    settings = chosen.settled(settings, engine)
    model = canonical(model)
    bound = bound_to(model, data)
    quantized = model
    if teacher is not None:
        teacher = canonical(teacher)
        _check_teacher(teacher, quantized)
    if not is_quantized(model):
        if teacher is not None and batchnorm == "trained":
            raise InputError(
                "batchnorm='trained' takes BatchNorm from the model itself, and another teacher was given; leave one "
                "of them out."
            )
        teacher = model if teacher is None else teacher
        progress("calibrating")
        few = bound.take(min(CALIBRATION_EXAMPLES, len(bound)), seed=seed)
        quantized = quantize(model, few, scheme="static_wi8_ai8", observer=observer, exclude=exclude)
    outcome = chosen.train(teacher, quantized, bound, settings, progress)
    lineage = [_without_levels(step) for step in lineage_of(quantized)]
    return with_lineage(outcome.model, (*lineage, _step(settings, engine, bound, outcome)))


def _check_teacher(teacher: keras.Model, quantized: keras.Model) -> None:
    for what, specs in (("input", input_specs), ("output", output_specs)):
        one, other = ([spec.name for spec in specs(model)] for model in (teacher, quantized))
        if one != other:
            raise InputError(
                f"the {what}s of the teacher are {', '.join(one)}, and those of model '{quantized.name}' are "
                f"{', '.join(other)}; give the float model that it was quantized from."
            )


def _without_levels(step: Step) -> Step:
    """A quantization without the SQNR of its layers, which training changed."""
    return Step(step.name, {**step.settings, "layer_sqnr_db": {}}) if step.name == "quantize" else step


def _step(settings: Settings, engine: str, data: Data, outcome: Outcome) -> Step:
    names = ("ranges", "gradients", "batchnorm", "freeze_after", "weight_bits")
    return Step(
        "train",
        {
            "engine": engine,
            **settings.told(),
            **{name: getattr(settings, name) for name in names},
            "kept": [type(constraint).__name__ for constraint in settings.constraints],
            "training_examples": len(data),
            "training_data": data.fingerprint,
            "epoch_losses": list(outcome.epoch_losses),
            **outcome.told,
        },
    )
