"""`python -m slimedge.cli` is the command `slimedge`."""

from slimedge.cli import main

main()
