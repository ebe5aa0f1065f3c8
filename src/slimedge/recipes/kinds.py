"""Kinds of values in a recipe that are more than text and numbers, each with its check and its JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from slimedge.binding import parse_scale
from slimedge.data_arguments import checked_size
from slimedge.errors import InputError
from slimedge.recipes.problems import suggestion

# The type of errors whose message is a whole sentence.
REFUSED = "refused"
UNITS: Mapping[str, int] = {
    "B": 1,
    "kB": 10**3,
    "KiB": 2**10,
    "MB": 10**6,
    "MiB": 2**20,
    "GB": 10**9,
    "GiB": 2**30,
}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)")
SIZE_EXAMPLE = "as 40000, 40 kB or 1.5 MiB"


def refusal(sentence: str) -> PydanticCustomError:
    """Give the error with which pydantic passes a sentence on."""
    return PydanticCustomError(REFUSED, "{sentence}", {"sentence": sentence})


@dataclass(frozen=True, slots=True)
class OneOf:
    """Text that is one of several names.

    Args:
        names: that are allowed.
        with_setting: whether a colon and a setting may follow, as in `percentile:99.9`.
    """

    names: tuple[str, ...]
    with_setting: bool = False

    def check(self, given: str) -> str:
        """Give the name; raises pydantic's error where it is none of them."""
        name = given.partition(":")[0] if self.with_setting else given
        if name not in self.names:
            near = suggestion(name, self.names)
            raise refusal(f"'{given}' is not allowed{near}; give {' or '.join(listed(self.names))}.")
        return given

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        names = "|".join(map(re.escape, self.names))
        allowed = {"pattern": f"^({names})(:.+)?$"} if self.with_setting else {"enum": list(self.names)}
        return {**handler(schema), **allowed}


@dataclass(frozen=True, slots=True, eq=False)  # held by types, which are hashed
class Shortened:
    """A mapping or list of which a shorter form is understood, too.

    Args:
        whole: gives the long form of what was given, and the long form as it is.
        forms: JSON Schemas of the shorter ones.
    """

    whole: Callable[[Any], Any]
    forms: tuple[JsonSchemaValue, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.whole, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), *self.forms]}


@dataclass(frozen=True, slots=True, eq=False)  # held by types, which are hashed
class Read:
    """Text or numbers that a function reads.

    Args:
        read: gives the value; raises InputError.
        forms: JSON Schemas of what it reads.
    """

    read: Callable[[Any], Any]
    forms: tuple[JsonSchemaValue, ...]

    def _read(self, given: Any) -> Any:
        try:
            return self.read(given)
        except InputError as error:
            raise refusal(str(error)) from error

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.no_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        del schema, handler
        return {"anyOf": list(self.forms)} if len(self.forms) > 1 else dict(self.forms[0])


def listed(names: tuple[str, ...]) -> list[str]:
    """Give names for a sentence: all but the last joined with commas, and the last.

    Example:
        >>> " or ".join(listed(("a", "b", "c")))
        'a, b or c'
    """
    return [", ".join(names[:-1]), names[-1]] if len(names) > 1 else list(names)


def size_of(given: Any) -> int:
    """Read a number of bytes.

    Args:
        given: a whole number, or text with a unit.

    Raises:
        InputError: it is neither, or not above 0.

    Example:
        >>> size_of("40 kB"), size_of("1.5 MiB"), size_of(96)
        (40000, 1572864, 96)
    """
    size, unit = given, "B"
    if isinstance(given, str):
        found = _SIZE.fullmatch(given.strip())
        size, unit = (float(found[1]), found[2]) if found else (None, "B")
    if isinstance(size, bool) or not isinstance(size, int | float) or (isinstance(given, float)):
        raise InputError(f"{shown(given)} is no number of bytes; give one, {SIZE_EXAMPLE}.")
    if unit not in UNITS:
        near = next((each for each in UNITS if each.lower() == unit.lower()), None)
        hint = f"; did you mean '{near}'" if near else ""
        raise InputError(f"there is no unit '{unit}' of bytes{hint}; the units are {', '.join(UNITS)}.")
    bytes_ = round(size * UNITS[unit])
    if bytes_ < 1:
        raise InputError(f"{shown(given)} is no size that a file can have; give one above 0, {SIZE_EXAMPLE}.")
    return bytes_


def amount_of(given: Any) -> float:
    """Read how many examples to take: a whole number, a share up to 1, or `all`.

    Returns:
        An int for a count, a float for a share, as `Data.split` takes them.

    Raises:
        InputError: it is none of these.

    Example:
        >>> amount_of(512), amount_of(0.2), amount_of("all")
        (512, 0.2, 1.0)
    """
    if given == "all":
        return 1.0
    count = isinstance(given, int) and not isinstance(given, bool) and given >= 0
    share = isinstance(given, float) and 0 < given <= 1
    if not count and not share:
        raise InputError(f"{shown(given)} is not allowed; give a count as 2000, a share as 0.2, or all.")
    found: float = given
    return found


def some_of(given: Any) -> float:
    """Read as `amount_of`, and refuse none at all."""
    if given == 0 and not isinstance(given, bool):
        raise InputError("0 examples are too few; give a count as 2000, a share as 0.2, or all.")
    return amount_of(given)


def scale_of(given: Any) -> str | float:
    """Read a scale as `Data.load` takes it: a number, or text as 1/255."""
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        raise InputError(f"{shown(given)} is no scale; give a number above 0, as 0.0039 or 1/255.")
    parse_scale(given)
    return given


def image_size_of(given: Any) -> tuple[int, int]:
    """Read height and width: text as 224x224, or a list of both."""
    if not isinstance(given, str | list) or (given and isinstance(given[0], bool)):
        raise InputError(f"{shown(given)} is no size; give height and width, as 224x224.")
    size = checked_size(given if isinstance(given, str) else tuple(given))
    if size is None:
        raise InputError("there is no size; give height and width, as 224x224.")
    return size


def shown(given: Any) -> str:
    """Write a value for a sentence, as YAML says it, cut where it is long.

    Example:
        >>> shown(True), shown(None), shown("a"), shown([1, 2])
        ('true', 'nothing', "'a'", '[1, 2]')
    """
    if isinstance(given, bool):
        return str(given).lower()
    text = "nothing" if given is None else repr(given)
    return text if len(text) <= 60 else f"{text[:59]}…"
