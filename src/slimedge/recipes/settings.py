"""What a stage can be told, read off the stage: names, types, defaults and meanings of its fields."""

from __future__ import annotations

import builtins
import re
import sys
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from functools import reduce
from operator import or_
from types import GenericAlias, NoneType, UnionType
from typing import Any, Literal, Union

from slimedge.recipes.docstrings import arguments_of

# What a recipe says where a stage takes None as its loss: training towards the outputs of another model.
DISTILLATION = "distillation"
LOSSES = Literal["distillation", "labels"]


@dataclass(frozen=True, slots=True)
class Setting:
    """A field of a stage that a recipe can set.

    Attributes:
        name: of the field.
        kind: its type, as far as YAML can say it: text, numbers, booleans, lists, mappings and None.
        default: as YAML says it; `dataclasses.MISSING` where there is none.
        description: from the docstrings.
    """

    name: str
    kind: Any
    default: Any
    description: str


def settings_of(stage: type) -> tuple[Setting, ...]:
    """Give what a recipe can set of a stage, in the order of its fields.

    Args:
        stage: a dataclass. Fields whose type YAML has nothing of (a function, a model) are left out.
    """
    kinds = typing.get_type_hints(stage, localns=_names_around(stage))
    meanings = {**arguments_of(stage), **arguments_of(_function_of(stage))}
    found = []
    for field in fields(stage):
        kind = _loss(field, kinds[field.name]) or narrowed(kinds[field.name])
        if kind is None or not field.init:
            continue
        meaning = meanings.get(field.name, "")
        default = as_yaml(field.name, default_of(field))
        found.append(Setting(field.name, kind, default, _said_in_yaml(meaning)))
    return tuple(found)


def narrowed(kind: Any) -> Any:
    """Give what YAML can say of a type: lists for tuples, no functions, no objects; None where nothing is left.

    Example:
        >>> from collections.abc import Callable
        >>> narrowed(str | Callable[[int], int] | None), narrowed(tuple[str, ...]), narrowed(Callable[[int], int])
        (str | None, list[str], None)
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in {bool, int, float, str, NoneType} or origin is Literal:
        return kind
    if origin in {Union, UnionType}:
        members = [member for each in arguments if (member := narrowed(each)) is not None]
        return reduce(or_, members) if set(members) - {NoneType} else None
    if origin in {tuple, list, Sequence, Collection} and len(set(arguments) - {Ellipsis}) == 1:
        inner = narrowed(arguments[0])
        return None if inner is None else GenericAlias(list, (inner,))
    if origin in {dict, Mapping} and arguments[0] is str:
        inner = narrowed(arguments[1])
        return None if inner is None else GenericAlias(dict, (str, inner))
    return None


def as_yaml(name: str, value: Any) -> Any:
    """Give the value of a field as YAML says it."""
    if name == "loss" and value is None:
        return DISTILLATION
    return as_json(value)


def from_yaml(name: str, value: Any) -> Any:
    """Give the value of a field from what YAML says."""
    if name == "loss" and value == DISTILLATION:
        return None
    return tuple(value) if isinstance(value, list) else value


def as_json(value: Any) -> Any:
    """Give a value of a field with lists for tuples, and dicts for other mappings."""
    if isinstance(value, tuple | list | frozenset | set):
        return [as_json(each) for each in value]
    if isinstance(value, Mapping):
        return {key: as_json(each) for key, each in value.items()}
    return value


def default_of(field: Field[Any]) -> Any:
    """Give the default of a field of a dataclass; `dataclasses.MISSING` where there is none."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def _loss(field: Field[Any], kind: Any) -> Any:
    """The two losses that have a name, where a stage takes a name, None and perhaps a function."""
    optional = field.name == "loss" and {str, NoneType} <= set(typing.get_args(kind))
    return LOSSES if optional else None


def _function_of(stage: type) -> Any:
    """Give the function that a stage calls: `prune_channels` for `PruneChannels`, in the same module."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", stage.__name__).lower()
    return getattr(sys.modules[stage.__module__], name, None)


def _said_in_yaml(meaning: str) -> str:
    """Give a description without what only Python has."""
    said = re.sub(r"[;,] or a function of \(labels, outputs\)", "", meaning)
    return said.replace("None trains", f"`{DISTILLATION}` trains").replace("None", "null")


class _Elsewhere(type):
    """Of what is imported for type checkers only: models and the like, which no YAML holds."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls


class _Object(metaclass=_Elsewhere):
    pass


class _Names(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        return _Object


def _names_around(stage: type) -> _Names:
    """Give all names that the fields of a dataclass, and of those that it inherits from, may be annotated with."""
    names = _Names(vars(builtins))
    for base in reversed(stage.__mro__):
        names.update(vars(sys.modules[base.__module__]))
    return names
