"""Pydantic's complaints about what people wrote, said in their words and at their lines."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from wap.errors import ConfigError
from wap.located import Loc

#: What is expected, by pydantic's error type.
_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping of keys",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
}
_QUOTED_LENGTH = 60


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a mistyped one most likely stands for."""
    by_fold = {k.casefold(): k for k in known}
    close = difflib.get_close_matches(word.casefold(), by_fold, n=1, cutoff=0.6)
    return by_fold[close[0]] if close else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """A hint: the nearest known word, or all of them."""
    names = sorted(known)
    close = nearest(word, names)
    return f"did you mean {close!r}?" if close else f"known: {', '.join(names) or 'none'}"


def config_error(
    exc: ValidationError, model: type[BaseModel], where: Callable[[Loc], str]
) -> ConfigError:
    """One error for all of a model's complaints, each at its place.

    Args:
        exc: what pydantic found.
        model: the model that was filled, to know the keys it has.
        where: ``file:line`` (or a variable's name) of a path of keys.
    """
    errors = _distinct(exc, model)
    found = list(dict.fromkeys(_complaint(error, model, where) for error in errors))
    if len(found) == 1:
        what, place, hint = found[0]
        return ConfigError(what, where=place, hint=hint)
    lines = [f"  {place}: {what}{f' ({hint})' if hint else ''}" for what, place, hint in found]
    return ConfigError("\n".join([f"{len(found)} problems", *lines]), where=where(()))


def _distinct(exc: ValidationError, model: type[BaseModel]) -> list[Mapping[str, Any]]:
    """The errors; of a union's members only the first, as all fail on the same value."""
    seen: set[Loc] = set()
    kept: list[Mapping[str, Any]] = []
    for error in exc.errors(include_url=False):
        loc = _written(error["loc"], model)
        if error["type"] == "extra_forbidden" or loc not in seen:
            kept.append({**error, "loc": loc, "full": error["loc"]})
        seen.add(loc)
    return kept


def _written(loc: Loc, model: type[BaseModel]) -> Loc:
    """The path without the names of a union's members, which nobody wrote."""
    found: list[str | int] = []
    current: Any = model
    for part in loc:
        if part in _tagged(current):
            current = _tagged(current)[str(part)]
        elif not (isinstance(part, str) and (part == "str" or "[" in part)):
            found.append(part)
            current = _inner(current, part)
    return tuple(found)


def _complaint(
    error: Mapping[str, Any], model: type[BaseModel], where: Callable[[Loc], str]
) -> tuple[str, str, str]:
    """What, where and hint of one pydantic error."""
    loc: Loc = error["loc"]
    kind: str = error["type"]
    key = str(loc[-1]) if loc else ""
    if kind == "extra_forbidden":
        return f"unknown key {key!r}", where(loc), suggestion(key, _keys(model, error["full"][:-1]))
    if kind == "union_tag_not_found":
        return f"the key '{'.'.join(map(str, loc))}.kind' is missing", where(loc), ""
    if kind == "union_tag_invalid":
        return _kind_complaint(error, where)
    if kind == "missing":
        known = ".".join(map(str, loc))
        return f"the key {known!r} is missing", where(loc[:-1]), ""
    path = ".".join(map(str, loc))
    return _value_complaint(error, path), where(loc), _value_hint(error)


def _kind_complaint(error: Mapping[str, Any], where: Callable[[Loc], str]) -> tuple[str, str, str]:
    """What, where and hint of a ``kind`` that a union does not have."""
    known = [name.strip("' ") for name in error["ctx"]["expected_tags"].split(",")]
    found, loc = str(error["ctx"]["tag"]), (*error["loc"], "kind")
    close = nearest(found, known)
    what = f"{'.'.join(map(str, loc))}: {_quoted(found)} is not one of {', '.join(known)}"
    return what, where(loc), f"did you mean {close!r}?" if close else ""


def _value_complaint(error: Mapping[str, Any], path: str) -> str:
    kind: str = error["type"]
    at = f"{path}: " if path else ""
    if kind == "value_error":
        return f"{at}{error['ctx']['error']}"
    if kind == "literal_error":
        return f"{at}{_quoted(error['input'])} is not one of {_choices(error)}"
    if kind in _EXPECTED:
        return f"{at}{_EXPECTED[kind]} is expected, found {_described(error['input'])}"
    return f"{at}{error['msg'][0].lower()}{error['msg'][1:]}"


def _value_hint(error: Mapping[str, Any]) -> str:
    if error["type"] == "literal_error" and isinstance(error["input"], str):
        choices = [c.strip("' ") for c in _choices(error).split(",")]
        close = nearest(error["input"], choices)
        return f"did you mean {close!r}?" if close else ""
    if error["type"] == "list_type" and isinstance(error["input"], str):
        return f"write [{error['input']}]"
    if error["type"] == "string_type" and not isinstance(error["input"], dict | list):
        return "put the value in quotes"
    return ""


def _choices(error: Mapping[str, Any]) -> str:
    return str(error["ctx"]["expected"]).replace("'", "").replace(" or ", ", ")


def _quoted(value: Any) -> str:
    text = str(value)
    return repr(text if len(text) <= _QUOTED_LENGTH else f"{text[:_QUOTED_LENGTH]}…")


def _described(value: Any) -> str:
    """What a value is, not what it says: it may be a secret."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    names = {str: "text", int: "a number", float: "a number", list: "a list", dict: "a mapping"}
    return names.get(type(value), "something else")


def _keys(model: type[BaseModel], loc: Loc) -> set[str]:
    """Keys that may be written at a path of the model."""
    current: Any = model
    for part in loc:
        current = _tagged(current).get(str(part)) or _inner(current, part)
    found = _model_in(current) if current is not None else None
    return set() if found is None else set(_fields(found))


def _inner(kind: Any, part: str | int) -> Any:
    """What is annotated for a key; None: nothing is known there."""
    found = _model_in(kind)
    return None if found is None else _fields(found).get(str(part))


def _tagged(kind: Any) -> dict[str, type[BaseModel]]:
    """The members of a union that is told apart by ``kind``."""
    models = [m for m in typing.get_args(kind) if isinstance(m, type) and issubclass(m, BaseModel)]
    if len(models) < 2:  # noqa: PLR2004 - several
        return {}
    return {typing.get_args(m.model_fields["kind"].annotation)[0]: m for m in models}


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    """Annotations by key, without the fields that are not for writing."""
    unwritten: frozenset[str] = getattr(model, "unwritten", frozenset())
    return {
        field.alias or name: field.annotation
        for name, field in model.model_fields.items()
        if name not in unwritten
    }


def _model_in(kind: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as ``Freshness | None``."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        found = [m for arg in typing.get_args(kind) if (m := _model_in(arg)) is not None]
        return found[0] if len(found) == 1 else None
    if typing.get_origin(kind) is None and isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return None
