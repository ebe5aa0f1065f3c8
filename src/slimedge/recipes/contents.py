"""What a recipe says, once it was read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slimedge.recipes.stages import NamedStage


@dataclass(frozen=True, slots=True)
class DataSettings:
    """Examples for a recipe; the arguments of `slimedge.data.Data.load`, `split` and `bind`.

    Attributes:
        source: an absolute path, or `module:function`.
        labels: name of the array or column that holds the labels.
        scale: what values are multiplied with.
        part: `train` or `test`, to take only that part.
        image_size: height and width.
        limit: at most so many examples of a tf.data.Dataset.
        calibration: a count (int) or share (float) of the examples; None for the default of `Data.split`.
        evaluation: likewise.
        training: likewise.
        checks: `strict` or `types`.
    """

    source: str
    labels: str | None = None
    scale: str | float | None = None
    part: str | None = None
    image_size: tuple[int, int] | None = None
    limit: int | None = None
    calibration: float | None = None
    evaluation: float | None = None
    training: float | None = None
    checks: str = "strict"


@dataclass(frozen=True, slots=True)
class Exports:
    """Files to write; see `slimedge.export.exporting.export_model`.

    Attributes:
        to: formats.
        io: type of inputs and outputs.
        batch: of the TFLite file.
        integers: types of an ONNX file; None for those that suit this CPU.
        dense: whether zeros are stored in the TFLite file.
        compute: what an ONNX file of a float model computes in.
    """

    to: tuple[str, ...]
    io: str = "float32"
    batch: int = 1
    integers: str | None = None
    dense: bool = False
    compute: str = "float32"


@dataclass(frozen=True, slots=True)
class Goals:
    """What the result must reach; None where nothing is asked.

    Attributes:
        max_accuracy_drop: percentage points of accuracy.
        min_speedup: over float.
        max_bytes: of each file.
        max_arena_bytes: of the memory that TFLite Micro needs for the TFLite file.
    """

    max_accuracy_drop: float | None = None
    min_speedup: float | None = None
    max_bytes: int | None = None
    max_arena_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class RecipeFile:
    """What a recipe asks for.

    Attributes:
        path: of the file; None for a preset.
        name: of the file without its ending, or of the preset.
        model: absolute path of the `.keras` file.
        data: examples.
        stages: in order; at least one.
        exports: files to write.
        targets: where they are measured, at most one for each format.
        effort: how long latency is measured.
        threads: of every runtime.
        goals: what must be reached.
        seed: of the split; stages have it, too, where they name no other.
    """

    path: Path | None
    name: str
    model: Path
    data: DataSettings
    stages: tuple[NamedStage, ...]
    exports: Exports
    targets: tuple[str, ...]
    effort: str
    threads: int
    goals: Goals
    seed: int
