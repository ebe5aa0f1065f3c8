"""`slimedge targets`: what can run here, and why the rest cannot."""

from __future__ import annotations

import json

from slimedge.cli import options
from slimedge.cli.output import Output
from slimedge.progress import on_terminal


def targets(to_json: options.Json = None, quiet: options.Quiet = False) -> None:
    """List what can run here, and why the rest cannot."""
    output = Output(to_json, quiet)
    from slimedge.runtime.targets import available_targets

    with on_terminal(quiet=quiet) as progress:
        progress("asking the runtimes")
        found = available_targets()
    width = max(len(str(each.target)) for each in found)
    for each in found:
        version = f"yes, version {each.version}" if each.version else "yes"
        output.say(f"{each.target!s:{width}}  {version if each.reason is None else f'no: {each.reason}'}")
    output.write_json(
        lambda: (
            json.dumps(
                [
                    {
                        "target": str(each.target),
                        "available": each.reason is None,
                        "version": each.version,
                        "reason": each.reason,
                    }
                    for each in found
                ],
                indent=2,
            )
            + "\n"
        )
    )
