"""Make the image of the emulated board, unless it was made before: `python -m slimedge.runtime.devices.board`."""

from __future__ import annotations

import argparse
import sys
import time

from slimedge.errors import SlimedgeError
from slimedge.progress import on_terminal
from slimedge.runtime.devices.board.building import build


def main() -> int:
    """Make it, tell where it lies, and give the exit status."""
    argparse.ArgumentParser(
        prog="python -m slimedge.runtime.devices.board", description=str(__doc__).splitlines()[0]
    ).parse_args()
    begin = time.monotonic()
    try:
        with on_terminal() as progress:
            image = build(progress=progress)
    except SlimedgeError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; nothing was left\n")
        return 130
    megabytes = sum(path.stat().st_size for path in image.folder.iterdir()) / 1e6
    sys.stdout.write(f"{image.folder} ({megabytes:.0f} MB, {time.monotonic() - begin:.0f} s)\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
