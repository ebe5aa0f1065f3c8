"""Distillation: a student learns from what its teachers say, and not from labels alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from slimedge.artifact import Step
from slimedge.canonical import canonical
from slimedge.compress.bound_data import bound_to
from slimedge.compress.distilling.settings import Shares
from slimedge.compress.fitting.constraints import keeper_of, kept_by_default
from slimedge.compress.fitting.settings import DeviceSettings
from slimedge.compress.quantization import is_quantized
from slimedge.errors import InputError
from slimedge.lineage import lineage_of, with_lineage
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data

EPOCHS = 5
LEARNING_RATE = 2e-3
# Of the examples, to look at after each epoch.
VALIDATION = 0.05
# In a recipe: the model that it starts from, and the model itself as it comes to the stage.
PARENT, SELF = "parent", "self"


@dataclass(frozen=True, slots=True)
class Distill:
    """The stage of `distill`, which says what its arguments mean.

    Attributes:
        teachers: files of models; `parent` is the model that the recipe starts from, `self` the student as it is.
    """

    teachers: tuple[str, ...] = (PARENT,)
    teacher_weights: tuple[float, ...] = ()
    temperature: float = 4.0
    label_weight: float = 0.5
    hints: Mapping[str, str] = field(default_factory=dict)
    hint_weight: float = 1.0
    attention: Mapping[str, str] = field(default_factory=dict)
    attention_weight: float = 1.0
    relations: Mapping[str, str] = field(default_factory=dict)
    relation_weight: float = 1.0
    epochs: int = EPOCHS
    learning_rate: float = LEARNING_RATE
    batch_size: int = 128
    schedule: str = "cosine"
    optimizer: str = "adam"
    precision: str = "float32"
    strategy: str | None = None
    validation: float = VALIDATION
    patience: int | None = None
    keep_zeros: bool | None = None
    keep_clusters: bool | None = None
    seed: int = 0

    takes_parent: ClassVar[bool] = True

    def __call__(
        self,
        model: keras.Model,
        data: Data,
        /,
        progress: Progress = silent,
        parent: keras.Model | None = None,
    ) -> keras.Model:
        """Train a model towards its teachers; see `distill`.

        Args:
            model: the student.
            data: as of `distill`.
            progress: likewise.
            parent: the model that `parent` names; the student itself where it is None.
        """
        from slimedge.keras_file import load_model

        known = {PARENT: model if parent is None else parent, SELF: model}
        given = [known[name] if name in known else load_model(name, compiled=False) for name in self.teachers]
        settings = {each.name: getattr(self, each.name) for each in fields(self)} | {"teachers": given}
        return distill(model, data, **settings, progress=progress)

    def check(self) -> None:
        """Look at all settings.

        Raises:
            InputError: one is outside of what is allowed.
        """
        _settings({each.name: getattr(self, each.name) for each in fields(self)})
        _check_teachers(len(self.teachers), self.teacher_weights, self.label_weight)


def distill(
    student: keras.Model,
    data: Data,
    *,
    teachers: keras.Model | Sequence[keras.Model] | None = None,
    teacher_weights: Collection[float] = (),
    temperature: float = 4.0,
    label_weight: float = 0.5,
    hints: Mapping[str, str] | None = None,
    hint_weight: float = 1.0,
    attention: Mapping[str, str] | None = None,
    attention_weight: float = 1.0,
    relations: Mapping[str, str] | None = None,
    relation_weight: float = 1.0,
    epochs: int = EPOCHS,
    learning_rate: float = LEARNING_RATE,
    batch_size: int = 128,
    schedule: str = "cosine",
    optimizer: Any = "adam",
    loss: Callable[[Any, Any], Any] | Mapping[str, Callable[[Any, Any], Any]] | None = None,
    compiled: bool = False,
    precision: str = "float32",
    strategy: str | None = None,
    validation: float = VALIDATION,
    patience: int | None = None,
    keep_zeros: bool | None = None,
    keep_clusters: bool | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> keras.Model:
    """Train a student towards the outputs, and features, of its teachers (Hinton et al., 2015).

    What is made small is

        label_weight · L(labels) + (1 - label_weight) · Σ w · L(teacher) + hints + attention + relations

    where L(labels) is cross-entropy for classes and yes-or-no labels and squared error for numbers, L(teacher) is the
    divergence from the teacher's soft outputs at the temperature, or the relative squared error where outputs are
    numbers, and w are the teachers' weights. Data without labels is learned from the teachers alone. Layers within are
    compared by pairs of names, a layer of the student to one of the first teacher that has it.

    Only the student comes back: neither teachers nor what adapts features to theirs are part of it. Dropout and
    augmentation are left out while it trains. The weights of the best epoch on held-out examples are kept.

    Args:
        student: float; it stays as it is. `slimedge.compress.students.student` makes one of a teacher.
        data: training examples, bound to the student's inputs or bindable to them; labels are not needed.
        teachers: one or several models with the same inputs and outputs, float or quantized; the student itself, as it
            is now, where there is none (self-distillation, Furlanello et al., 2018); an empty list for labels alone,
            with `label_weight=1`.
        teacher_weights: how much each teacher counts; by default all alike.
        temperature: that outputs are softened with, above 0.
        label_weight: share of the labels in 0…1; the rest is that of the teachers.
        hints: layers of the student that learn the features of a teacher's layer (Romero et al., 2015), by a linear map
            of channels that is thrown away; student's name to teacher's name.
        hint_weight: of each of them.
        attention: layers that learn where a teacher's layer is strong (Zagoruyko and Komodakis, 2017); likewise.
        attention_weight: of each of them.
        relations: layers that learn distances and angles between examples (Park et al., 2019); likewise.
        relation_weight: of each of them.
        epochs: passes over the data; each in another order.
        learning_rate: of the optimizer at its highest.
        batch_size: examples a step, of all devices together.
        schedule: of the learning rate: `cosine`, `linear` or `constant`.
        optimizer: `adam`, `adamw`, `sgd`, `rmsprop`, `lion`, or a Keras optimizer with the learning rate that it has.
        loss: for labels, in the place of those above: a Keras loss or function of (labels, outputs), or such by the
            name of the output.
        compiled: take optimizer and loss from the student's own `compile`.
        precision: what layers compute in while they train: `float32`, `mixed_bfloat16` or `mixed_float16`.
        strategy: None for one device; `mirrored` for all GPUs of this machine; `multi-worker` for the machines of
            TF_CONFIG.
        validation: share of the examples that is held out and looked at after each epoch; 0 takes all to train and
            keeps the last epoch.
        patience: epochs without a smaller loss on held-out examples after which training ends; None for never.
        keep_zeros: whether weights that are 0 stay so; None where the student was pruned.
        keep_clusters: whether weights that share a value go on to share one; None where the student was clustered.
        seed: of the order of the examples and of what is drawn; the same seed on the same machine gives the same model.
        progress: told the epoch, loss and accuracy, and the share of the steps that are done.

    Returns:
        An ordinary Keras 3 model with the inputs, outputs and names of the student.

    Raises:
        InputError: a quantized student, teachers that do not fit it, a layer that is not there, a setting or data that
            cannot be used, or nothing to train for.
        CheckError: the loss became NaN, or what had to be kept is lost; nothing was kept.

    Example:
        >>> import keras, numpy as np
        >>> from slimedge.data import Data
        >>> def net(units):
        ...     x = keras.Input((4,), name="x")
        ...     y = keras.layers.Dense(2, activation="softmax", name="y")(keras.layers.Dense(units)(x))
        ...     return keras.Model(x, y)
        >>> data = Data.load(np.random.default_rng(0).random((64, 4), np.float32))
        >>> found = distill(net(2), data, teachers=net(8), epochs=1)
        >>> [layer.name for layer in found.layers if layer.name == "teacher"]
        []
    """
    from slimedge.compress.distilling.training import trained

    settings, shares = _settings(
        {
            "epochs": epochs,
            "learning_rate": learning_rate,
            "batch_size": batch_size,
            "schedule": schedule,
            "optimizer": _own_optimizer(student) if compiled else optimizer,
            "precision": precision,
            "strategy": strategy,
            "validation": validation,
            "patience": patience,
            "seed": seed,
            "temperature": temperature,
            "label_weight": label_weight,
            "teacher_weights": tuple(teacher_weights),
            "hints": dict(hints or {}),
            "hint_weight": hint_weight,
            "attention": dict(attention or {}),
            "attention_weight": attention_weight,
            "relations": dict(relations or {}),
            "relation_weight": relation_weight,
        },
        loss=_own_loss(student) if compiled else loss,
    )
    if is_quantized(student):
        raise InputError(
            f"model '{student.name}' is quantized already; distill the float model and quantize what that gives, or "
            "train it with its rounding by slimedge.compress.training.train(teacher=...)."
        )
    model = canonical(student)
    given = (
        [student] if teachers is None else list(teachers) if isinstance(teachers, Sequence) else [teachers]
    )
    _check_teachers(len(given), shares.teacher_weights, label_weight)
    kept = kept_by_default(lineage_of(student), zeros=keep_zeros, clusters=keep_clusters)
    bound = bound_to(model, data)
    done = trained(
        model,
        [canonical(teacher) for teacher in given],
        bound,
        settings,
        shares,
        keepers_of=lambda _: keeper_of(kept),
        progress=progress,
    )
    told = {
        "teachers": [teacher.name for teacher in given],
        **shares.told(),
        **settings.told(),
        "loss": settings.loss_name,
        "kept": [type(one).__name__ for one in kept],
        "training_examples": len(bound),
        "training_data": bound.fingerprint,
        **done.fitted.told(),
    }
    return with_lineage(done.model, (*lineage_of(student), Step("distill", told)))


def _settings(given: Mapping[str, Any], loss: Any = None) -> tuple[DeviceSettings, Shares]:
    """Check everything, and part what training is told from what is learned.

    Raises:
        InputError: one is outside of what is allowed.
    """
    of_training, of_shares = (
        {each.name: given[each.name] for each in fields(kind) if each.name in given}
        for kind in (DeviceSettings, Shares)
    )
    return DeviceSettings(**{"loss": loss or "labels", **of_training}), Shares(**of_shares)


def _check_teachers(count: int, weights: Sequence[float], label_weight: float) -> None:
    if weights and len(weights) != count:
        raise InputError(
            f"teacher_weights has {len(weights)} numbers for {count} teachers; give one for each, or none."
        )
    if not count and label_weight < 1:
        raise InputError(
            f"there is no teacher and label_weight={label_weight:g} leaves it a share; give a teacher, or "
            "label_weight=1 for labels alone."
        )


def _own_optimizer(student: keras.Model) -> Any:
    found = getattr(student, "optimizer", None)
    if found is None:
        raise InputError(
            f"model '{student.name}' was not compiled, so it has no optimizer of its own; call its compile first, or "
            "leave compiled out."
        )
    return found


def _own_loss(student: keras.Model) -> Any:
    """Give the loss of a model's compile as functions of (labels, outputs)."""
    import keras

    from slimedge.keras_file import output_specs

    given = getattr(student, "loss", None)
    if isinstance(given, str) or callable(given):
        return keras.losses.get(given)
    names = [spec.name for spec in output_specs(student)]
    pairs = given.items() if isinstance(given, Mapping) else zip(names, given or (), strict=False)
    return {name: keras.losses.get(loss) for name, loss in pairs if loss is not None} or None
