"""ONNX Runtime: runs `.onnx` on its CPU kernels or on an execution provider that was asked for.

Travels with the agent, and with `ort_profile.py`: standard library, numpy and onnxruntime only, from Python 3.8 on.
"""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from importlib import metadata
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Dict, List, Optional, Tuple

import numpy as np

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from slimedge.artifact import Artifact
    from slimedge.runtime.protocols import Session

# ONNX Runtime's name of an element type to numpy's.
DTYPES = {"float": "float32", "double": "float64"}
GPU_PROVIDERS = ("cuda", "tensorrt", "nvtensorrtrtx")
REMOTE_PROVIDERS = ("azure",)  # runs no op of its own here
# Ops that compute on 8-bit integers though a float goes in or comes out: the arithmetic in between is integer.
MIXED_INTEGER_OPS = {"DynamicQuantizeMatMul", "MatMulIntegerToFloat", "ConvInteger", "MatMulInteger"}
# At the border between floats and integers: no arithmetic of the model's own.
BORDER_OPS = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
HEAVY_OPS = {
    "Attention",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "DynamicQuantizeMatMul",
    "FusedConv",
    "FusedGemm",
    "FusedMatMul",
    "GRU",
    "Gemm",
    "LSTM",
    "MatMul",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "MatMulNBits",
    "MultiHeadAttention",
    "NhwcFusedConv",
    "QAttention",
    "QGemm",
    "QLinearConv",
    "QLinearConvTranspose",
    "QLinearMatMul",
    "RNN",
}


class Ort:
    """The backend `ort`; options: `provider` (`cpu`, `cuda`, …) and `allow_fallback`."""

    name: ClassVar[str] = "ort"
    formats: ClassVar[Tuple[str, ...]] = ("onnx",)
    packages: ClassVar[Tuple[str, ...]] = ("onnxruntime", "onnxruntime-gpu", "numpy")
    parts: ClassVar[Tuple[str, ...]] = ("ort_profile.py",)

    def missing(self) -> Optional[str]:
        """Give why this cannot run here, or None."""
        if importlib.util.find_spec("onnxruntime") is None:
            return "onnxruntime is not installed; pip install onnxruntime"
        return None

    def open(self, artifact: Artifact, /, *, threads: int, **options: Any) -> AbstractContextManager[Session]:
        """Open a model in a process of its own."""
        from slimedge.runtime.sessions import open_session

        return open_session(self.name, artifact, threads=threads, options=options)

    def prepare(self) -> None:
        """Import the runtime, in the agent."""
        import onnxruntime as ort

        ort.set_default_logger_severity(4)

    def providers(self) -> Dict[str, Optional[str]]:
        """Give the providers of this build, and CUDA, by short name; with the reason where one cannot be used."""
        import onnxruntime as ort

        names = [_short(name) for name in ort.get_available_providers()]
        found: Dict[str, Optional[str]] = {name: None for name in names if name not in REMOTE_PROVIDERS}
        for name in {"cuda"} - set(names):
            found[name] = _remedy(name)
        return found

    def load(
        self,
        path: str,
        _format: str,
        *,
        threads: int,
        provider: str = "cpu",
        allow_fallback: bool = False,
        **_options: Any,
    ) -> OrtModel:
        """Load a model, in the agent."""
        return OrtModel(path, threads, provider, allow_fallback)


class OrtModel:
    """A loaded model; see `slimedge.runtime.protocols.LoadedModel`."""

    def __init__(self, path: str, threads: int, provider: str, allow_fallback: bool) -> None:
        import onnxruntime as ort

        self._path, self._threads = path, threads
        self._providers = [_available(provider, allow_fallback), "CPUExecutionProvider"]
        self._strict = not allow_fallback and self._providers[0] != "CPUExecutionProvider"
        try:
            self._session = self._open(self._options(ort))
        except Exception as error:
            if "fallback to CPU EP has been explicitly disabled" in str(error):
                raise ImportError(
                    "{} cannot run all of {}: some of its ops fall back to the CPU; allow that with "
                    "--allow-fallback, or use the target 'ort:cpu'.".format(
                        self._providers[0], os.path.basename(path)
                    )
                ) from error
            reason = (str(error).splitlines() or [""])[0].split(" : ")[-1].rstrip(".")
            raise ValueError(
                "ONNX Runtime cannot load {}: {}; export the model again, or check that the file is whole.".format(
                    os.path.basename(path), reason
                )
            ) from error
        self.inputs = [_spec(node) for node in self._session.get_inputs()]
        self.outputs = [_spec(node) for node in self._session.get_outputs()]
        self._names = [spec["name"] for spec in self.outputs]
        if self._strict and self._session.get_providers()[0] != self._providers[0]:
            raise ImportError(
                "{} was asked for and {} is what ONNX Runtime took; allow that with --allow-fallback, or see "
                "`slimedge targets`.".format(self._providers[0], self._session.get_providers()[0])
            )
        self.provider = self._ran_on(provider)

    def run(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """Give the outputs by name as the file has them."""
        return dict(zip(self._names, self._session.run(self._names, feeds)))

    def bind(self, feeds: Dict[str, Any]) -> Callable[[], Any]:
        """Give a call that runs once and reads every output."""
        run, names = self._session.run, self._names
        return lambda: run(names, feeds)

    def bind_resident(self, _feeds: Dict[str, Any]) -> Optional[Callable[[], Any]]:
        """There is no device that inputs would be copied to."""
        return None

    def ops(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """Count the ops of one profiled run, that is after ONNX Runtime's own optimization, and where each ran.

        An op counts as integer where its kernel computes on 8-bit integers (`QLinear…`, `QGemm`, `…Integer`), or
        where all the data that it takes and gives is int8 or uint8 (a MaxPool, a Reshape). QuantizeLinear and
        DequantizeLinear do not.
        """
        return count_nodes(self._events(feeds, 1))

    def profile(self, feeds: Dict[str, Any], *, warm_runs: int, runs: int) -> Dict[str, Any]:
        """Time the ops after ONNX Runtime's own optimization, in a session of their own."""
        return dict(_beside("ort_profile").told(self._events(feeds, warm_runs + runs), skip=warm_runs))

    def _events(self, feeds: Dict[str, Any], runs: int) -> List[Dict[str, Any]]:
        """Give the profile of a session that runs so often."""
        import onnxruntime as ort

        with tempfile.TemporaryDirectory() as folder:
            options = self._options(ort)
            options.enable_profiling = True
            options.profile_file_prefix = os.path.join(folder, "profile")
            session = self._open(options)
            for _ in range(runs):
                session.run(self._names, feeds)
            with open(session.end_profiling()) as file:
                return list(json.load(file))

    def _options(self, ort: Any) -> Any:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4
        # Waiting threads may spin while a run needs them, but not into another process's turn.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if self._strict:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        return options

    def _open(self, options: Any) -> Any:
        import onnxruntime as ort

        # The strict setting refuses a CPU provider that was named; without it ONNX Runtime adds one by itself.
        providers = self._providers[:1] if self._strict else list(dict.fromkeys(self._providers))
        session = ort.InferenceSession(self._path, options, providers=providers)
        session.disable_fallback()
        return session

    def _ran_on(self, provider: str) -> str:
        """Name the providers that ran nodes, asking a profiled run where there can be more than one."""
        if self._providers[0] == "CPUExecutionProvider" or self._strict:
            return provider if self._strict else "cpu"
        feeds = {
            spec["name"]: np.zeros([size or 1 for size in spec["shape"]], spec["dtype"])
            for spec in self.inputs
        }
        return "+".join(sorted(self.ops(feeds)["providers"], key=lambda name: name == "cpu"))


def count_nodes(events: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Count what a profile lists; a node of a loop's body counts once."""
    nodes = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            nodes[event["name"]] = event["args"]
    heavy: List[Tuple[str, str, bool]] = []
    providers: Dict[str, int] = {}
    integer = 0
    for name, args in nodes.items():
        is_integer = _is_integer(args)
        integer += is_integer
        provider = _short(args.get("provider", ""))
        providers[provider] = providers.get(provider, 0) + 1
        if args["op_name"] in HEAVY_OPS:
            heavy.append((name[: -len("_kernel_time")], args["op_name"], is_integer))
    return {"integer": integer, "total": len(nodes), "heavy": heavy, "providers": providers}


def _is_integer(args: Dict[str, Any]) -> bool:
    name = args["op_name"]
    if name in BORDER_OPS:
        return False
    if name in MIXED_INTEGER_OPS or name.startswith(("QLinear", "QGemm", "QAttention")):
        return True
    # int64 inputs are shapes and axes, not data.
    data = [next(iter(value)) for value in args.get("input_type_shape", []) if "int64" not in value]
    given = [next(iter(value)) for value in args.get("output_type_shape", [])]
    return bool(data and given) and set(data + given) <= {"int8", "uint8"}


def _available(provider: str, allow_fallback: bool) -> str:
    """Give ONNX Runtime's name of a provider that is there."""
    import onnxruntime as ort

    known: Dict[str, str] = {_short(name): name for name in ort.get_all_providers()}
    known.update((_short(name), name) for name in ort.get_available_providers())
    if provider not in known:
        raise ValueError(
            "there is no execution provider '{}'; ONNX Runtime knows {}.".format(
                provider, ", ".join(sorted(known))
            )
        )
    if known[provider] in ort.get_available_providers():
        return known[provider]
    if allow_fallback:
        return "CPUExecutionProvider"
    here = ", ".join(_short(name) for name in ort.get_available_providers())
    raise ImportError(
        "{} is not in this build of ONNX Runtime, which has {}; {}, or use --allow-fallback.".format(
            known[provider], here, _remedy(provider)
        )
    )


def _remedy(provider: str) -> str:
    """Say how to get a provider that is not there."""
    if provider not in GPU_PROVIDERS:
        return "install the build of ONNX Runtime that has it"
    installed = {package for package in ("onnxruntime", "onnxruntime-gpu") if _is_installed(package)}
    if len(installed) > 1:
        return (
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: pip uninstall both, "
            "then pip install onnxruntime-gpu"
        )
    return "pip uninstall onnxruntime, then pip install onnxruntime-gpu (the two exclude each other)"


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _short(provider: str) -> str:
    return provider.replace("ExecutionProvider", "").lower()


def _beside(name: str) -> Any:
    """Import a file that travels with this one, which belongs to no package where it arrives."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
    spec = importlib.util.spec_from_file_location("slimedge_" + name, path)
    if spec is None or spec.loader is None:
        raise ImportError("{} is not a Python file.".format(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _spec(node: Any) -> Dict[str, Any]:
    kind = node.type[len("tensor(") : -1]
    return {
        "name": node.name,
        "shape": [size if isinstance(size, int) else None for size in node.shape],
        "dtype": DTYPES.get(kind, kind),
        "scale": None,
        "zero_point": None,
    }


BACKEND = Ort()
