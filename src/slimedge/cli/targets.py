"""`slimedge targets`: what can run here, and why the rest cannot."""

from __future__ import annotations

import json
from dataclasses import asdict

from slimedge.cli import options
from slimedge.cli.output import Output
from slimedge.progress import on_terminal


def targets(to_json: options.Json = None, quiet: options.Quiet = False) -> None:
    """List what can run here, and why the rest cannot."""
    output = Output(to_json, quiet)
    from slimedge.runtime.availability import available_targets

    with on_terminal(quiet=quiet) as progress:
        progress("asking the runtimes")
        found = available_targets()
    width = max(len(each.target) for each in found)
    for each in found:
        version = f", version {each.version}" if each.version else ""
        device = f", {each.device}" if each.device else ""
        told = f"yes{version}{device}" if each.reason is None else f"no: {each.reason}"
        output.say(f"{each.target:{width}}  {told}")
    output.write_json(
        lambda: (
            json.dumps([{**asdict(each), "available": each.reason is None} for each in found], indent=2)
            + "\n"
        )
    )
