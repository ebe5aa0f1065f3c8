"""ONNX Runtime's execution providers: what they are called, where they come from, and how to get one that is not there.

Travels with `ort.py`, which loads it.
"""

from __future__ import annotations

import importlib.util
import re
from glob import glob
from importlib import import_module, metadata
from typing import Any, Dict, List, NamedTuple, Optional

CPU = "CPUExecutionProvider"
GPU_BUILD = "pip uninstall onnxruntime, then pip install onnxruntime-gpu (the two exclude each other)"
BOTH_BUILDS = (
    "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: pip uninstall both, then pip install "
    "onnxruntime-gpu"
)
NVIDIA_LIBRARIES = (
    "its libraries do not load: pip install 'onnxruntime-gpu[cuda,cudnn]' brings CUDA's, nvidia-smi tells whether the "
    "driver works"
)


class Provider(NamedTuple):
    """Where an execution provider comes from.

    Attributes:
        name: ONNX Runtime's.
        remedy: what to do where it is not in the installed build.
        plugin: the module of a package that adds it to any build.
        lacking: what to do where the plug-in, or the build's provider, is there and finds no device.
        memory: what ONNX Runtime calls its device's memory; None where tensors lie in the host's.
    """

    name: str
    remedy: str
    plugin: Optional[str] = None
    lacking: str = "see that its device and driver work"
    memory: Optional[str] = None


PROVIDERS = {
    "cpu": Provider(CPU, "pip install onnxruntime"),
    "cuda": Provider("CUDAExecutionProvider", GPU_BUILD, lacking=NVIDIA_LIBRARIES, memory="cuda"),
    "tensorrt": Provider(
        "TensorrtExecutionProvider",
        GPU_BUILD + ", and pip install tensorrt",
        lacking=NVIDIA_LIBRARIES + ", and pip install tensorrt brings TensorRT's",
        memory="cuda",
    ),
    "webgpu": Provider(
        "WebGpuExecutionProvider",
        "pip install 'slimedge[webgpu]'",
        plugin="onnxruntime_ep_webgpu",
        lacking="install the GPU's Vulkan driver and libvulkan.so.1 (apt-get install libvulkan1); where the GPU is not "
        "in /sys/class/drm, in a container or because software imitates it, set ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER=1",
        memory="webgpu",
    ),
    "openvino": Provider(
        "OpenVINOExecutionProvider",
        "pip install onnxruntime-ep-openvino",
        plugin="onnxruntime_ep_openvino",
        lacking="it needs a CPU, GPU or NPU of Intel",
    ),
    "directml": Provider(
        "DmlExecutionProvider",
        "on Windows, pip uninstall onnxruntime, then pip install onnxruntime-directml (the two exclude each other)",
        memory="dml",
    ),
    "coreml": Provider("CoreMLExecutionProvider", "pip install onnxruntime on macOS, whose build has it"),
    "qnn": Provider(
        "QNNExecutionProvider",
        "pip install onnxruntime-qnn",
        plugin="onnxruntime_qnn",
        lacking="it needs an NPU or GPU of Qualcomm",
    ),
}
# Providers that take over what a first one leaves, where falling back is allowed; the CPU comes after them.
NEXT = {"tensorrt": ("cuda",)}
REMOTE = ("azure",)  # runs no op of its own here
# Which of several devices of a plug-in is taken where the option `device` names none.
DEVICE_ORDER = ("npu", "gpu", "cpu")
_SHORT = {provider.name: short for short, provider in PROVIDERS.items()}


class Placing(NamedTuple):
    """A provider that is there, and how a session is opened on it.

    Attributes:
        short: our name.
        provider: where it comes from.
        device: of a plug-in; None where the provider is built in.
        settings: provider options.
    """

    short: str
    provider: Provider
    device: Any
    settings: Dict[str, str]


def short_name(name: str) -> str:
    """Give our name of a provider.

    Example:
        >>> short_name("DmlExecutionProvider"), short_name("XnnpackExecutionProvider")
        ('directml', 'xnnpack')
    """
    return _SHORT.get(name, name.replace("ExecutionProvider", "").lower())


def known() -> Dict[str, Provider]:
    """Give every provider that can be asked for: those in our table, and what else ONNX Runtime has a name for."""
    import onnxruntime as ort

    names = [*ort.get_all_providers(), *ort.get_available_providers()]
    others = {
        short_name(name): Provider(name, "install a build of ONNX Runtime that has it") for name in names
    }
    return {**others, **PROVIDERS}


def worth_naming() -> List[str]:
    """Give the providers to list: those in our table, and what else this build has."""
    import onnxruntime as ort

    here = [short_name(name) for name in ort.get_available_providers()]
    return list(dict.fromkeys([*PROVIDERS, *(name for name in here if name not in REMOTE)]))


def place(short: str, settings: Dict[str, str]) -> Placing:
    """Find a provider.

    Raises:
        ValueError: there is none of that name, or an option that it has not.
        ImportError: it is not here; with what to do.
    """
    import onnxruntime as ort

    every = known()
    if short not in every:
        raise ValueError(
            "there is no execution provider '{}'; ONNX Runtime knows {}.".format(
                short, ", ".join(sorted(every))
            )
        )
    provider = every[short]
    if short == "cpu" and settings:
        raise ValueError(
            "provider options ({}) were given for the cpu, which takes none; name a target such as "
            "'ort:cuda'.".format(", ".join(sorted(settings)))
        )
    if provider.name in _built_in():
        if short in ("cuda", "tensorrt") and hasattr(ort, "preload_dlls"):
            ort.preload_dlls()
        return Placing(short, provider, None, settings)
    if provider.plugin is None or importlib.util.find_spec(provider.plugin) is None:
        raise ImportError(_absent(provider))
    rest = {name: value for name, value in settings.items() if name != "device"}
    return Placing(short, provider, _device(short, provider, settings.get("device"), rest), rest)


def open_session(model: Any, options: Any, placing: Placing, *, strict: bool) -> Any:
    """Open a session on a provider.

    Args:
        model: path, or content.
        options: SessionOptions, used for no other session.
        placing: of the provider.
        strict: whether no other provider may take a node.
    """
    import onnxruntime as ort

    providers: Optional[List[Any]] = None
    if placing.device is not None:
        options.add_provider_for_devices([placing.device], placing.settings)
    else:
        providers = [(placing.provider.name, placing.settings)]
        if not strict and placing.short != "cpu":
            after = [PROVIDERS[name].name for name in NEXT.get(placing.short, ())]
            providers += [name for name in after if name in ort.get_available_providers()] + [CPU]
    if strict:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    session = ort.InferenceSession(model, options, providers=providers, enable_fallback=0)
    session.disable_fallback()
    return session


def device_name(placing: Placing) -> Optional[str]:
    """Name the device that a provider runs on, where something tells.

    A plug-in tells what it found, as long as that is no CPU standing in for a device that the system does not list.
    """
    if placing.short in ("cuda", "tensorrt"):
        names = nvidia_names()
        number = placing.settings.get("device_id", "0")
        return names[int(number)] if number.isdigit() and int(number) < len(names) else None
    if placing.device is None:
        return None
    hardware = placing.device.device
    kind = _kind(placing.device)
    if kind == "cpu" and placing.short == "webgpu":
        return None
    if hardware.vendor_id == 0x10DE and len(nvidia_names()) == 1:
        return nvidia_names()[0]
    told = dict(hardware.metadata)
    name = told.get("Description") or "{} {:04x}:{:04x}".format(
        hardware.vendor, hardware.vendor_id, hardware.device_id
    )
    return "{} {}".format(kind.upper(), name.strip())


def nvidia_names(pattern: str = "/proc/driver/nvidia/gpus/*/information") -> List[str]:
    """Give what the driver calls its GPUs, in the order of their places on the bus; none where there is no driver."""
    names = []
    for path in sorted(glob(pattern)):
        with open(path) as file:
            names += re.findall(r"^Model:\s*(.+?)\s*$", file.read(), re.MULTILINE)
    return names


def reason_of(error: BaseException) -> str:
    """Give what matters of ONNX Runtime's message.

    Example:
        >>> reason_of(RuntimeError("[ONNXRuntimeError] : 11 : EP_FAIL : /a/b.cc:205 A ns::Parse(const B&) No mode q"))
        'No mode q'
    """
    text = (
        (str(error).strip().splitlines() or [type(error).__name__])[0]
        .split(" : ")[-1]
        .split("Status Message: ")[-1]
    )
    if re.search(r"\.(cc|h|cpp):\d+ ", text):
        _, checked, told = text.rpartition(" was false. ")
        text = told if checked else re.sub(r"^\S+:\d+ (?:.*\) |\w+ )", "", text)
    return text.strip().rstrip(".")


def _built_in() -> List[str]:
    """Give what the build itself has: a plug-in that was registered before is listed as available, too."""
    import onnxruntime as ort

    added = {
        device.ep_name
        for device in (ort.get_ep_devices() if hasattr(ort, "get_ep_devices") else [])
        if "library_path" in dict(device.ep_metadata)
    }
    return [name for name in ort.get_available_providers() if name not in added]


def _device(short: str, provider: Provider, wanted: Optional[str], settings: Dict[str, str]) -> Any:
    """Give the device of a plug-in to run on, which its package registers in this process first."""
    import onnxruntime as ort

    module = import_module(str(provider.plugin))
    if not hasattr(ort, "register_execution_provider_library"):
        raise ImportError(
            "this ONNX Runtime takes no plug-in such as {}; pip install --upgrade onnxruntime, or use "
            "--allow-fallback.".format(provider.plugin)
        )
    try:
        if provider.name not in {device.ep_name for device in ort.get_ep_devices()}:
            ort.register_execution_provider_library(short, module.get_library_path())
    except Exception as error:
        if "already registered" not in str(error):
            raise ImportError(
                "{} cannot be loaded: {}; pip install --upgrade onnxruntime {}, or use --allow-fallback.".format(
                    provider.name, reason_of(error), str(provider.plugin).replace("_", "-")
                )
            ) from error
    devices = [device for device in ort.get_ep_devices() if device.ep_name == provider.name]
    devices.sort(key=lambda device: DEVICE_ORDER.index(_kind(device)))
    kinds = [_kind(device) for device in devices]
    if wanted is not None and devices and wanted not in kinds:
        raise ValueError(
            "the provider option device is '{}'; {} has {} here.".format(
                wanted, provider.name, ", ".join(kinds)
            )
        )
    if not devices:
        raise ImportError(
            "{} is installed and finds no device; {}, or use --allow-fallback.".format(
                provider.name, provider.lacking
            )
        )
    if short == "webgpu":
        _check_webgpu(module.get_library_path(), settings)
    return devices[0 if wanted is None else kinds.index(wanted)]


def _kind(device: Any) -> str:
    return str(device.device.type).rpartition(".")[2].lower()


def _check_webgpu(library: str, settings: Dict[str, str]) -> None:
    """Raise for an option that there is not, which this plug-in takes without a word.

    Its library holds the names of all of them.
    """
    if not settings:
        return
    with open(library, "rb") as file:
        found = set(re.findall(rb"ep\.webgpuexecutionprovider\.(\w+)\0", file.read()))
    names = sorted(name.decode() for name in found)
    for name in settings:
        if names and name not in names:
            raise ValueError(
                "WebGpuExecutionProvider has no option '{}'; it has {}.".format(name, ", ".join(names))
            )


def _absent(provider: Provider) -> str:
    if provider.plugin is not None:
        return "{} is not installed; {}, or use --allow-fallback.".format(provider.name, provider.remedy)
    remedy = provider.remedy
    if remedy.startswith(GPU_BUILD) and all(_installed(name) for name in ("onnxruntime", "onnxruntime-gpu")):
        remedy = BOTH_BUILDS
    here = [short_name(name) for name in _built_in()]
    return "{} is not in this build of ONNX Runtime, which has {}; {}, or use --allow-fallback.".format(
        provider.name, ", ".join(name for name in here if name not in REMOTE), remedy
    )


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
