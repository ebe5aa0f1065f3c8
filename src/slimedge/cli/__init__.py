"""The command line: each command parses its arguments and calls what does the work."""

from __future__ import annotations

from slimedge.cli.running import main

__all__ = ["main"]
