"""Does a file compute what the Keras model computes, and if not, from which layer on?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import TensorSpec
from slimedge.depth import any_depth
from slimedge.errors import CheckError, InputError
from slimedge.keras_file import input_specs, output_specs
from slimedge.vocabulary import vocabularies

if TYPE_CHECKING:
    import keras

Arrays = Mapping[str, NDArray[Any]]

EXAMPLES = 8
# Of large inputs fewer: each example passes through as many more numbers.
MOST_NUMBERS = 2**19
FEWEST = 2
# A float file differs from Keras by the order of float32 sums only.
FLOAT_TOLERANCE = 1e-3
# A quantized file differs by rounding ties, each one step of an int8 grid that later layers carry on: either the
# difference is small beside the signal, or (outputs near 0) it is one step.
QUANTIZED_SQNR_DB = 30.0
QUANTIZED_STEPS = 1.5
# Steps of 16 bits are 48 dB smaller. LiteRT computes sigmoid, tanh and softmax of them from tables, and some products
# with 15 bits.
WIDE_SQNR_DB = 50.0
# A file whose runtime rounds activations as they come differs from Keras, which does not, by that rounding.
DYNAMIC_SQNR_DB = 15.0
# Rounding to the 11 bits of float16 alone is 70 dB below the signal; each layer adds its own.
HALF_SQNR_DB = 40.0


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How close a file is to its Keras model on the same examples.

    Attributes:
        examples: number of them.
        max_error: largest difference relative to the range of the output.
        sqnr_db: of the outputs, all together; None where nothing differs.
        max_steps: largest difference in steps of the output's grid; None where an output has none.
    """

    examples: int
    max_error: float
    sqnr_db: float | None
    max_steps: float | None = None


def fidelity(expected: Arrays, got: Arrays, steps: Mapping[str, float] | None = None) -> Fidelity:
    """Compare outputs by name.

    Args:
        expected: Keras' outputs, first axis the examples.
        got: the file's, same names and shapes.
        steps: grid step of each quantized output, by name.
    """
    worst, signal, noise = 0.0, 0.0, 0.0
    counted: float | None = 0.0
    for name, reference in expected.items():
        if name not in got:
            raise CheckError(f"output '{name}' is missing in the file; it has {', '.join(sorted(got))}.")
        exact, other = reference.astype(np.float64), got[name].astype(np.float64)
        if exact.shape != other.shape:
            raise CheckError(
                f"output '{name}' has shape {other.shape} in the file and {exact.shape} in Keras."
            )
        finite, difference = exact[np.isfinite(exact)], _difference(exact, other)
        spread = float(np.ptp(finite) or np.max(np.abs(finite)) or 1.0) if finite.size else 1.0
        largest = float(np.max(difference))
        worst = max(worst, largest / spread)
        step = (steps or {}).get(name)
        counted = None if step is None or counted is None else max(counted, largest / step)
        signal, noise = signal + float(np.sum(finite**2)), noise + float(np.sum(difference**2))
    examples = len(next(iter(expected.values())))
    with np.errstate(divide="ignore"):  # an infinite error is -inf dB
        level = None if noise == 0 else float(10 * np.log10(max(signal, 1e-30) / noise))
    return Fidelity(examples, worst, level, counted)


def _difference(exact: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Absolute differences: 0 between two NaN or equal infinities, infinite where only one is such a value."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(exact - other)
    same = (exact == other) | (np.isnan(exact) & np.isnan(other))
    return np.where(same, 0.0, np.where(np.isnan(difference), np.inf, difference))


def is_close(
    measured: Fidelity, *, quantized: bool, dynamic: bool = False, wide: bool = False, half: bool = False
) -> bool:
    """Whether a file is as close as its kind can be; NaN is not.

    Args:
        measured: of the file.
        quantized: its activations are rounded to grids that Keras has as well.
        dynamic: its activations are rounded to grids that only its runtime has.
        wide: all of its activations have 16 bits.
        half: it computes in float16.
    """
    if not np.isfinite(measured.max_error):
        return False
    if measured.sqnr_db is None or (dynamic and measured.sqnr_db >= DYNAMIC_SQNR_DB):
        return True
    if half and measured.sqnr_db >= HALF_SQNR_DB:
        return True
    if not quantized:
        return measured.max_error <= FLOAT_TOLERANCE
    if measured.max_steps is not None and measured.max_steps <= QUANTIZED_STEPS:
        return True
    return measured.sqnr_db >= (WIDE_SQNR_DB if wide else QUANTIZED_SQNR_DB)


def output_steps(model: keras.Model) -> dict[str, float]:
    """Give the grid step of each output that a fake-quant makes, by name."""
    producers = [tensor._keras_history.operation for tensor in model.outputs]
    return {
        spec.name: layer.grid()[0]
        for spec, layer in zip(output_specs(model), producers, strict=True)
        if type(layer).__name__ == "FakeQuant"
    }


def first_difference(
    model: keras.Model,
    inputs: Arrays,
    inside: Callable[[Sequence[str]], Arrays],
    *,
    quantized: bool,
    dynamic: bool = False,
    wide: bool = False,
    half: bool = False,
) -> str | None:
    """Name the first Keras layer from which on the tensors differ between the model and the file.

    Args:
        model: functional.
        inputs: examples by name.
        inside: gives the file's tensors of those layers that it has, by layer name.
        quantized: which tolerance counts; see `is_close`.
        dynamic: likewise.
        wide: likewise.
        half: likewise.

    Returns:
        The layer's name, or None where the last layer that both have is close.
    """
    import keras

    tensors = _tensors_of(model)
    with any_depth():
        probe = keras.Model(model.inputs, list(tensors.values()))
    values = keras.tree.flatten(probe.predict_on_batch([inputs[spec.name] for spec in input_specs(model)]))
    expected = dict(zip(tensors, map(np.asarray, values), strict=True))
    found = inside(list(expected))
    parting: str | None = None
    for name, reference in expected.items():
        other = found.get(name)
        if other is None or other.size != reference.size:
            continue
        if other.shape != reference.shape:  # ONNX holds images channels first
            other = np.moveaxis(other, 1, -1) if other.ndim == reference.ndim else other
            other = other.reshape(reference.shape)
        measured = fidelity({name: reference}, {name: other})
        # Where they meet again, what differed before was folded into a neighbour.
        close = is_close(measured, quantized=quantized, dynamic=dynamic, wide=wide, half=half)
        parting = None if close else parting or str(name)
    return parting


def _tensors_of(model: keras.Model) -> dict[str, Any]:
    """The first tensor that each layer gives in this model, by layer name, in the order of the calls."""
    done: dict[str, Any] = {}
    seen, stack = {id(tensor) for tensor in model.inputs}, [(tensor, False) for tensor in model.outputs]
    while stack:
        tensor, ready = stack.pop()
        operation, index, _ = tensor._keras_history
        if ready:
            done.setdefault(operation.name, operation._inbound_nodes[index].output_tensors[0])
        elif id(tensor) not in seen:
            seen.add(id(tensor))
            stack.append((tensor, True))
            stack.extend((given, False) for given in operation._inbound_nodes[index].input_tensors)
    return done


def example_inputs(model: keras.Model, given: Arrays | None) -> dict[str, NDArray[Any]]:
    """Give a few examples: the caller's, else seeded random numbers inside each input's own range.

    A quantized input's range is that of its fake-quant; a float one gets a standard normal; integers are ids of the
    table that they are looked up in, else 0 and 1.

    Raises:
        InputError: the caller's do not fit the model.
    """
    generator = np.random.default_rng(0)
    ranges, known = _input_ranges(model), vocabularies(model) if given is None else {}
    sizes = [int(np.prod([size or 16 for size in spec.shape[1:]])) for spec in input_specs(model)]
    count = int(np.clip(MOST_NUMBERS // max(*sizes, 1), FEWEST, EXAMPLES))
    examples = {}
    for spec in input_specs(model):
        if given is not None:
            examples[spec.name] = _checked(given, spec)
            continue
        shape = (count, *(size or 16 for size in spec.shape[1:]))
        if not np.issubdtype(np.dtype(spec.dtype), np.floating):
            examples[spec.name] = generator.integers(0, known.get(spec.name, 2), shape).astype(spec.dtype)
        elif spec.name in ranges:
            examples[spec.name] = generator.uniform(*ranges[spec.name], shape).astype(spec.dtype)
        else:
            examples[spec.name] = generator.standard_normal(shape).astype(spec.dtype)
    return examples


def _checked(given: Arrays, spec: TensorSpec) -> NDArray[Any]:
    if spec.name not in given:
        raise InputError(f"the examples hold {', '.join(sorted(given))}, and no input '{spec.name}'; add it.")
    array = given[spec.name]
    wanted = spec.shape[1:]
    fits = len(array.shape) == len(spec.shape) and all(
        size in (None, held) for size, held in zip(wanted, array.shape[1:], strict=True)
    )
    if not fits or not len(array):
        shape = ", ".join("any" if size is None else str(size) for size in wanted)
        raise InputError(
            f"the examples of input '{spec.name}' have shape {array.shape}; give one or more of shape ({shape})."
        )
    return np.asarray(array[:EXAMPLES], spec.dtype)


def _input_ranges(model: keras.Model) -> dict[str, tuple[float, float]]:
    names = {id(tensor): spec.name for tensor, spec in zip(model.inputs, input_specs(model), strict=True)}
    ranges = {}
    for layer in model.layers:
        if type(layer).__name__ == "FakeQuant" and id(layer.input) in names:
            scale, zero_point = layer.grid()
            ranges[names[id(layer.input)]] = (-zero_point * scale, (2**layer.bits - 1 - zero_point) * scale)
    return ranges
