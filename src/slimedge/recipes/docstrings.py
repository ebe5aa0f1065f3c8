"""What arguments mean, as the docstrings of functions and classes say it."""

from __future__ import annotations

import inspect
import re
from typing import Any


def arguments_of(documented: Any) -> dict[str, str]:
    """Give the text of each argument in the section `Args` of a docstring.

    Args:
        documented: a function or class with a docstring in Google's style.

    Returns:
        By name of the argument, its text in one line; empty without such a section.

    Example:
        >>> arguments_of(arguments_of)
        {'documented': "a function or class with a docstring in Google's style."}
    """
    section = re.search(r"^Args:\n((?:[ ]+.*\n?|\n)+)", inspect.getdoc(documented) or "", re.MULTILINE)
    found: dict[str, str] = {}
    name = ""
    for line in section[1].splitlines() if section else ():
        entry = re.match(r"[ ]{4}(\w+): (.*)", line)
        if entry:
            name = entry[1]
            found[name] = entry[2]
        elif name and line.strip():
            found[name] += f" {line.strip()}"
    return found
