"""Runtimes that stand in for real ones on a device, so that measuring meets what real devices do."""

from __future__ import annotations

import sys
from pathlib import Path

HANGS = """
import ctypes
class OpResolverType:
    AUTO = BUILTIN_REF = None
class Interpreter:
    def __init__(self, **_):
        ctypes.PyDLL(None).sleep(1000)  # in C, holding the interpreter: nothing in Python can end it
"""
DIES = """
import os, signal
class OpResolverType:
    AUTO = BUILTIN_REF = None
class Interpreter:
    def __init__(self, **_):
        os.kill(os.getpid(), signal.SIGSEGV)
"""
OLD = """
__version__ = "1.10.0"
class SessionOptions:
    def add_session_config_entry(self, *_): pass
class ExecutionMode:
    ORT_SEQUENTIAL = 0
def set_default_logger_severity(_): pass
def get_available_providers(): return ["CPUExecutionProvider"]
def get_all_providers(): return ["CPUExecutionProvider"]
class InferenceSession:
    def __init__(self, *_, **__):
        raise RuntimeError("Unsupported model IR version: 10, max supported IR version: 8")
"""


def runtime(folder, name, text, version=None):
    """Write a module that a device's Python finds before the real one; give a shell line that makes it so."""
    parts = name.split(".")
    package = Path(folder, *parts[:-1])
    package.mkdir(parents=True, exist_ok=True)
    if len(parts) > 1:
        (package / "__init__.py").write_text("")
    (package / f"{parts[-1]}.py").write_text(text)
    if version is not None:
        told = Path(folder, f"{name}-{version}.dist-info")
        told.mkdir()
        (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return f'PYTHONPATH={folder} exec {sys.executable} "$@"'
