"""Students: smaller models of a teacher's shape, by width and by depth, to be trained."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from slimedge.artifact import Step
from slimedge.canonical import canonical
from slimedge.compress.channels.choosing import MOST, Choosing
from slimedge.compress.channels.criteria.magnitude import l2, relative_sizes
from slimedge.compress.channels.groups import groups_of
from slimedge.compress.channels.removal import before_and_after
from slimedge.compress.channels.removing import without
from slimedge.compress.channels.rules import RULES
from slimedge.compress.channels.tracing import trace
from slimedge.compress.fresh_weights import with_fresh_weights
from slimedge.compress.quantization import is_quantized, with_nested
from slimedge.compress.shallower.shortening import to_remove, without_blocks
from slimedge.errors import InputError, OutOfReachError
from slimedge.graph import Graph
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.lineage import lineage_of, with_lineage
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data

WEIGHTS = ("fresh", "inherit")


@dataclass(frozen=True, slots=True)
class Student:
    """The stage of `student`, which says what its arguments mean; it takes no data."""

    width: float = 1.0
    depth: float = 1.0
    weights: str = "fresh"
    multiple: int = 8
    layers: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    seed: int = 0

    def __call__(self, model: keras.Model, data: Data, /, progress: Progress = silent) -> keras.Model:
        """Make a smaller model; see `student`."""
        del data
        progress("making a student")
        return student(model, **{each.name: getattr(self, each.name) for each in fields(self)})

    def check(self) -> None:
        """Refuse settings that no model can be made smaller with.

        Raises:
            InputError: one of them.
        """
        _check(self.width, self.depth, self.weights, self.multiple, (*self.layers, *self.exclude))


def student(
    teacher: keras.Model,
    *,
    width: float = 1.0,
    depth: float = 1.0,
    weights: str = "fresh",
    multiple: int = 8,
    layers: Collection[str] = (),
    exclude: Collection[str] = (),
    seed: int = 0,
) -> keras.Model:
    """Make a smaller model of a teacher's shape, to be trained towards it.

    First blocks go, then channels. A block is a residual unit, or a layer with its normalization and activation,
    between two values of the same shape through which all work for an output goes; attention and feed-forward that
    follow each other again and again go together. Those that go are spread evenly over each run of blocks, the last one
    first; what takes an input, makes an output or changes the shape stays. Channels hang together as in
    `slimedge.compress.channel_pruning.prune_channels`, and here each layer keeps its own share of them. Inputs and
    outputs stay as they are.

    Args:
        teacher: float, any that `slimedge.graph_reading.from_model` reads; it stays as it is.
        width: share of the channels of each layer that is left, above 0, up to 1.
        depth: share of the blocks that can go that is left, at most; above 0, up to 1.
        weights: `fresh`, drawn anew by each layer's own initializers; or `inherit`, the teacher's, with the channels
            whose weights have the largest L2 norm.
        multiple: of the channels that are left in each layer; halved for a layer until it has two of them; 1 for any
            number.
        layers: patterns of the names of layers whose channels may go; all where there is none.
        exclude: patterns of those whose channels stay.
        seed: of the weights that are drawn.

    Returns:
        An ordinary Keras 3 model, named as the teacher with `_student` behind it, whose layers have the teacher's
        names. Layers of nested models are its own. BatchNorm's statistics are 0 and 1 with fresh weights, and with
        inherited ones those that the teacher had for the channels.

    Raises:
        InputError: a setting that cannot be used, a quantized teacher, no channels that can go, or a pattern that fits
            none.
        OutOfReachError: a width or depth beyond what can go; says how far it can.

    Example:
        >>> import keras
        >>> image = keras.Input((8, 8, 3))
        >>> hidden = keras.layers.Conv2D(32, 3, activation="relu")(image)
        >>> teacher = keras.Model(image, keras.layers.Conv2D(4, 3)(hidden), name="net")
        >>> smaller = student(teacher, width=0.5)
        >>> smaller.name, [layer.filters for layer in smaller.layers[1:]]
        ('net_student', [16, 4])
    """
    _check(width, depth, weights, multiple, (*layers, *exclude))
    if is_quantized(teacher):
        raise InputError(
            f"model '{teacher.name}' is quantized; make the student of the float model, and quantize it afterwards."
        )
    whole = canonical(teacher)
    before = graph = from_model(whole)
    removed: list[list[str]] = []
    if depth < 1:
        blocks = to_remove(graph, depth)
        graph, removed = without_blocks(graph, blocks), [block.names for block in blocks]
    if width < 1:
        graph = _narrowed(graph, whole, width, multiple, layers, exclude)
    if weights == "fresh":
        graph = with_fresh_weights(graph, seed)
    told = {
        "width": width,
        "depth": depth,
        "weights": weights,
        "multiple": multiple,
        "seed": seed,
        "blocks_removed": removed,
        **before_and_after(before, graph),
    }
    made = to_model(replace(graph, name=f"{teacher.name}_student"))
    return with_lineage(made, (*lineage_of(teacher), Step("student", told)))


def _narrowed(
    graph: Graph,
    teacher: keras.Model,
    width: float,
    multiple: int,
    layers: Collection[str],
    exclude: Collection[str],
) -> Graph:
    tracing = trace(graph, RULES)
    groups = groups_of(graph, tracing, layers, exclude, lambda pattern: with_nested(teacher, [pattern]))
    scores = relative_sizes(tracing, l2)
    choosing = Choosing(graph, tracing, groups, scores, in_loss=False, ranking="layer", multiple=multiple)
    gone = choosing.nearest(1 - width)
    if not gone:
        raise OutOfReachError(
            f"width={width:g} leaves all channels of model '{graph.name}' where each layer keeps a multiple of "
            f"{multiple}; give less, or multiple=1."
        )
    return without(graph, tracing, gone)


def _check(width: float, depth: float, weights: str, multiple: int, patterns: Collection[str]) -> None:
    for name, share in (("width", width), ("depth", depth)):
        if not 0 < share <= 1:
            raise InputError(
                f"{name}={share:g} is not allowed; give the share that is left, above 0, up to 1."
            )
    if width == depth == 1:
        raise InputError(
            "width=1 and depth=1 leave the teacher as it is; give less of one of them, as width=0.5."
        )
    if width < 1 - MOST - 1e-9:
        raise OutOfReachError(
            f"width={width:g} is out of reach: at most {100 * MOST:.0f} % of a layer's channels go; give "
            f"{1 - MOST:.1g} or more."
        )
    if weights not in WEIGHTS:
        raise InputError(f"weights='{weights}' is not allowed; give {' or '.join(WEIGHTS)}.")
    if multiple < 1:
        raise InputError(f"multiple={multiple} is not allowed; give a whole number, 1 or more.")
    if patterns and width == 1:
        raise InputError(
            f"the pattern '{next(iter(patterns))}' chooses layers that lose channels, and with width=1 none does; "
            "leave it out, or give a width."
        )
