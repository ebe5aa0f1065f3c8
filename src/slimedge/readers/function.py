"""`module:function`: the user's own code gives the data."""

from __future__ import annotations

import difflib
import importlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from slimedge.errors import InputError, SlimedgeError
from slimedge.readers.arrays import first_line
from slimedge.source import Options, Source

_NAME = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<function>[^\W\d]\w*)")


class FunctionReader:
    """Imports a module, from the current folder too, and calls its function without arguments."""

    def knows(self, given: Any) -> bool:
        """Tell `module:function` by its form."""
        return isinstance(given, str) and _NAME.fullmatch(given) is not None

    def open(self, given: str, options: Options) -> Source:
        """Read what the function gives, as if it had been given in Python."""
        from slimedge.readers import open_source

        with _current_folder_importable():
            try:
                found = _function(given)()
            except SlimedgeError:
                raise
            except (Exception, SystemExit) as error:  # the user's code may raise anything
                raise InputError(
                    f"{given} failed with {type(error).__name__}: {first_line(error)}; it is called without "
                    "arguments and gives arrays or a tf.data.Dataset."
                ) from error
            if found is None or isinstance(found, str):
                raise InputError(
                    f"{given} gave {found!r}; return arrays, (x, y), a dict of arrays or a tf.data.Dataset."
                )
            return open_source(found, options)


def _function(given: str) -> Any:
    module_name, _, name = given.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name == module_name or module_name.startswith(f"{error.name}."):
            raise InputError(
                f"there is no module '{error.name}' for {given}; run in the folder that holds "
                f"{module_name.partition('.')[0]}.py, or install it."
            ) from error
        raise
    if not hasattr(module, name):
        names = [n for n in vars(module) if callable(getattr(module, n)) and not n.startswith("_")]
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean '{close[0]}'" if close else ""
        raise InputError(
            f"the module {module_name} has no function '{name}'{hint}; name one that gives the data."
        )
    function = getattr(module, name)
    if not callable(function):
        raise InputError(
            f"{given} is of type {type(function).__name__}; name a function that gives the data."
        )
    return function


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    folder = os.getcwd()  # noqa: PTH109  # sys.path holds strings
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with suppress(ValueError):  # the user's code may have taken it out
            sys.path.remove(folder)
