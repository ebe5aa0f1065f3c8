"""The training engine of TensorFlow's Model Optimization Toolkit (TFMOT).

TFMOT takes models of Keras 2 only, and turns a process into one of Keras 2. So the float model goes to a process of its
own as data, is rebuilt there with tf-keras and compared, quantized and trained as TFMOT does it, and what comes back
(weights, BatchNorm's statistics, ranges of activations) becomes the numbers of an ordinary quantized graph.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.calibration import calibrate, signal_to_noise
from slimedge.compress.fitting.goals import goals_of
from slimedge.compress.fitting.outputs import Output, opened, trained_outputs
from slimedge.compress.inserting import insert
from slimedge.compress.placement import place
from slimedge.compress.planning import Bits, planned
from slimedge.compress.qat.engines import Engine, Outcome
from slimedge.compress.qat.tfmot.grids import with_scales
from slimedge.compress.qat.tfmot.tensors import Ranges, by_group, by_tensor, groups_of
from slimedge.compress.settings import EXCLUDED
from slimedge.compress.simplifying import split_separable, strip_training_only
from slimedge.compress.static import simplify
from slimedge.compress.tfmot.sending import check_loss, cut, outputs_of, with_weights, write, write_labels
from slimedge.data import CALIBRATION_EXAMPLES
from slimedge.errors import InputError
from slimedge.files import scratch_folder
from slimedge.graph import Graph
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.isolation import run_isolated
from slimedge.keras_file import output_specs
from slimedge.lineage import lineage_of, quantization_of
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras

    from slimedge.compress.qat.settings import Settings
    from slimedge.data import Data

SCHEME = "static_wi8_ai8"
# How TFMOT trains, in the words of our settings.
FIXED = {
    "ranges": "moving_average",
    "gradients": "straight_through",
    "batchnorm": "trained",
    "freeze_after": 1.0,
    "weight_bits": 8,
    "constraints": (),
}
# What it takes of `Settings` for its training.
SENT = ("epochs", "learning_rate", "batch_size", "seed")


def train(
    teacher: keras.Model | None,
    quantized: keras.Model,
    data: Data,
    settings: Settings,
    progress: Progress = silent,
    *,
    calibrated: bool = True,
) -> Outcome:
    """Train a float model with TFMOT and quantize what that gave.

    TFMOT's ranges follow the batches with a decay of 0.999, from -6…6 where nobody sets them, so that an epoch of some
    hundred steps would end near there. Here they start where calibration finds them.

    Ranges that TFMOT has none of are found again, on some of the examples with the trained weights. Dropout and
    augmentation are left out, as they are in a quantized graph.

    Args:
        teacher: the float model.
        quantized: what quantizing it with `static_wi8_ai8` gave; its layers that were excluded stay float.
        data: bound to both.
        settings: settled.
        progress: told what is being done.
        calibrated: whether TFMOT's ranges start so, rather than as TFMOT sets them.

    Returns:
        A model like `quantized`; told is `agreement_sqnr_db`, of each trained output against TFMOT's own quantized
        model on the examples of calibration, in front of softmax or sigmoid.

    Raises:
        InputError: the float model is missing, cannot be rebuilt in tf-keras, or is not one that TFMOT takes.
        CheckError: the loss became NaN or infinite.
    """
    if teacher is None:
        raise InputError(
            f"model '{quantized.name}' is quantized, and TFMOT trains float models; give the one that it was quantized "
            "from as teacher=, or train with engine='keras'."
        )
    how = _quantization(quantized, settings)
    graph, exclude = _prepared(from_model(teacher), how["float_layers"])
    outputs, goals = goals_of(trained_outputs(graph), teacher, quantized, data, settings)
    sent = cut(graph, outputs)
    few = data.take(min(CALIBRATION_EXAMPLES, len(data)), seed=settings.seed)
    with scratch_folder() as folder:
        write(folder, sent, data, few)
        if settings.loss is not None:
            write_labels(folder, goals, data.labels_for(output_specs(quantized)))
        progress("calibrating")
        starts = _starts(graph, exclude, few, how["observer"]) if calibrated else {}
        progress("starting TFMOT")
        done = run_isolated(
            "slimedge.compress.qat.tfmot.worker:run",
            {
                "folder": str(folder),
                "settings": {name: getattr(settings, name) for name in SENT},
                "goals": [asdict(goal) for goal in goals],
                "exclude": sorted(exclude),
                "starts": starts,
            },
            label=f"TFMOT's training of model '{teacher.name}'",
            time_limit_s=math.inf,
            environment={"TF_ENABLE_ONEDNN_OPTS": "1"},
            progress=progress,
        ).result
        with np.load(folder / "trained.npz") as arrays:
            trained = with_weights(graph, sent, arrays)
            scales = {
                layer.name: arrays[f"{number}/scale"]
                for number, layer in enumerate(sent.calls())
                if f"{number}/scale" in arrays
            }
        theirs = [np.load(folder / f"found_{index}.npy") for index in range(len(outputs))]
    progress("calibrating")
    model = to_model(_quantized(trained, exclude, done["ranges"], scales, few, how["observer"]))
    made = from_model(model)
    if {node.name for node in made.nodes} != {node.name for node in from_model(quantized).nodes}:
        raise InputError(
            f"model '{quantized.name}' has other layers than quantizing model '{teacher.name}' with {SCHEME} gives; "
            "give the float model that it was quantized from as teacher=, or train with engine='keras'."
        )
    return Outcome(
        model, tuple(done["losses"]), {"agreement_sqnr_db": _agreement(made, outputs, theirs, few)}
    )


ENGINE = Engine(train, FIXED)


def _quantization(quantized: keras.Model, settings: Settings) -> Mapping[str, Any]:
    """Give how the model was quantized.

    Raises:
        InputError: in a way that cannot be done again after TFMOT's training, or the loss cannot be sent there.
    """
    check_loss(settings)
    how = quantization_of(lineage_of(quantized)) or {}
    for name, value in {
        "scheme": SCHEME,
        "granularity": "per_channel",
        "methods": [],
        "observers": {},
        "layer_bits": {},
    }.items():
        if how.get(name, value) != value:
            raise InputError(
                f"model '{quantized.name}' was quantized with {name} {how[name]}, which TFMOT's training of the float "
                f"model would undo; quantize it with {SCHEME} alone, or train with engine='keras'."
            )
    return {"float_layers": {}, "observer": "minmax", **how}


def _prepared(graph: Graph, float_layers: Mapping[str, str]) -> tuple[Graph, frozenset[str]]:
    """Give a float graph as it is trained, and the names of its layers that the user excluded.

    What only training has is left out; a softmax or sigmoid that makes an output is a layer of its own, since losses
    compare what is in front of it; and the source of each node is the name of its layer.
    """
    graph = opened(split_separable(strip_training_only(graph)[0]))
    exclude = frozenset(node.layer.name for node in graph.nodes if float_layers.get(node.source) == EXCLUDED)
    return graph.with_nodes(replace(node, source=node.layer.name) for node in graph.nodes), exclude


def _starts(graph: Graph, exclude: frozenset[str], few: Data, observer: str) -> Ranges:
    """Give the calibrated ranges of the tensors that TFMOT may have a range of."""
    simplified, _, _ = simplify(graph)
    placement = place(simplified, exclude=dict.fromkeys(exclude, EXCLUDED))
    ranges = calibrate(simplified, placement, few, observer=observer)
    # TFMOT's hold 0 from the start, too.
    ranges = {group: (min(low, 0.0), max(high, 0.0)) for group, (low, high) in ranges.items()}
    return by_tensor(ranges, groups_of(graph, simplified, placement))


def _quantized(
    graph: Graph,
    exclude: frozenset[str],
    told: Ranges,
    scales: Mapping[str, NDArray[Any]],
    few: Data,
    observer: str,
) -> Graph:
    """Quantize a float graph as `static_wi8_ai8` does, with TFMOT's ranges and scales where it has some."""
    simplified, _, _ = simplify(graph)
    placement = place(simplified, exclude=dict.fromkeys(exclude, EXCLUDED))
    theirs = by_group(told, groups_of(graph, simplified, placement))
    known = replace(placement, fixed={**placement.fixed, **theirs})
    ranges = calibrate(simplified, known, few, observer=observer)
    return insert(with_scales(planned(simplified, placement, ranges, Bits()), graph, scales))


def _agreement(
    made: Graph, outputs: Sequence[Output], theirs: Sequence[NDArray[Any]], few: Data
) -> dict[str, float]:
    """Give the SQNR of each trained output against that of TFMOT's own quantized model, in dB."""
    positions = {output.position for output in outputs}
    ours_only = cut(made, [output for output in trained_outputs(made) if output.position in positions])
    ours = outputs_of(ours_only, few)
    levels = signal_to_noise([(theirs, ours)])
    return dict(zip(ours_only.output_names, levels, strict=True))
