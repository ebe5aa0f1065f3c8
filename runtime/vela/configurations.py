"""The Ethos-U configurations that Vela compiles for; each is the name of a target."""

from __future__ import annotations

from slimedge.errors import InputError

# What `vela --help` lists; the number is the MACs in a cycle.
CONFIGURATIONS = (
    "ethos-u55-32",
    "ethos-u55-64",
    "ethos-u55-128",
    "ethos-u55-256",
    "ethos-u65-256",
    "ethos-u65-512",
    "ethos-u85-128",
    "ethos-u85-256",
    "ethos-u85-512",
    "ethos-u85-1024",
    "ethos-u85-2048",
)


def check_configuration(name: str) -> None:
    """Refuse a configuration that there is not.

    Raises:
        InputError: naming those that there are.
    """
    if name not in CONFIGURATIONS:
        raise InputError(
            f"there is no Ethos-U configuration '{name}'; the configurations are {', '.join(CONFIGURATIONS)}."
        )
