"""The engine of TensorFlow's Model Optimization Toolkit (TFMOT): `prune_low_magnitude` in a process of its own.

The float model goes there as data, is rebuilt with tf-keras and compared, pruned and trained as TFMOT does it, and the
weights that come back are put into the model's graph.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from slimedge.compress.fitting.goals import goals_of
from slimedge.compress.fitting.outputs import opened, trained_outputs
from slimedge.compress.simplifying import strip_training_only
from slimedge.compress.sparsity.engines import Pruned
from slimedge.compress.sparsity.masks import UPDATES
from slimedge.compress.sparsity.patterns import GroupsOf
from slimedge.compress.sparsity.schedules import Polynomial
from slimedge.compress.tfmot.sending import check_loss, cut, with_weights, write, write_labels
from slimedge.data import CALIBRATION_EXAMPLES
from slimedge.errors import CheckError, InputError
from slimedge.files import scratch_folder
from slimedge.graph import Graph
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.isolation import run_isolated
from slimedge.keras_file import output_specs

if TYPE_CHECKING:
    import keras

    from slimedge.compress.fitting.settings import FitSettings
    from slimedge.compress.sparsity.places import Place
    from slimedge.compress.sparsity.plan import Plan
    from slimedge.data import Data
    from slimedge.progress import Progress

# What goes there of `FitSettings`.
SENT = ("epochs", "learning_rate", "batch_size", "seed")
# Share of zeros that may be missing: TFMOT keeps all weights that are as large as the smallest that stays.
MISSING = 0.02


def prune(
    model: keras.Model,
    places: list[Place],
    data: Data,
    plan: Plan,
    settings: FitSettings,
    progress: Progress,
) -> Pruned:
    """Prune weights as TFMOT does; see `slimedge.compress.sparsity.engines.Engine`.

    Dropout and augmentation are left out of the training.

    Raises:
        InputError: TFMOT cannot have the plan or the model, or there is nothing to train for.
        CheckError: the loss became NaN, or the training was too short for the sparsity.
    """
    check_loss(settings)
    form = plan.form
    if plan.ranking != "layer" or (plan.pattern != "unstructured" and not isinstance(form, GroupsOf)):
        raise InputError(
            f"pattern={plan.pattern!r} with ranking={plan.ranking!r} cannot be had with engine='tfmot', which prunes "
            "each layer, unstructured or N:M; prune with engine='keras'."
        )
    whole = from_model(model)
    graph = opened(strip_training_only(whole)[0])
    teacher = None if settings.loss is not None else model
    outputs, goals = goals_of(trained_outputs(graph), teacher, model, data, settings)
    sent = cut(graph, outputs)
    few = data.take(min(CALIBRATION_EXAMPLES, len(data)), seed=settings.seed)
    steps = settings.epochs * (len(data) // min(settings.batch_size, len(data)))
    with scratch_folder() as folder:
        write(folder, sent, data, few)
        if settings.loss is not None:
            write_labels(folder, goals, data.labels_for(output_specs(model)))
        progress("starting TFMOT")
        done = run_isolated(
            "slimedge.compress.sparsity.tfmot.worker:run",
            {
                "folder": str(folder),
                "settings": {name: getattr(settings, name) for name in SENT},
                "goals": [asdict(goal) for goal in goals],
                "layers": sorted({place.layer for place in places}),
                "schedule": _schedule(plan, steps),
                "m_by_n": [form.size - form.kept, form.size] if isinstance(form, GroupsOf) else None,
            },
            label=f"TFMOT's pruning of model '{model.name}'",
            time_limit_s=math.inf,
            environment={"TF_ENABLE_ONEDNN_OPTS": "1"},
            progress=progress,
        ).result
        with np.load(folder / "trained.npz") as arrays:
            trained = with_weights(whole, sent, arrays)
    theirs = {name: set(weights) for name, weights in done["pruned"].items()}
    pruned = [place for place in places if place.weight.variable.name in theirs.get(place.layer, ())]
    left = {
        place.weight.variable.path: "TFMOT prunes no such weight" for place in places if place not in pruned
    }
    if not pruned:
        raise InputError(
            f"TFMOT prunes no weight of {', '.join(left)}; name others, or prune with engine='keras'."
        )
    _check(trained, pruned, plan)
    return Pruned(to_model(trained), tuple(done["losses"]), left)


def _schedule(plan: Plan, steps: int) -> dict[str, Any]:
    """Give the arguments of TFMOT's schedule; it looks at a schedule in every so many steps only."""
    schedule = plan.schedule_for(steps)
    every = max(steps // UPDATES, 1)
    if isinstance(schedule, Polynomial):
        # Counted from 1, and the last step that it looks at has to be the one where the sparsity is whole.
        end = max(every * (schedule.end // every), 1)
        return {
            "initial_sparsity": schedule.initial,
            "final_sparsity": schedule.final,
            "begin_step": 0,
            "end_step": end,
            "power": schedule.power,
            "frequency": every,
        }
    begin = getattr(schedule, "begin", 0)
    return {"target_sparsity": plan.final, "begin_step": begin, "frequency": every}


def _check(graph: Graph, places: list[Place], plan: Plan) -> None:
    by_name = {layer.name: layer for layer in graph.calls()}
    arrays = [by_name[place.layer].weights[place.index][1] for place in places]
    zeros = sum(int(np.sum(array == 0)) for array in arrays) / sum(array.size for array in arrays)
    # Of a group that is not whole, less may go.
    least = plan.final - MISSING if plan.form.sparsity is None else MISSING
    if zeros < least:
        raise CheckError(
            f"TFMOT's training ended with {zeros:.1%} zeros where {plan.final:.1%} were asked for, so nothing was "
            "kept; train for more steps, or prune with engine='keras'."
        )
