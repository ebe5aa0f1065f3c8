"""The user's `benchmark_model`: where it is, and whether an Android device can run it."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

from slimedge.errors import InputError, UnavailableError

VARIABLE = "SLIMEDGE_BENCHMARK_MODEL"
SOURCE = (
    "https://storage.googleapis.com/tensorflow-nightly-public/prod/tensorflow/release/lite/tools/nightly/latest/"
    "android_aarch64_benchmark_model"
)
# Numbers of machines in an ELF file (System V ABI, e_machine), and what Android calls them.
_ABIS = {183: "arm64-v8a", 40: "armeabi-v7a", 62: "x86_64", 3: "x86", 243: "riscv64"}
_PT_INTERP = 3


def find(given: str | None) -> Path:
    """Give the binary that was named, by the setting or by the variable `SLIMEDGE_BENCHMARK_MODEL`.

    Raises:
        UnavailableError: none was named.
        InputError: there is no such file, or it cannot be one for a command line on Android.
    """
    named = given or os.environ.get(VARIABLE)
    if not named:
        raise UnavailableError(
            "an Android device is measured by LiteRT's benchmark_model, which was not named: take the binary "
            f"android_aarch64_benchmark_model from LiteRT's nightly builds ({SOURCE}) or build it, and say where it "
            f"is: adb://SERIAL/litert?benchmark_model=/path/to/it, or the variable {VARIABLE}."
        )
    path = Path(named).expanduser()
    if not path.is_file():
        raise InputError(
            f"benchmark_model={named} is no file; give LiteRT's benchmark_model for Android, as from {SOURCE}."
        )
    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] == b"PK":
        raise InputError(
            f"benchmark_model={named} is an Android package; give the command-line binary of that name without .apk."
        )
    if start == b"\x7fELF" and (loader := _loader(path)) and "linker" not in loader:
        raise InputError(
            f"benchmark_model={named} was built for Linux (it asks for {loader}), not for Android; take the one of "
            f"{SOURCE}."
        )
    return path.absolute()


def check_abi(path: Path, allowed: Sequence[str], serial: str) -> None:
    """Check that a device runs what the binary was built for.

    Args:
        path: of the binary; a script is left to the device.
        allowed: the device's ABIs; none where they are not known.
        serial: of the device, for the message.

    Raises:
        InputError: it does not.
    """
    abi = _abi(path)
    if abi is not None and allowed and abi not in allowed:
        raise InputError(
            f"benchmark_model={path} was built for {abi}, but the device {serial} runs {', '.join(allowed)}; give one "
            "built for that."
        )


def _abi(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(20)
    if len(head) < 20 or head[:4] != b"\x7fELF":
        return None
    (machine,) = struct.unpack("<H" if head[5] == 1 else ">H", head[18:20])
    return _ABIS.get(machine, f"machine {machine}")


def _loader(path: Path) -> str | None:
    """Give the path of the program that loads an ELF file, None for a static or a damaged one."""
    data = path.read_bytes()
    try:
        order = "<" if data[5] == 1 else ">"
        wide = data[4] == 2
        (table,) = struct.unpack_from(order + ("Q" if wide else "I"), data, 32 if wide else 28)
        size, count = struct.unpack_from(order + "HH", data, 54 if wide else 42)
        for at in range(table, table + size * count, size):
            if struct.unpack_from(order + "I", data, at)[0] == _PT_INTERP:
                place, length = struct.unpack_from(
                    order + ("Q16xQ" if wide else "I8xI"), data, at + (8 if wide else 4)
                )
                return data[place : place + length].rstrip(b"\0").decode(errors="replace")
    except (struct.error, IndexError, ValueError):
        return None
    return None
