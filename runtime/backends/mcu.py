"""TFLite Micro, the runtime of microcontrollers, on this machine: runs `.tflite` with its reference kernels.

What a file answers is what it answers on a microcontroller, but how long that takes here says nothing about one.

Travels with the agent, and with its `parts`: standard library, numpy and tflite-micro only, from Python 3.8 on.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import tempfile
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Dict, Iterator, List, Optional, Tuple

import numpy as np

from . import litert_ops

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from slimedge.artifact import Artifact
    from slimedge.runtime.protocols import Session

# More than any microcontroller has; what is not used of it takes no memory.
ARENA_BYTES = 1 << 26
# What TFLite Micro prints of its allocations, and of what follows from an error further down.
_NO_REASON = re.compile(r"^\[\w+\]|^Node .* failed to prepare|^$")


class TFLiteMicro:
    """The backend `mcu`; it has no options.

    Attributes:
        measurer: of its own, as the latency here is not that of what the name stands for.
    """

    name: ClassVar[str] = "mcu"
    formats: ClassVar[Tuple[str, ...]] = ("tflite",)
    packages: ClassVar[Tuple[str, ...]] = ("tflite-micro", "numpy")
    parts: ClassVar[Tuple[str, ...]] = ("litert_ops.py",)
    measurer: ClassVar[str] = "microcontrollers"

    def missing(self) -> Optional[str]:
        """Give why this cannot run here, or None."""
        if importlib.util.find_spec("tflite_micro") is None:
            return "TFLite Micro is not installed; pip install 'slimedge[mcu]'"
        return None

    def open(self, artifact: Artifact, /, *, threads: int, **options: Any) -> AbstractContextManager[Session]:
        """Open a model in a process of its own."""
        from slimedge.runtime.sessions import open_session

        return open_session(self.name, artifact, threads=threads, options=options)

    def prepare(self) -> None:
        """Import the runtime, in the agent."""
        import tflite_micro.python.tflite_micro.runtime  # noqa: F401

    def providers(self) -> Dict[str, Optional[str]]:
        """Give what this build runs on, in the agent."""
        return {"cpu": None}

    def load(
        self, path: str, _format: str, *, threads: int, provider: str = "cpu", **_options: Any
    ) -> TFLiteMicroModel:
        """Load a model, in the agent; TFLite Micro has one thread, whatever is asked for."""
        del threads
        if provider != "cpu":
            raise ValueError("TFLite Micro has no delegate '{}'; it has cpu.".format(provider))
        with open(path, "rb") as file:
            content = file.read()
        try:
            return TFLiteMicroModel(content)
        except ValueError as error:
            raise ValueError(
                "TFLite Micro cannot load {}: {}; export what it has kernels for.".format(
                    os.path.basename(path), error
                )
            ) from error


class TFLiteMicroModel:
    """A loaded model; see `slimedge.runtime.protocols.LoadedModel`.

    Args:
        content: the file.
        arena_bytes: see `interpreter`.
    """

    provider = "cpu"

    def __init__(self, content: bytes, arena_bytes: int = ARENA_BYTES) -> None:
        self._content = content
        inputs, outputs = _names(content)
        self.interpreter = interpreter(content, arena_bytes)
        given, made = self.interpreter.get_input_details, self.interpreter.get_output_details
        self.inputs = [_spec(name, given(index)) for index, name in enumerate(inputs)]
        self.outputs = [_spec(name, made(index)) for index, name in enumerate(outputs)]

    def run(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """Give the outputs by name as the file has them."""
        return dict(zip([spec["name"] for spec in self.outputs], self.bind(feeds)()))

    def bind(self, feeds: Dict[str, Any]) -> Callable[[], List[Any]]:
        """Give a call that writes the inputs, runs once and reads every output."""
        order = {spec["name"]: index for index, spec in enumerate(self.inputs)}
        pairs = [(np.ascontiguousarray(value), order[name]) for name, value in feeds.items()]
        outputs = range(len(self.outputs))
        model = self.interpreter

        def run() -> List[Any]:
            for value, index in pairs:
                model.set_input(value, index)
            model.invoke()
            return [model.get_output(index) for index in outputs]

        return run

    def bind_resident(self, _feeds: Dict[str, Any]) -> Optional[Callable[[], Any]]:
        """There is no device that inputs would be copied to."""
        return None

    def ops(self, _feeds: Dict[str, Any]) -> Dict[str, Any]:
        """Count the ops in the file, which TFLite Micro runs as they stand; None where ai-edge-litert is not there."""
        try:
            counts = litert_ops.count_ops(self._content)
        except ImportError:
            return {"integer": None, "total": None, "heavy": [], "providers": {self.provider: None}}
        return {**counts, "providers": {self.provider: counts["total"]}}


def interpreter(content: bytes, arena_bytes: int = ARENA_BYTES) -> Any:
    """Give an interpreter of a file, ready to run.

    Args:
        content: the file.
        arena_bytes: of the memory that it may use; with less than some hundred it ends the process.

    Raises:
        ValueError: what TFLite Micro says against the file.
    """
    from tflite_micro.python.tflite_micro import runtime

    with printed() as told:
        try:
            return runtime.Interpreter.from_bytes(content, arena_size=arena_bytes)
        except Exception as error:  # its parser of files raises anything
            raise ValueError(_reason(told(), str(error))) from error


@contextlib.contextmanager
def printed() -> Iterator[Callable[[], str]]:
    """Keep what native code prints to stderr, and give a call that tells what it has printed so far."""
    with tempfile.TemporaryFile() as file:
        before = os.dup(2)
        os.dup2(file.fileno(), 2)

        def told() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        try:
            yield told
        finally:
            os.dup2(before, 2)
            os.close(before)


def _reason(told: str, error: str) -> str:
    """Give the first thing that TFLite Micro said; its exception says only that something failed."""
    lines = [line.strip() for line in told.splitlines()]
    said = [line for line in lines if not _NO_REASON.search(line)]
    return " ".join((said or [error.strip() or "it says nothing"])[0].split())[:200].rstrip(".")


def _names(content: bytes) -> Tuple[List[str], List[str]]:
    """Give the names of the main graph's inputs and outputs, those of its signature where there is one."""
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

    try:
        model = schema.Model.GetRootAs(content, 0)
        graph = model.Subgraphs(0)
        signatures = [model.SignatureDefs(index) for index in range(model.SignatureDefsLength())]
        main = [each for each in signatures if each.SubgraphIndex() == 0]
        usual = [each for each in main if each.SignatureKey() == b"serving_default"]
        chosen = (usual or main or [None])[0]
        inputs = [graph.Inputs(index) for index in range(graph.InputsLength())]
        outputs = [graph.Outputs(index) for index in range(graph.OutputsLength())]
        if chosen is None:
            return ([_text(graph.Tensors(each).Name()) for each in inputs],
                    [_text(graph.Tensors(each).Name()) for each in outputs])  # fmt: skip
        given = [chosen.Inputs(index) for index in range(chosen.InputsLength())]
        made = [chosen.Outputs(index) for index in range(chosen.OutputsLength())]
        named_in = {entry.TensorIndex(): _text(entry.Name()) for entry in given}
        named_out = {entry.TensorIndex(): _text(entry.Name()) for entry in made}
        return [named_in[each] for each in inputs], [named_out[each] for each in outputs]
    except Exception as error:  # the generated reader trusts the file
        raise ValueError("it is cut off or damaged") from error


def _text(name: Optional[bytes]) -> str:
    return (name or b"").decode(errors="replace")


def _spec(name: str, detail: Dict[str, Any]) -> Dict[str, Any]:
    quantization = detail["quantization_parameters"]
    quantized = len(quantization["scales"]) == 1
    return {
        "name": name,
        "shape": [int(size) for size in detail["shape"]],
        "dtype": np.dtype(detail["dtype"]).name,
        "scale": float(quantization["scales"][0]) if quantized else None,
        "zero_point": int(quantization["zero_points"][0]) if quantized else None,
    }


BACKEND = TFLiteMicro()
