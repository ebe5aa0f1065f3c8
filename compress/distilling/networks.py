"""Teacher and student opened up: what a loss compares, of outputs and of layers within."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from slimedge.compress.fitting.outputs import Output, cut_to, opened, trained_outputs
from slimedge.compress.simplifying import strip_training_only
from slimedge.errors import InputError
from slimedge.graph import Graph, Value
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.keras_file import input_specs, output_specs
from slimedge.preprocessing import starts_with_preprocessing

if TYPE_CHECKING:
    import keras

    from slimedge.artifact import TensorSpec

Call = Callable[[list[Any]], list[Any]]


def opened_graph(model: keras.Model) -> Graph:
    """Give a model's graph without dropout, its last softmax or sigmoid as a layer of its own."""
    return opened(strip_training_only(from_model(model))[0])


def feature(graph: Graph, layer: str, whose: str) -> Value:
    """Give what a layer makes, at its last call.

    Args:
        graph: of a model.
        layer: its name.
        whose: for messages: "student".

    Raises:
        InputError: there is no such layer.
    """
    found = [node.output for node in graph.nodes if layer in (node.layer.name, node.source)]
    if not found:
        names = [node.layer.name for node in graph.nodes]
        shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        raise InputError(f"the {whose} has no layer '{layer}'; its layers are {shown}.")
    return found[-1]


def cut(graph: Graph, outputs: Sequence[Output], features: Sequence[Value]) -> Graph:
    """Give a graph with outputs that losses compare, and then features, as its outputs."""
    inner = [Output(-1, value, "identity") for value in features]
    producers = graph.producers()
    whole = [*outputs, *inner]
    return cut_to(graph, whole, [producers[output.value].layer.name for output in whole])


class Teacher:
    """A model that a student learns from.

    Args:
        model: float or quantized; it stays as it is.
        student: what learns.
        outputs: of the student, that are trained.
        layers: whose features are asked for.

    Attributes:
        name: of the model.
        features: shapes of what the layers make.

    Raises:
        InputError: it does not take or give what the student does, or has no such layer.
    """

    def __init__(
        self, model: keras.Model, student: keras.Model, outputs: Sequence[Output], layers: Sequence[str]
    ) -> None:
        self.name = model.name
        _check_preprocessing(model, student)
        graph = opened_graph(model)
        inputs = order_of(input_specs(model), input_specs(student), f"teacher '{model.name}'", "takes")
        places = order_of(output_specs(model), output_specs(student), f"teacher '{model.name}'", "gives")
        own = {output.position: output for output in trained_outputs(graph)}
        chosen = []
        for output in outputs:
            match = own.get(places.index(output.position))
            if match is None or match.function != output.function:
                raise InputError(
                    f"output '{output_specs(student)[output.position].name}' of the student is made by "
                    f"{_said(output.function)} and that of the teacher '{model.name}' by "
                    f"{_said(None if match is None else match.function)}; give both the same last activation."
                )
            chosen.append(match)
        values = [feature(graph, layer, f"teacher '{model.name}'") for layer in layers]
        self.features = tuple(value.shape for value in values)
        self._inputs = inputs
        self._call = _compiled(to_model(cut(graph, chosen, values), kept=False))

    def __call__(self, feeds: list[Any]) -> list[Any]:
        """Give outputs and then features for the student's inputs, each (k, …)."""
        return list(self._call([feeds[position] for position in self._inputs]))


def _compiled(model: keras.Model) -> Call:
    import keras
    import tensorflow as tf

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator, unused-ignore]
    def call(feeds: list[Any]) -> Any:
        return keras.tree.flatten(model(feeds, training=False))

    return call  # type: ignore[no-any-return, unused-ignore]


def order_of(own: Sequence[TensorSpec], students: Sequence[TensorSpec], who: str, what: str) -> list[int]:
    """Give for each of a teacher's tensors the place of the student's: by name, or else in order.

    Args:
        own: inputs or outputs of the teacher.
        students: those of the student.
        who: for messages: "teacher 'net'".
        what: likewise, what it does with them: "takes" or "gives".

    Raises:
        InputError: their numbers or shapes differ.
    """
    names = [spec.name for spec in students]
    by_name = sorted(names) == sorted(spec.name for spec in own)
    order = [names.index(spec.name) for spec in own] if by_name else list(range(len(students)))
    fitting = len(own) == len(students) and all(
        _alike(spec.shape, students[place].shape) for spec, place in zip(own, order, strict=True)
    )
    if not fitting:
        lists = [", ".join(f"'{spec.name}' {spec.shape}" for spec in specs) for specs in (own, students)]
        raise InputError(
            f"the {who} {what} {lists[0]}, and the student {lists[1]}; distillation needs models that take and give "
            "the same."
        )
    return order


def _alike(one: Sequence[int | None], other: Sequence[int | None]) -> bool:
    return len(one) == len(other) and all(
        a is None or b is None or a == b for a, b in zip(one[1:], other[1:], strict=True)
    )


def _check_preprocessing(teacher: keras.Model, student: keras.Model) -> None:
    one, other = bool(starts_with_preprocessing(teacher)), bool(starts_with_preprocessing(student))
    if one != other:
        whose = ("the teacher", "the student") if one else ("the student", "the teacher")
        raise InputError(
            f"{whose[0]} scales its pixels itself and {whose[1]} does not, so one of them would see wrong values; give "
            "both a Rescaling layer, or neither."
        )


def _said(function: str | None) -> str:
    return {"identity": "no softmax or sigmoid", None: "nothing that trains"}.get(function, str(function))
