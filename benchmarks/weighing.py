"""What a model file weighs before it is run: bytes, numbers in its weights, multiply-accumulates, memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slimedge import macs
from slimedge.artifact import Artifact, Format
from slimedge.artifact_file import weights_summary
from slimedge.benchmarks import activation_graphs, file_macs, size
from slimedge.benchmarks.activation_memory import Peak
from slimedge.benchmarks.file_graph import FileGraph, read_onnx, read_tflite
from slimedge.weight_facts import WeightFacts, totals

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Weight:
    """What was found.

    Attributes:
        file_bytes: of the file, external weights included.
        gzip_bytes: the same after gzip level 9.
        parameters: numbers in the weights.
        nonzero_parameters: those that are not zero.
        macs: multiply-accumulates for one example; None where some op could not be counted.
        activations: the memory that they need for one example; None where it is not known.
        weights: each of an ONNX or TFLite file.
        graph: what such a file computes; None for a Keras file.
        notes: what the reader should know.
    """

    file_bytes: int
    gzip_bytes: int
    parameters: int
    nonzero_parameters: int
    macs: int | None
    activations: Peak | None = None
    weights: tuple[WeightFacts, ...] = ()
    graph: FileGraph | None = None
    notes: tuple[str, ...] = ()

    @property
    def stored_sparsely(self) -> bool:
        """Whether zeros of some weight are left out of the file, so that a runtime can leave them out, too."""
        return any(weight.sparse for weight in self.weights)


def weigh(artifact: Artifact) -> Weight:
    """Weigh a model file.

    Args:
        artifact: any format; a Keras file is opened for its layers.

    Raises:
        InputError: the file cannot be used.
    """
    files = files_of(artifact)
    file_bytes, gzip_bytes = size.file_bytes(files), size.gzip_bytes(files)
    if artifact.format is Format.KERAS:
        from slimedge.keras_file import load_model

        parameters, nonzero = weights_summary(artifact.path)
        model = load_model(artifact.path, compiled=False)
        counted = macs.count(model)
        activations = activation_graphs.of_model(model)
        return Weight(
            file_bytes=file_bytes,
            gzip_bytes=gzip_bytes,
            parameters=parameters,
            nonzero_parameters=nonzero,
            macs=counted.total,
            activations=activations,
            notes=macs_notes(counted),
        )
    weights, graph = _read(artifact)
    parameters, nonzero = totals(weights)
    counted = file_macs.count(graph)
    return Weight(
        file_bytes=file_bytes,
        gzip_bytes=gzip_bytes,
        parameters=parameters,
        nonzero_parameters=nonzero,
        macs=counted.total,
        activations=activation_graphs.of_file(graph),
        weights=weights,
        graph=graph,
        notes=macs_notes(counted),
    )


def files_of(artifact: Artifact) -> tuple[Path, ...]:
    """Give the files that a model consists of: the file itself, then its external weights."""
    if artifact.format is not Format.ONNX:
        return (artifact.path,)
    from slimedge.onnx_file import external_files

    return (artifact.path, *external_files(artifact.path))


def macs_notes(counted: macs.Macs) -> tuple[str, ...]:
    """Name the layers that were not counted, if any."""
    left = counted.uncounted
    if not left:
        return ()
    more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
    return (f"MACs are not known: {', '.join(left[:_NAMED])}{more} could not be counted.",)


def _read(artifact: Artifact) -> tuple[tuple[WeightFacts, ...], FileGraph]:
    if artifact.format is Format.ONNX:
        from slimedge.onnx_file import weights

        return weights(artifact.path), read_onnx(artifact.path)
    from slimedge.tflite_file import weights

    return weights(artifact.path), read_tflite(artifact.path)
