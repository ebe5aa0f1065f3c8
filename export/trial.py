"""Run a freshly converted file in the process that converted it, and look inside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

# The key of the one signature that an exported TFLite file has.
SIGNATURE = "serving_default"

Arrays = Mapping[str, NDArray[Any]]
Grids = Mapping[str, Any]


class Trial(Protocol):
    """A file that can be run; floats in and out whatever it takes itself."""

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Give outputs by name for examples by name."""

    def inside(self, inputs: Arrays, layers: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Give the tensors of those layers that the file has."""


class OnnxTrial:
    """An ONNX model on ONNX Runtime's CPU provider.

    Args:
        content: the serialized model.
        grids: scale, zero point and dtype of each integer input and output, by name.
    """

    def __init__(self, content: bytes, grids: Grids) -> None:
        import onnxruntime

        self._content, self._grids = content, grids
        self._session = onnxruntime.InferenceSession(content, _quiet(), providers=["CPUExecutionProvider"])

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Give outputs by name."""
        return self._run(self._session, inputs)

    def _run(self, session: Any, inputs: Arrays) -> dict[str, NDArray[Any]]:
        feeds = {}
        for given in session.get_inputs():
            array = inputs[given.name]
            feeds[given.name] = array if "float" in given.type else self._quantize(given, array)
        names = [value.name for value in session.get_outputs()]
        results = dict(zip(names, session.run(None, feeds), strict=True))
        return {name: self._dequantize(name, array) for name, array in results.items()}

    def _quantize(self, given: Any, array: NDArray[Any]) -> NDArray[Any]:
        grid = self._grids.get(given.name)
        return array if grid is None else quantize(array, grid)

    def _dequantize(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        grid = self._grids.get(name)
        return array if grid is None or array.dtype == np.float32 else dequantize(array, grid)

    def inside(self, inputs: Arrays, layers: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Give the last float tensor of each layer."""
        import onnx
        import onnxruntime

        model = onnx.load_from_string(self._content)
        present = {value.name for value in model.graph.output}
        last: dict[str, str] = {}
        for node in model.graph.node:
            if node.op_type not in {"QuantizeLinear", "Shape", "Constant"}:
                last[node.name.partition("/")[0]] = node.output[0]
        wanted = {layer: last[layer] for layer in layers if layer in last}
        for tensor in dict.fromkeys(wanted.values()):
            if tensor not in present:
                model.graph.output.append(onnx.ValueInfoProto(name=tensor))
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), _quiet(), providers=["CPUExecutionProvider"]
        )
        values = self._run(session, inputs)
        return {layer: values[tensor] for layer, tensor in wanted.items()}


class TfliteTrial:
    """A TFLite model in LiteRT's interpreter.

    Args:
        content: the file.
    """

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._content = content
        self._interpreter = Interpreter(model_content=content, num_threads=1)
        self._runner = self._interpreter.get_signature_runner(SIGNATURE)
        self._given = self._runner.get_input_details()
        self._made = self._runner.get_output_details()
        self.batch = int(next(iter(self._given.values()))["shape"][0])

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Give outputs by name."""
        pieces: dict[str, list[NDArray[Any]]] = {name: [] for name in self._made}
        for feeds, count in self._feeds(inputs, self._given):
            for name, array in self._runner(**feeds).items():
                pieces[name].append(_as_float(array, self._made[name])[:count])
        return {name: np.concatenate(parts) for name, parts in pieces.items()}

    def _feeds(self, inputs: Arrays, details: Mapping[str, Any]) -> Any:
        total = len(next(iter(inputs.values())))
        for start in range(0, total, self.batch):
            feeds, count = {}, min(self.batch, total - start)
            for name, detail in details.items():
                part = inputs[name][start : start + self.batch]
                if count < self.batch:
                    part = np.concatenate([part, np.repeat(part[-1:], self.batch - count, axis=0)])
                feeds[name] = _as_integer(part, detail)
            yield feeds, count

    def inside(self, inputs: Arrays, layers: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Give the tensor of each layer; a fused operator's tensor is that of the last layer in it."""
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        interpreter = Interpreter(
            model_content=self._content,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=plain,
        )
        interpreter.allocate_tensors()
        made = {int(index) for op in interpreter._get_ops_details() for index in op["outputs"]}  # noqa: SLF001 - no public list of operators
        tensors: dict[str, Any] = {}
        for detail in interpreter.get_tensor_details():
            if detail["index"] in made:
                tensors.setdefault(detail["name"].partition(":")[0].partition("+")[0], detail)
        pieces: dict[str, list[NDArray[Any]]] = {}
        by_name = {detail["name"]: detail for detail in interpreter.get_input_details()}
        for feeds, count in self._feeds(inputs, by_name):
            for name, array in feeds.items():
                interpreter.set_tensor(by_name[name]["index"], array)
            interpreter.invoke()
            for layer in layers:
                detail = tensors.get(layer.removesuffix("_fq"), tensors.get(layer))
                if detail is not None:
                    array = interpreter.get_tensor(detail["index"])
                    pieces.setdefault(layer, []).append(_as_float(array, detail)[:count].copy())
        return {layer: np.concatenate(parts) for layer, parts in pieces.items()}


def quantize(array: NDArray[Any], grid: Mapping[str, Any]) -> NDArray[Any]:
    """Put real numbers on a grid, half to even, saturating."""
    limits = np.iinfo(grid["dtype"])
    numbers = np.rint(array / np.float32(grid["scale"])) + grid["zero_point"]
    return np.asarray(np.clip(numbers, limits.min, limits.max), grid["dtype"])


def dequantize(array: NDArray[Any], grid: Mapping[str, Any]) -> NDArray[np.float32]:
    """Give the real numbers that integers stand for."""
    return np.asarray((array.astype(np.float32) - grid["zero_point"]) * np.float32(grid["scale"]), np.float32)


def _grid(detail: Mapping[str, Any]) -> dict[str, Any] | None:
    scale, zero_point = detail["quantization"]
    return (
        {"scale": scale, "zero_point": zero_point, "dtype": np.dtype(detail["dtype"]).name} if scale else None
    )


def _as_integer(array: NDArray[Any], detail: Mapping[str, Any]) -> NDArray[Any]:
    grid = _grid(detail)
    return quantize(array, grid) if grid and detail["dtype"] != np.float32 else array.astype(detail["dtype"])


def _as_float(array: NDArray[Any], detail: Mapping[str, Any]) -> NDArray[Any]:
    grid = _grid(detail)
    return dequantize(array, grid) if grid and detail["dtype"] != np.float32 else array


def _quiet() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return options
