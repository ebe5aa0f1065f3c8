"""LiteRT, the former TensorFlow Lite: runs `.tflite` on the CPU, through XNNPACK where it has a kernel, or on a GPU.

Travels with the agent, and with its `parts`: standard library, numpy and ai-edge-litert only, from Python 3.8 on.
"""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Dict, List, Optional, Tuple

import numpy as np

from . import litert_ops

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from slimedge.artifact import Artifact
    from slimedge.runtime.protocols import Session

PROVIDERS = ("cpu", "gpu", "reference")


class LiteRT:
    """The backend `litert`; options: `provider`, `allow_fallback` and `provider_options` (of the GPU).

    Providers are `cpu`, `gpu`, and `reference`, the kernels that others are checked against: slow, and those that
    microcontrollers have.
    Options of the GPU are `precision`, `fp32` or `fp16`, and the switches of LiteRT's `GpuOptions`, `true` or `false`.
    """

    name: ClassVar[str] = "litert"
    formats: ClassVar[Tuple[str, ...]] = ("tflite",)
    packages: ClassVar[Tuple[str, ...]] = ("ai-edge-litert", "numpy")
    parts: ClassVar[Tuple[str, ...]] = ("litert_gpu.py", "litert_ops.py", "litert_profile.py")

    def __init__(self) -> None:
        self._found: Optional[Tuple[Optional[str], Optional[str]]] = None

    def missing(self) -> Optional[str]:
        """Give why this cannot run here, or None."""
        if importlib.util.find_spec("ai_edge_litert") is None:
            return "ai-edge-litert is not installed; pip install ai-edge-litert"
        return None

    def open(self, artifact: Artifact, /, *, threads: int, **options: Any) -> AbstractContextManager[Session]:
        """Open a model in a process of its own."""
        from slimedge.runtime.sessions import open_session

        return open_session(self.name, artifact, threads=threads, options=options)

    def prepare(self) -> None:
        """Import the runtime, in the agent."""
        import ai_edge_litert.interpreter  # noqa: F401

    def providers(self) -> Dict[str, Optional[str]]:
        """Give what this build runs on, in the agent, with the reason where that cannot be; starts the GPU."""
        return {"cpu": None, "reference": None, "gpu": self._probed()[1]}

    def devices(self) -> Dict[str, str]:
        """Give the names of devices by provider, in the agent; starts the GPU."""
        name, _ = self._probed()
        return {} if name is None else {"gpu": name}

    def _probed(self) -> Tuple[Optional[str], Optional[str]]:
        """Start the GPU, once: give its name, and why it cannot be used."""
        if self._found is None:
            from . import litert_gpu

            self._found = litert_gpu.probe()
        return self._found

    def load(
        self,
        path: str,
        _format: str,
        *,
        threads: int,
        provider: str = "cpu",
        allow_fallback: bool = False,
        provider_options: Optional[Dict[str, str]] = None,
        **_options: Any,
    ) -> Any:
        """Load a model, in the agent.

        For a GPU that is opening the file on the CPU as well, compiling shaders, and one run on both: all of it is in
        the time and the memory of loading.
        """
        if provider not in PROVIDERS:
            raise ValueError("LiteRT has no delegate '{}'; it has {}.".format(provider, ", ".join(PROVIDERS)))
        if provider != "gpu":
            if provider_options:
                raise ValueError(
                    "provider options ({}) were given for the cpu, which takes none; name the target "
                    "'litert:gpu'.".format(", ".join(sorted(provider_options)))
                )
            return LiteRTModel(path, threads, reference=provider == "reference")
        from . import litert_gpu

        checked = LiteRTModel(path, threads)  # a damaged file ends the process in the GPU's loader
        try:
            return litert_gpu.GpuModel(
                checked, os.path.basename(path), threads, provider_options or {}, allow_fallback
            )
        except ImportError:
            if not allow_fallback:
                raise
            return checked


class LiteRTModel:
    """A loaded model; see `slimedge.runtime.protocols.LoadedModel`."""

    def __init__(self, path: str, threads: int, *, reference: bool = False) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        # By path, a cut file ends the process in some of LiteRT's entry points.
        with open(path, "rb") as file:
            self.content = file.read()
        self._threads = threads
        try:
            self._interpreter = Interpreter(
                model_content=self.content,
                num_threads=threads,
                experimental_op_resolver_type=OpResolverType.BUILTIN_REF
                if reference
                else OpResolverType.AUTO,
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = (str(error).strip().splitlines() or [""])[0].rstrip(".")
            raise ValueError(
                "LiteRT cannot load {}: {}; export the model again, or check that the file is whole.".format(
                    os.path.basename(path), reason
                )
            ) from error
        self._signature, inputs, outputs = self._bindings()
        self._inputs, self._outputs = inputs, outputs
        self.inputs = [_spec(name, detail) for name, detail in inputs.items()]
        self.outputs = [_spec(name, detail) for name, detail in outputs.items()]
        delegated = any(op["op_name"] == "DELEGATE" for op in self._interpreter._get_ops_details())  # noqa: SLF001
        self.provider = "reference" if reference else "xnnpack" if delegated else "cpu"

    def run(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """Give the outputs by name as the file has them."""
        outputs = self.bind(feeds)()
        return outputs if isinstance(outputs, dict) else dict(zip(self._outputs, outputs))

    def bind(self, feeds: Dict[str, Any]) -> Callable[[], Any]:
        """Give a call that writes the inputs, runs once and reads every output.

        The signature's runner resizes and allocates in every call; where the signature is the main graph, its tensors
        are bound by the signature's names once and the interpreter is called without it.
        """
        if self._signature is not None:
            runner = self._interpreter.get_signature_runner(self._signature)
            return lambda: runner(**feeds)
        interpreter = self._interpreter
        pairs = [(self._inputs[name]["index"], value) for name, value in feeds.items()]
        for index, value in pairs:
            if list(interpreter._get_tensor_details(index, 0)["shape"]) != list(value.shape):  # noqa: SLF001
                interpreter.resize_tensor_input(index, value.shape)
                interpreter.allocate_tensors()
        outputs = [detail["index"] for detail in self._outputs.values()]
        set_tensor, invoke, get_tensor = interpreter.set_tensor, interpreter.invoke, interpreter.get_tensor

        if len(pairs) == len(outputs) == 1:
            ((given, fed),), (taken,) = pairs, outputs

            def run_one() -> List[Any]:  # without the loops below, which take a microsecond
                set_tensor(given, fed)
                invoke()
                return [get_tensor(taken)]

            return run_one

        def run() -> List[Any]:
            for index, value in pairs:
                set_tensor(index, value)
            invoke()
            return [get_tensor(index) for index in outputs]

        return run

    def bind_resident(self, _feeds: Dict[str, Any]) -> None:
        """Give None: nothing is copied to a CPU."""

    def ops(self, _feeds: Dict[str, Any]) -> Dict[str, Any]:
        """Count the ops in the file; see `litert_ops`."""
        counts = litert_ops.count_ops(self.content)
        return {**counts, "providers": {self.provider: counts["total"]}}

    def profile(self, feeds: Dict[str, Any], *, warm_runs: int, runs: int) -> Dict[str, Any]:
        """Time the ops in LiteRT's compiled model, which runs the kernels that the interpreter runs."""
        if self.provider == "reference":
            raise ImportError("LiteRT's profiler does not run the reference kernels; profile on 'litert'.")
        from . import litert_profile

        return litert_profile.profile(
            self.content, self._served(), feeds, threads=self._threads, warm_runs=warm_runs, runs=runs
        )

    def _bindings(self) -> Tuple[Optional[str], Dict[str, Any], Dict[str, Any]]:
        """Give inputs and outputs by signature name, and the signature where only its runner can run it."""
        main_in = {detail["name"]: detail for detail in self._interpreter.get_input_details()}
        main_out = {detail["name"]: detail for detail in self._interpreter.get_output_details()}
        name = self._served()
        if name is None:
            return None, main_in, main_out
        runner = self._interpreter.get_signature_runner(name)
        is_main = runner._subgraph_index == 0  # noqa: SLF001
        return None if is_main else name, runner.get_input_details(), runner.get_output_details()

    def _served(self) -> Optional[str]:
        """Give the name of the signature that is run; None where the file has none."""
        signatures = self._interpreter.get_signature_list()
        return "serving_default" if "serving_default" in signatures else next(iter(signatures), None)


def _spec(name: str, detail: Dict[str, Any]) -> Dict[str, Any]:
    scales = detail["quantization_parameters"]["scales"]
    quantized = len(scales) == 1
    sizes = detail.get("shape_signature", detail["shape"])
    return {
        "name": name,
        "shape": [int(size) if size >= 0 else None for size in (sizes if len(sizes) else detail["shape"])],
        "dtype": np.dtype(detail["dtype"]).name,
        "scale": float(scales[0]) if quantized else None,
        "zero_point": int(detail["quantization_parameters"]["zero_points"][0]) if quantized else None,
    }


BACKEND = LiteRT()
