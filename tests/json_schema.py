"""A validator for the part of JSON Schema (Draft 2020-12) that ours uses; an unknown keyword is an error."""

from __future__ import annotations

import re

TYPES = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "null": type(None),
    "number": (int, float),
    "object": dict,
    "string": str,
}
ANNOTATIONS = {"$schema", "$defs", "title", "description", "default", "examples"}


def accepts(schema, value, whole=None):
    """Tell whether a value is valid."""
    whole = whole or schema
    return all(_holds(keyword, schema, value, whole) for keyword in schema if keyword not in ANNOTATIONS)


def _holds(keyword, schema, value, whole):
    told = schema[keyword]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if keyword == "$ref":
        return accepts(whole["$defs"][told.removeprefix("#/$defs/")], value, whole)
    if keyword == "anyOf":
        return any(accepts(each, value, whole) for each in told)
    if keyword == "type":
        return isinstance(value, TYPES[told]) and (told == "boolean" or not isinstance(value, bool))
    if keyword in {"enum", "const"}:
        return value in (told if keyword == "enum" else [told])
    if keyword == "pattern":
        return not isinstance(value, str) or re.search(told, value) is not None
    limits = {
        "minimum": lambda: value >= told,
        "maximum": lambda: value <= told,
        "exclusiveMinimum": lambda: value > told,
        "exclusiveMaximum": lambda: value < told,
    }
    if keyword in limits:
        return not number or limits[keyword]()
    if keyword in {"items", "minItems", "maxItems"}:
        return (
            not isinstance(value, list)
            or {
                "items": lambda: all(accepts(told, each, whole) for each in value),
                "minItems": lambda: len(value) >= told,
                "maxItems": lambda: len(value) <= told,
            }[keyword]()
        )
    return not isinstance(value, dict) or _holds_of_object(keyword, schema, value, whole)


def _holds_of_object(keyword, schema, value, whole):
    told = schema[keyword]
    known = schema.get("properties", {})
    others = [each for name, each in value.items() if name not in known]
    return {
        "properties": lambda: all(
            accepts(told[name], each, whole) for name, each in value.items() if name in told
        ),
        "additionalProperties": lambda: (
            all(accepts(told, each, whole) for each in others)
            if isinstance(told, dict)
            else told or not others
        ),
        "required": lambda: set(told) <= set(value),
        "minProperties": lambda: len(value) >= told,
        "maxProperties": lambda: len(value) <= told,
    }[keyword]()
