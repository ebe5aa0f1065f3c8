"""What the image of the board holds; the image is made of this and nothing else, and kept under its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from slimedge.errors import UnavailableError

MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SUITE = "bookworm"
PYTHON = "3.11"  # that suite's

# `linux-image-cloud-arm64` only names the kernel that is the newest; the kernel itself is found by it.
KERNEL = "linux-image-cloud-arm64"
PACKAGES = (
    *("busybox-static", "dropbear-bin", "libc6", "libcrypt1", "libgmp10", "libtomcrypt1", "libtommath1"),
    *("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libexpat1", "zlib1g"),
    *("libbz2-1.0", "libffi8", "liblzma5", "libssl3", "libgcc-s1", "libstdc++6"),
)
MODULES = ("virtio", "virtio_ring", "virtio_mmio", "failover", "net_failover", "virtio_net")

# Runtimes, at the versions that are installed here: board and host compare like with like.
RUNTIMES = ("ai-edge-litert", "onnxruntime", "numpy")
WHEELS = (*RUNTIMES, "flatbuffers")

SITE = f"usr/local/lib/python{PYTHON}/dist-packages"  # where the board's Python finds the wheels

# What no agent needs, by patterns from the root; a smaller root boots faster.
DROPPED = (
    "boot",
    "lib/modules",
    "usr/lib/linux-image-*",
    "usr/share",
    "usr/lib/*/gconv",
    "etc/*",
    "var",
    "usr/lib/*/libssl.so*",
    "usr/lib/python3*/test",
    "usr/lib/python3*/pydoc_data",
    "usr/lib/python3*/*/test",
    f"{SITE}/*/tests",
    f"{SITE}/*/*/tests",
    f"{SITE}/numpy/f2py",
    f"{SITE}/numpy/**/*.pyi",
    f"{SITE}/numpy/**/*.a",
    f"{SITE}/ai_edge_litert/libLiteRtWebGpuAccelerator.so",
    f"{SITE}/ai_edge_litert/aot",
    f"{SITE}/ai_edge_litert/tools",
    f"{SITE}/onnxruntime/capi/libonnxruntime.so*",
    f"{SITE}/onnxruntime/transformers",
    f"{SITE}/onnxruntime/quantization",
    f"{SITE}/onnxruntime/tools",
    f"{SITE}/onnxruntime/ThirdPartyNotices.txt",
    f"{SITE}/onnxruntime/datasets",
)

# Imported once while the image is made: it shows that they can be, and compiles them for all later boots.
IMPORTED = (
    *("argparse", "base64", "contextlib", "gc", "importlib.metadata", "importlib.util", "json", "platform"),
    *("select", "signal", "socket", "statistics", "tarfile", "tempfile", "threading", "zipfile"),
    *("numpy", "numpy.lib.format", "numpy.random"),
    *("ai_edge_litert.interpreter", "ai_edge_litert.schema_py_generated", "onnxruntime"),
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides what is in an image.

    Attributes:
        mirror: of Debian.
        suite: of Debian, main only.
        kernel: the package that names the kernel.
        packages: of Debian beside it.
        modules: of the kernel, in the order in which they are loaded.
        python: version of the board's Python, for the wheels.
        wheels: version by distribution.
        dropped: patterns of what is left out.
        imported: modules that are tried and compiled.
        init: the script that the board starts with.
    """

    mirror: str
    suite: str
    kernel: str
    packages: tuple[str, ...]
    modules: tuple[str, ...]
    python: str
    wheels: Mapping[str, str]
    dropped: tuple[str, ...]
    imported: tuple[str, ...]
    init: str

    @property
    def key(self) -> str:
        """Give the name of the folder that an image of this recipe lies in."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def usual_recipe() -> Recipe:
    """Give the recipe with the runtimes at the versions that are installed here.

    Raises:
        UnavailableError: one of them is not installed.
    """
    return Recipe(
        MIRROR,
        SUITE,
        KERNEL,
        PACKAGES,
        MODULES,
        PYTHON,
        {name: _installed(name) for name in WHEELS},
        DROPPED,
        IMPORTED,
        Path(__file__).with_name("init.sh").read_text(),
    )


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        raise UnavailableError(
            f"{name} is not installed, and the emulated board holds the version that is; pip install {name}."
        ) from None
