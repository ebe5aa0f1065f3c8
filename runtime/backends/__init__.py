"""The runtimes that open a model file, one file each; a new one is that file and a line here."""

from __future__ import annotations

import inspect
from pathlib import Path

from slimedge.registry import Registry

BACKENDS = Registry(
    "backend",
    {
        "reference": "slimedge.runtime.backends.reference:BACKEND",
        "ort": "slimedge.runtime.backends.ort:BACKEND",
        "litert": "slimedge.runtime.backends.litert:BACKEND",
    },
)


def backend_file(name: str) -> Path:
    """Give the file that an agent loads a backend from.

    Raises:
        InputError: there is no such backend.
    """
    return Path(inspect.getfile(type(BACKENDS[name]))).resolve()


def backend_files(name: str) -> tuple[Path, ...]:
    """Give all files that an agent needs of a backend, its own first: what lies beside it travels with it.

    Raises:
        InputError: there is no such backend.
    """
    own = backend_file(name)
    return (own, *(own.with_name(part) for part in getattr(BACKENDS[name], "parts", ())))
