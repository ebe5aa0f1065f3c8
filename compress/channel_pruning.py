"""Channel pruning: a really smaller Keras 3 model, which computes what the whole one does without some channels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from slimedge.artifact import Step
from slimedge.canonical import canonical
from slimedge.compress.bound_data import bound_to
from slimedge.compress.channels.choosing import KINDS, RANKINGS, Target
from slimedge.compress.channels.criteria import CRITERIA
from slimedge.compress.channels.removal import Path, Removal, before_and_after
from slimedge.compress.fitting.settings import FitSettings
from slimedge.compress.norm_statistics import with_measured_norms
from slimedge.compress.quantization import is_quantized
from slimedge.errors import InputError
from slimedge.graph_reading import from_model
from slimedge.lineage import lineage_of, with_lineage
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data


@dataclass(frozen=True, slots=True)
class PruneChannels:
    """The stage of `prune_channels`, which says what its arguments mean."""

    ratio: float | None = None
    macs: float | None = None
    parameters: float | None = None
    criterion: str = "hessian"
    ranking: str = "global"
    multiple: int = 8
    layers: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    steps: int = 1
    epochs: int = 1
    learning_rate: float = 1e-3
    batch_size: int = 128
    loss: str | Callable[[Any, Any], Any] | None = None
    seed: int = 0

    def __call__(self, model: keras.Model, data: Data, /, progress: Progress = silent) -> keras.Model:
        """Prune channels of a model; see `prune_channels`."""
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        return prune_channels(model, data, **settings, progress=progress)

    def check(self) -> None:
        """Refuse settings that no model's channels can be pruned with.

        Raises:
            InputError: one is outside of what is allowed.
        """
        self.removal()
        FitSettings(max(self.epochs, 1), self.learning_rate, self.batch_size, self.loss, self.seed)

    def removal(self) -> Removal:
        """Give what is removed in one round.

        Raises:
            InputError: a setting of it that cannot be used.
        """
        CRITERIA.check(self.criterion)
        _check(self.ranking, self.multiple, self.steps, self.epochs)
        target = target_of({"ratio": self.ratio, "macs": self.macs, "parameters": self.parameters})
        names = (tuple(self.layers), tuple(self.exclude))
        return Removal(target, self.criterion, self.ranking, self.multiple, *names, self.seed)


def prune_channels(
    model: keras.Model,
    data: Data,
    *,
    ratio: float | None = None,
    macs: float | None = None,
    parameters: float | None = None,
    criterion: str = "hessian",
    ranking: str = "global",
    multiple: int = 8,
    layers: Collection[str] = (),
    exclude: Collection[str] = (),
    steps: int = 1,
    epochs: int = 1,
    learning_rate: float = 1e-3,
    batch_size: int = 128,
    loss: str | Callable[[Any, Any], Any] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> keras.Model:
    """Remove whole channels from a model, with every weight that makes or takes them, and train what is left.

    Channels that hang together go together: those that an Add ties, that a depthwise or grouped convolution, a
    BatchNorm or a Flatten passes on, heads of attention with their slices of all four kernels, and those of a layer
    that is called more than once. What reaches the model's inputs or outputs stays, and so does what a layer computes
    with as a whole (LayerNormalization, softmax, a layer that is not known).

    Args:
        model: float, any that `slimedge.graph_reading.from_model` reads; it stays as it is.
        data: examples to tell the channels' worth by and to train on, bound to the model's inputs or bindable.
        ratio: share of the channels that go, in 0…1. One of `ratio`, `macs` and `parameters` is given.
        macs: share of the multiply-accumulates that is left.
        parameters: share of the parameters that is left.
        criterion: a name in `slimedge.compress.channels.criteria.CRITERIA`: `hessian`, what the distance from the
            model's own outputs grows by, which needs no labels; `taylor`, on labels; `l1`, `l2`; `batchnorm`; `random`.
        ranking: `global`, over all layers; or `layer`, the same ratio in each.
        multiple: of the channels that are left in each layer, since runtimes compute 8 or 16 at once, and some are
            slower with other counts; halved for a layer until it has two of them; 1 for any number.
        layers: patterns of the names of layers whose channels may go; all where there is none.
        exclude: patterns of those whose channels stay.
        steps: of removing, with an epoch of training between them; the last one is followed by `epochs`.
        epochs: of training after the last step; 0 only measures BatchNorm's statistics again.
        learning_rate: of Adam at its highest.
        batch_size: examples a step.
        loss: None trains towards the whole model's outputs; `labels`, or a function of (labels, outputs).
        seed: of what is drawn, and of the order of the examples.
        progress: told what is being done.

    Returns:
        An ordinary Keras 3 model with the same inputs, outputs and names of layers, and smaller weights.

    Raises:
        InputError: a setting or data that cannot be used, no channels that can go, a pattern that fits none, or a
            target that cannot be reached.
        CheckError: the loss became NaN; nothing was kept.

    Reference: Fang et al., 2023, "DepGraph: towards any structural pruning"; Molchanov et al., 2019.
    """
    from slimedge.compress.fitting.fine_tuning import fine_tuned

    asked = PruneChannels(
        ratio,
        macs,
        parameters,
        criterion,
        ranking,
        multiple,
        tuple(layers),
        tuple(exclude),
        steps,
        epochs,
        learning_rate,
        batch_size,
        loss,
        seed,
    )
    remove = asked.removal()
    settings = FitSettings(max(epochs, 1), learning_rate, batch_size, loss, seed)
    model = canonical(model)
    if is_quantized(model):
        raise InputError(
            f"model '{model.name}' is quantized; prune the float model, and quantize it afterwards."
        )
    bound = bound_to(model, data)
    share = 1 - remove.target.value if remove.target.kind == "ratio" else remove.target.value
    left: keras.Model = model
    losses: tuple[float, ...] = ()
    for step in range(1, steps + 1):
        left = Path(remove, model, bound, left, progress).at(1 - (1 - share) * step / steps)
        tuned = settings if step == steps else replace(settings, epochs=1)
        if step == steps and epochs == 0:
            left = with_measured_norms(left, bound, seed=seed)
            continue
        outcome = fine_tuned(left, model, bound, tuned, progress=progress)
        left, losses = outcome.model, (*losses, *outcome.epoch_losses)
    told = {
        "target": {kind: getattr(asked, kind) for kind in KINDS if getattr(asked, kind) is not None},
        "criterion": criterion,
        "ranking": ranking,
        "multiple": multiple,
        "steps": steps,
        **settings.told(),
        "epochs": epochs,
        "examples": len(bound),
        "data": bound.fingerprint,
        "epoch_losses": list(losses),
        **before_and_after(from_model(model), from_model(left)),
    }
    return with_lineage(left, (*lineage_of(model), Step("prune_channels", told)))


def target_of(given: Mapping[str, float | None]) -> Target:
    """Give the one target that was set.

    Raises:
        InputError: none or several, or not a share.
    """
    found = {kind: value for kind, value in given.items() if value is not None}
    if len(found) != 1:
        raise InputError(
            f"{' and '.join(f'{kind}={value:g}' for kind, value in found.items()) or 'no target'} was given; give one "
            f"of {', '.join(KINDS)}, as macs=0.5."
        )
    ((kind, value),) = found.items()
    if not 0 < value < 1:
        raise InputError(
            f"{kind}={value:g} is not allowed; give a share between 0 and 1, "
            + ("of the channels that go." if kind == "ratio" else "of what is left.")
        )
    return Target(kind, value)


def _check(ranking: str, multiple: int, steps: int, epochs: int) -> None:
    if ranking not in RANKINGS:
        raise InputError(f"ranking='{ranking}' is not allowed; give {' or '.join(RANKINGS)}.")
    for name, value, least in (("multiple", multiple, 1), ("steps", steps, 1), ("epochs", epochs, 0)):
        if value < least:
            raise InputError(f"{name}={value} is not allowed; give a whole number, {least} or more.")
