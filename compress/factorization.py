"""Low-rank factorization: layers of a trained model split into chains of smaller ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from slimedge import macs as macs_of
from slimedge.artifact import Step
from slimedge.canonical import canonical
from slimedge.compress.bound_data import bound_to
from slimedge.compress.fitting.settings import FitSettings
from slimedge.compress.low_rank.options import MACS, PARAMETERS, Option
from slimedge.compress.low_rank.ranks import by_energy, by_loss
from slimedge.compress.low_rank.splitting import split
from slimedge.compress.low_rank.subjects import options_of, splittable, subjects_of, why_not
from slimedge.compress.low_rank.ways import WAYS
from slimedge.compress.norm_statistics import with_measured_norms
from slimedge.compress.quantization import is_quantized, with_nested
from slimedge.compress.selecting import selected
from slimedge.errors import InputError
from slimedge.graph import Graph
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.lineage import lineage_of, with_lineage
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data

Frontiers = Mapping[str, tuple[Option, ...]]
WAY_NAMES = tuple(WAYS)


@dataclass(frozen=True, slots=True)
class Factorize:
    """The stage of `factorize`, which says what its arguments mean."""

    energy: float | None = None
    macs: float | None = None
    parameters: float | None = None
    layers: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    ways: tuple[str, ...] = WAY_NAMES
    multiple: int = 1
    epochs: int = 0
    learning_rate: float = 1e-3
    batch_size: int = 128
    loss: str | Callable[[Any, Any], Any] | None = None
    seed: int = 0

    def __call__(self, model: keras.Model, data: Data, /, progress: Progress = silent) -> keras.Model:
        """Factorize a model; see `factorize`."""
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        return factorize(model, data, **settings, progress=progress)

    def check(self) -> None:
        """Refuse settings that no model can be factorized with.

        Raises:
            InputError: one is outside of what is allowed.
        """
        _goal(self.energy, self.macs, self.parameters)
        _check(self.ways, self.multiple, self.epochs)
        FitSettings(max(self.epochs, 1), self.learning_rate, self.batch_size, self.loss, self.seed)


def factorize(
    model: keras.Model,
    data: Data | None = None,
    *,
    energy: float | None = None,
    macs: float | None = None,
    parameters: float | None = None,
    layers: Collection[str] = (),
    exclude: Collection[str] = (),
    ways: Collection[str] = WAY_NAMES,
    multiple: int = 1,
    epochs: int = 0,
    learning_rate: float = 1e-3,
    batch_size: int = 128,
    loss: str | Callable[[Any, Any], Any] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> keras.Model:
    """Split layers into chains of smaller ones wherever that saves multiply-accumulates.

    `svd`: Dense, EinsumDense that is a matrix product, and 1×1 convolutions as two such layers. `tucker2`: another
    convolution as one of fewer channels between two 1×1 convolutions (Kim et al., 2016, "Compression of deep
    convolutional neural networks for fast and low power mobile applications"). `spatial_svd`: a Conv2D as one of k×1
    and one of 1×k (Jaderberg et al., 2014, "Speeding up convolutional neural networks with low rank expansions").
    Each layer is split in the way that is cheapest for what it keeps. Grouped and depthwise convolutions stay.

    Exactly one of `energy`, `macs` and `parameters` says how far.

    Args:
        model: float, of any make; it stays as it is. Without data its data formats and dtype policies are kept, with
            data the result is canonical (`slimedge.canonical`).
        data: examples, bound to the model's inputs or bindable to them. They show which inputs of a layer are strong,
            and what BatchNorm has to normalize afterwards. None takes all inputs for alike.
        energy: share of the squared norm of its kernel, as weighted by inputs and a BatchNorm behind, that every layer
            keeps, in 0…1.
        macs: share of the model's multiply-accumulates to reach, in 0…1; the energy is lost where it saves most.
        parameters: likewise of the model's parameters.
        layers: patterns, as of `fnmatch`, of names of layers that may be split; a nested model's name stands for
            all in it. Empty for all.
        exclude: patterns of those that may not.
        ways: names in `slimedge.compress.low_rank.ways.WAYS` that may be taken.
        multiple: that ranks are of, as 8 where the runtime computes so many channels at once.
        epochs: passes over the data to train for afterwards, as below; 0 for none.
        learning_rate: of Adam at its highest, after a short warm-up; a cosine takes it to 0.
        batch_size: examples a step.
        loss: None trains towards the outputs of `model`; `labels` on the data's; or a function of (labels, outputs).
        seed: of the order of the examples.
        progress: told the layer that is decomposed, and the share of them.

    Returns:
        A new functional Keras model with the same inputs, outputs and names; its lineage lists every layer that was
        split, and why others were not.

    Raises:
        InputError: a setting that cannot be used, a pattern that fits nothing, a quantized model, or one with nothing
            to split for what was asked.
        CheckError: training led to numbers that are not finite.
    """
    from slimedge.compress.fitting.fine_tuning import fine_tuned

    goal, share = _goal(energy, macs, parameters)
    _check(ways, multiple, epochs)
    if epochs and data is None:
        raise InputError(f"{epochs} epochs of training need data; give data, or epochs=0.")
    fit = FitSettings(max(epochs, 1), learning_rate, batch_size, loss, seed)
    if is_quantized(model):
        raise InputError(
            f"model '{model.name}' is quantized already; factorize the float model, then quantize that."
        )
    bound = None
    if data is not None:
        model = canonical(model)
        bound = bound_to(model, data)
    graph = from_model(model)
    allowed = _allowed(model, graph, [layer.name for layer in splittable(graph)], layers, exclude)
    subjects = subjects_of(graph, allowed, bound)
    what = PARAMETERS if goal == PARAMETERS else MACS
    frontiers: dict[str, tuple[Option, ...]] = {}
    for number, (name, subject) in enumerate(subjects.items()):
        progress(f"decomposing {name}", number / len(subjects))
        frontiers[name] = options_of(subject, ways, multiple=multiple, what=what)
    counted = macs_of.count(model)
    if goal == "energy":
        chosen = _by_energy(model, frontiers, share)
    else:
        chosen = _by_budget(model, frontiers, what, share, counted)
    made = to_model(split(graph, subjects, chosen))
    told: dict[str, Any] = {}
    if bound is not None and epochs:
        tuned = fine_tuned(made, model, bound, fit, progress=progress)
        made = tuned.model
        told = {**fit.told(), "epoch_losses": list(tuned.epoch_losses)}
    elif bound is not None:
        progress("measuring BatchNorm")
        made = with_measured_norms(made, bound, seed=seed)
    if bound is not None:
        told |= {"examples": len(bound), "data": bound.fingerprint}
    step = Step(
        "factorize",
        {
            goal: share,
            "ways": list(ways),
            "multiple": multiple,
            "epochs": epochs,
            **told,
            "macs_before": counted.total,
            "macs_after": macs_of.count(made).total,
            "parameters_before": model.count_params(),
            "parameters_after": made.count_params(),
            "layers": {
                name: _told(option, frontiers[name][-1]) for name, option in chosen.items() if option.way
            },
            "left": _left(graph, chosen, frontiers),
        },
    )
    return with_lineage(made, (*lineage_of(model), step))


def _goal(energy: float | None, macs: float | None, parameters: float | None) -> tuple[str, float]:
    """Which of the three was given, and its value."""
    given = {
        name: value
        for name, value in (("energy", energy), ("macs", macs), ("parameters", parameters))
        if value is not None
    }
    if len(given) != 1:
        said = " and ".join(f"{name} {value:g}" for name, value in given.items()) or "none"
        raise InputError(
            f"of energy, macs and parameters exactly one says how far to factorize, and given was {said}; give one of "
            "them, as energy 0.9 or macs 0.5."
        )
    ((name, value),) = given.items()
    if not 0 < value < 1:
        raise InputError(f"{name} is {value:g}; it is a share between 0 and 1, as 0.5.")
    return name, value


def _check(ways: Collection[str], multiple: int, epochs: int) -> None:
    unknown = [name for name in ways if name not in WAYS]
    if unknown or not ways:
        raise InputError(
            f"a layer cannot be split by '{', '.join(unknown)}'; the ways are {', '.join(WAYS)}."
        )
    if multiple < 1:
        raise InputError(f"ranks cannot be multiples of {multiple}; give 1 or more, as 8.")
    if epochs < 0:
        raise InputError(f"epochs={epochs} is not allowed; give 0 or more.")


def _allowed(
    model: keras.Model, graph: Graph, names: list[str], layers: Collection[str], exclude: Collection[str]
) -> frozenset[str]:
    """The layers that may be split, by their names."""
    if not names:
        reasons = [f"{layer.name}: {reason}" for layer in graph.calls() if (reason := why_not(layer))]
        raise InputError(
            f"model '{graph.name}' has no layer that low rank can split: no Dense, no EinsumDense and no convolution "
            f"without groups{' (' + '; '.join(reasons[:3]) + ')' if reasons else ''}."
        )

    return selected(
        names,
        layers,
        exclude,
        model=graph.name,
        what="low rank can split",
        meaning=lambda pattern: with_nested(model, [pattern]),
    )


def _by_energy(model: keras.Model, frontiers: Frontiers, energy: float) -> dict[str, Option]:
    chosen = by_energy(frontiers, energy)
    if not any(option.way for option in chosen.values()):
        best = _most_kept(model, frontiers)
        raise InputError(
            f"no layer of model '{model.name}' has ranks that keep {energy:g} of its energy and save multiply-"
            f"accumulates; give an energy of {_floor(best):g} or less."
        )
    return chosen


def _by_budget(
    model: keras.Model, frontiers: Frontiers, what: str, share: float, counted: macs_of.Macs
) -> dict[str, Option]:
    total = model.count_params() if what == PARAMETERS else counted.total
    if total is None:
        raise InputError(
            f"the multiply-accumulates of model '{model.name}' cannot be counted (layer '{counted.uncounted[0]}' has "
            "no formula, or sizes that are open), so no share of them can be a goal; give energy or parameters."
        )
    _most_kept(model, frontiers)
    whole = sum(options[-1].cost(what) for options in frontiers.values())
    chosen = by_loss(frontiers, what, int(share * total) - (total - whole))
    if chosen is None:
        least = total - whole + sum(options[0].cost(what) for options in frontiers.values())
        raise InputError(
            f"low rank cannot bring model '{model.name}' to {share:g} of its {what}; the smallest ranks reach "
            f"{least / total + 5e-5:.4f}. Ask for that or more, or let it split more layers."
        )
    return chosen


def _most_kept(model: keras.Model, frontiers: Frontiers) -> float:
    """The most that an option keeps which is not a layer as it is."""
    kept = [options[-2].kept for options in frontiers.values() if len(options) > 1]
    if not kept:
        raise InputError(
            f"no layer of model '{model.name}' has ranks that save multiply-accumulates: its layers are too small, or "
            "the ranks that are allowed too large."
        )
    return max(kept)


def _floor(share: float) -> float:
    return int(share * 1e4) / 1e4


def _told(option: Option, whole: Option) -> dict[str, Any]:
    return {
        "way": option.way,
        "ranks": list(option.ranks),
        "kept_energy": option.kept,
        "macs_before": whole.macs,
        "macs_after": option.macs,
        "parameters_before": whole.parameters,
        "parameters_after": option.parameters,
    }


def _left(graph: Graph, chosen: Mapping[str, Option], frontiers: Frontiers) -> dict[str, str]:
    """Why each layer with a kernel that was not split was not."""
    left = {}
    for layer in graph.calls():
        reason = why_not(layer)
        if reason is not None:
            left[layer.name] = reason
        elif layer.name in chosen and not chosen[layer.name].way:
            few = len(frontiers[layer.name]) == 1
            left[layer.name] = "no rank saves multiply-accumulates" if few else "it keeps more as it is"
    return left
