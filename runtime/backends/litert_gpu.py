"""LiteRT on a GPU, through WebGPU: Vulkan, Metal or Direct3D 12; a GPU that software imitates is one, too.

Travels with `litert.py`, which loads it when a GPU is asked for.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import numpy as np

# What LiteRT's buffers can hold that are given to a GPU.
GPU_TYPES = {"float32", "float16", "int32", "int8", "uint8", "bool"}
PRECISIONS = {"fp32": True, "fp16": False}  # whether 32 bits are enforced, which is not LiteRT's own choice
SWITCHES = {"true": True, "1": True, "false": False, "0": False}
# A GPU's answer that is farther from the CPU's than this share of the largest number is no rounding, even in 16 bits.
LARGEST_ERROR = 0.1


class GpuModel:
    """A model on the GPU; see `slimedge.runtime.protocols.LoadedModel`.

    Its answer to one random input is compared with the CPU's, since LiteRT 2.3 calls models fully accelerated of which
    it computes some ops wrongly (1x1 convolutions with strides in int8 files).

    Args:
        checked: the same file, opened on the CPU.
        name: of the file, for messages.
        threads: for ops that fall back to the CPU.
        settings: provider options.
        allow_fallback: whether ops may run on the CPU.

    Raises:
        ValueError: a setting that there is not.
        ImportError: there is no GPU, or it does not run all of the model, or wrongly.
    """

    def __init__(
        self, checked: Any, name: str, threads: int, settings: Dict[str, str], allow_fallback: bool
    ) -> None:
        self._content = checked.content  # LiteRT reads from it as long as the model lives
        self._counts = checked.ops({})
        self.inputs, self.outputs = checked.inputs, checked.outputs
        others = {spec["dtype"] for spec in self.inputs + self.outputs} - GPU_TYPES
        if others:
            raise ImportError(
                "LiteRT's GPU accelerator takes no {} and {} has it as input or output; use the target 'litert', or "
                "--allow-fallback.".format(" or ".join(sorted(others)), name)
            )
        self._model, heard = _compiled(self._content, name, threads, settings, allow_fallback)
        if not self._model.is_fully_accelerated() and not allow_fallback:
            raise ImportError(refusal(heard, name))
        index = max(0, self._model.get_signature_index("serving_default"))
        self._key = self._model.get_signature_by_index(index)["key"]
        total = self._counts["total"]
        self._nodes = {"gpu": total} if self._model.is_fully_accelerated() else shares(heard, total)
        self.provider = "+".join(name for name, nodes in self._nodes.items() if nodes != 0)
        self.device = adapter(heard)
        self._compare(checked, name)

    def run(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """Give the outputs by name as the file has them."""
        return dict(zip([spec["name"] for spec in self.outputs], self.bind(feeds)()))

    def bind(self, feeds: Dict[str, Any]) -> Callable[[], List[Any]]:
        """Give a call that writes the inputs, runs once and reads every output, which waits for the GPU."""
        inputs, again = self._bound(feeds)
        pairs = [(inputs[name], value) for name, value in feeds.items()]

        def run() -> List[Any]:
            for buffer, value in pairs:
                buffer.write(value)
            return again()

        return run

    def bind_resident(self, feeds: Dict[str, Any]) -> Callable[[], List[Any]]:
        """Give a call that runs once on inputs written before, and reads every output.

        LiteRT has no other way to wait for a GPU than to read from it, so copying the outputs is in the figure.
        """
        inputs, again = self._bound(feeds)
        for name, value in feeds.items():
            inputs[name].write(value)
        return again

    def ops(self, _feeds: Dict[str, Any]) -> Dict[str, Any]:
        """Count the ops in the file, see `litert_ops`, and where they run; a GPU computes integer ops in floats.

        Where ops fall back, their number is what LiteRT printed while loading, None where it printed none.
        """
        counts = self._counts
        heavy = [(name, kind, False) for name, kind, _ in counts["heavy"]]
        return {"integer": 0, "total": counts["total"], "heavy": heavy, "providers": self._nodes}

    def _bound(self, feeds: Dict[str, Any]) -> Tuple[Dict[str, Any], Callable[[], List[Any]]]:
        """Give the inputs' buffers, and a call that runs and reads."""
        model, key = self._model, self._key
        details = model.get_input_tensor_details(key)
        for name, value in feeds.items():
            if list(details[name]["shape"]) != list(value.shape):
                model.resize_input_tensor_by_name(key, name, value.shape)
        inputs = {name: model.create_input_buffer_by_name(key, name) for name in feeds}
        names = [spec["name"] for spec in self.outputs]
        outputs = {name: model.create_output_buffer_by_name(key, name) for name in names}
        details = model.get_output_tensor_details(key)
        reads = []
        for spec in self.outputs:
            shape = tuple(details[spec["name"]]["shape"])
            size = int(np.prod(shape, dtype=np.int64))
            reads.append((outputs[spec["name"]].read, size, np.dtype(spec["dtype"]), shape))

        def again() -> List[Any]:
            model.run_by_name(key, inputs, outputs)
            return [read(size, dtype).reshape(shape) for read, size, dtype, shape in reads]

        return inputs, again

    def _compare(self, checked: Any, file: str) -> None:
        """Raise where the GPU's answer to random numbers is not the CPU's."""
        generator = np.random.default_rng(0)
        feeds = {spec["name"]: _random(spec, generator) for spec in self.inputs}
        right, found = checked.run(feeds), self.run(feeds)
        for spec in self.outputs:
            name, zero = spec["name"], spec["zero_point"] or 0
            if np.dtype(spec["dtype"]).kind != "f" and spec["scale"] is None:
                continue  # a class or an index: how far it is off says nothing
            exact, given = (np.asarray(side[name], np.float64) - zero for side in (right, found))
            largest = float(np.max(np.abs(exact), initial=0.0))
            error = float(np.max(np.abs(given - exact), initial=0.0))
            least = 1e-3 if spec["scale"] is None else 2.0
            if not error <= max(least, LARGEST_ERROR * largest):  # nor is NaN
                raise ImportError(
                    "LiteRT's GPU accelerator computes {} wrongly: its output '{}' is {:.2g} off the CPU's, whose "
                    "largest number is {:.2g}; use {}the target 'litert', or --allow-fallback.".format(
                        file, name, error, largest, "the float file, " if self._counts["integer"] else ""
                    )
                )


def probe() -> Tuple[Optional[str], Optional[str]]:
    """Start the GPU: give its name where that is known, and why it cannot be used or None."""
    try:
        _, heard = _compiled(_smallest(), "a model", 1, {}, allow_fallback=False)
    except ImportError as error:
        return None, str(error)
    return adapter(heard), None


def _compiled(
    content: bytes, name: str, threads: int, settings: Dict[str, str], allow_fallback: bool
) -> Tuple[Any, str]:
    """Give a model on the GPU, and what LiteRT printed meanwhile: it gives its reasons nowhere else."""
    try:
        from ai_edge_litert.compiled_model import CompiledModel
        from ai_edge_litert.hardware_accelerator import HardwareAccelerator
        from ai_edge_litert.options import CpuOptions, GpuOptions, Options
    except ImportError as error:
        raise ImportError(
            "this ai-edge-litert has no GPU accelerator ({}); pip install --upgrade ai-edge-litert".format(
                error
            )
        ) from error
    options = Options(
        HardwareAccelerator.GPU | HardwareAccelerator.CPU if allow_fallback else HardwareAccelerator.GPU,
        cpu_options=CpuOptions(num_threads=threads),
        gpu_options=GpuOptions(**gpu_settings(settings, list(vars(GpuOptions())))),
    )
    heard: List[str] = []
    try:
        with _overheard(heard):
            model = CompiledModel.from_buffer(content, options=options)
    except RuntimeError as error:
        raise ImportError(refusal("".join(heard), name)) from error
    return model, "".join(heard)


def gpu_settings(settings: Dict[str, str], known: List[str]) -> Dict[str, bool]:
    """Read provider options of the GPU; numbers have 32 bits unless `precision` is `fp16`.

    Args:
        settings: as the user wrote them.
        known: switches of this version of LiteRT.

    Raises:
        ValueError: an option or a value that there is not.

    Example:
        >>> gpu_settings({"precision": "fp16"}, ["enforce_f32"])
        {'enforce_f32': False}
    """
    allowed = ["precision", *(name for name in known if name != "enforce_f32")]
    found = {"enforce_f32": True}
    for name, value in settings.items():
        if name not in allowed:
            raise ValueError(
                "LiteRT's GPU accelerator has no option '{}'; it has {}.".format(name, ", ".join(allowed))
            )
        values = PRECISIONS if name == "precision" else SWITCHES
        if value not in values:
            raise ValueError(
                "the provider option {} is '{}'; give {}.".format(name, value, " or ".join(values))
            )
        found["enforce_f32" if name == "precision" else name] = values[value]
    return found


@contextlib.contextmanager
def _overheard(heard: List[str]) -> Iterator[None]:
    """Append what is printed to stderr meanwhile, from native code too, and print it all the same."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            text = file.read()
            os.write(2, text)
            heard.append(text.decode(errors="replace"))


def adapter(heard: str) -> Optional[str]:
    """Find the GPU's name in what LiteRT printed.

    Example:
        >>> adapter("I0000 environment.cc:532] Selected adapter: SwiftShader Device (Subzero), arch=swiftshader")
        'SwiftShader Device (Subzero)'
    """
    found = re.search(r"Selected adapter: (.+?), arch=", heard)
    return found.group(1) if found else None


def refusal(heard: str, name: str) -> str:
    """Say in a sentence why the GPU does not run a model.

    Args:
        heard: what LiteRT printed.
        name: of the file.
    """
    found = re.search(r"not supported by GPU delegate:\n((?:[A-Z0-9_]+: [^\n]*\n)+)", heard)
    if found:
        return (
            "LiteRT's GPU accelerator does not run {} of {}; use --allow-fallback, which leaves that to the CPU, or "
            "the target 'litert'.".format(
                ", ".join(sorted({line.partition(":")[0] for line in found.group(1).splitlines()})), name
            )
        )
    if "Couldn't load Vulkan" in heard:
        return (
            "LiteRT's GPU accelerator finds no Vulkan loader, libvulkan.so.1; apt-get install libvulkan1 and the "
            "Vulkan driver of the GPU, or use --allow-fallback."
        )
    if "No adapters found" in heard:
        return (
            "LiteRT's GPU accelerator finds no GPU; install the Vulkan driver of the GPU (mesa-vulkan-drivers, or "
            "NVIDIA's own), or use --allow-fallback."
        )
    errors = [line.partition("] ")[2] for line in heard.splitlines() if re.match(r"ERROR|E\d{4} ", line)]
    reason = next((line.strip().rstrip(".") for line in errors if line.strip()), "it gives no reason")
    return (
        "LiteRT's GPU accelerator does not run {}: {}; use the target 'litert', or --allow-fallback.".format(
            name, reason
        )
    )


def shares(heard: str, total: int) -> Dict[str, Optional[int]]:
    """Read from what LiteRT printed how many of the file's ops are the GPU's; None where it printed nothing of it.

    Example:
        >>> shares("1 operations will run on the GPU, and the remaining 2 operations will run on the CPU.", 3)
        {'gpu': 1, 'cpu': 2}
    """
    found = re.search(r"(\d+) operations will run on the GPU", heard)
    if found is None:
        return {"gpu": None, "cpu": None}
    return {"gpu": int(found.group(1)), "cpu": total - int(found.group(1))}


def _random(spec: Dict[str, Any], generator: Any) -> Any:
    dtype, shape = np.dtype(spec["dtype"]), [size or 1 for size in spec["shape"]]
    if dtype.kind == "f":
        return generator.random(shape, dtype=np.float32).astype(dtype)
    if spec["scale"] is None:
        return generator.integers(0, 2, shape).astype(dtype)  # indices, say, that any embedding has
    return generator.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)


def _smallest() -> bytes:
    """Give a model of one op, to see whether the GPU runs any."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph, op, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    graph.tensors = [schema.TensorT(), schema.TensorT()]
    for tensor, name in zip(graph.tensors, ("x", "y")):
        tensor.name, tensor.shape, tensor.type = name, [1, 4], schema.TensorType.FLOAT32
    op.inputs, op.outputs, graph.operators = [0], [1], [op]
    graph.inputs, graph.outputs = [0], [1]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ABS
    code.version, model.version = 1, 3
    model.subgraphs, model.operatorCodes, model.buffers = [graph], [code], [schema.BufferT()]
    builder = flatbuffers.Builder(512)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
