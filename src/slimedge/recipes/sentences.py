"""What pydantic refused, as problems with a place in the file and a sentence each."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from slimedge.recipes.document import Document, Place
from slimedge.recipes.kinds import REFUSED, shown
from slimedge.recipes.models import hyphened, recipe_model
from slimedge.recipes.problems import Problem, suggestion
from slimedge.recipes.stages import STAGES

# By pydantic's type of error, what can be given instead.
ALLOWED: Mapping[str, str] = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "values by name, as name: value",
    "model_type": "settings by name, as name: value",
    "model_attributes_type": "settings by name, as name: value",
    "greater_than_equal": "{ge:g} or more",
    "greater_than": "more than {gt:g}",
    "less_than_equal": "at most {le:g}",
    "less_than": "less than {lt}",
    "literal_error": "{expected}",
    "too_short": "at least one",
}


def problems_of(error: ValidationError, document: Document, model: type[BaseModel]) -> list[Problem]:
    """Give what pydantic found, in the words of a recipe.

    Args:
        error: that it raised.
        document: what it was raised for.
        model: that the document was read with.
    """
    found: dict[Place, list[str]] = {}
    whole: list[Problem] = []
    for each in error.errors(include_url=False):
        place = document.placed(each["loc"])  # without the members of unions
        kind = each["type"]
        if kind == "extra_forbidden":
            whole.append(Problem(place, _unknown(each["loc"], model)))
        elif kind == "missing":
            whole.append(Problem(place, f"'{each['loc'][-1]}' is missing; give it."))
        elif kind == REFUSED:
            whole.append(Problem(place, each["msg"]))
        else:
            allowed = ALLOWED.get(kind, each["msg"]).format_map(each.get("ctx", {}))
            found.setdefault(place, []).append(allowed)
    for place, options in found.items():
        words, given = " or ".join(dict.fromkeys(options)), document.at(place)
        what = "there is nothing here" if given is None else f"{shown(given)} is not allowed"
        whole.append(Problem(place, f"{what}; give {words}."))
    return whole


def _unknown(location: Sequence[str | int], model: type[BaseModel]) -> str:
    name = str(location[-1])
    within = _model_at(model, location[:-1])
    names = [hyphened(field) for field in within.model_fields]
    if hyphened(name) in names:
        return f"'{hyphened(name)}' and '{name}' are the same; leave one of them out."
    if names == list(STAGES):
        what, owner = "stage", "stages"
    elif within is recipe_model():
        what, owner = "key", "keys of a recipe"
    else:
        around = [step for step in location[:-1] if isinstance(step, str)] or ["data"]
        what, owner = "setting", f"settings of {around[-1]}"
    near = suggestion(hyphened(name), names)
    return f"there is no {what} '{name}'{near}; the {owner} are {', '.join(names)}."


def _model_at(model: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel]:
    """Give the model that stands at a location."""
    for step in location:
        for name, field in model.model_fields.items():
            if step in {name, hyphened(name)}:
                model = next(_models_in(field.annotation), model)
    return model


def _models_in(kind: Any) -> Iterator[type[BaseModel]]:
    """Give the models that a type is made of, the outermost first."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for inner in typing.get_args(kind):
        yield from _models_in(inner)
