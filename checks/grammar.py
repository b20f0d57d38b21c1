"""What a contract may say: Soda's packaged JSON schema, and the rules it leaves out. Pure."""

from __future__ import annotations

import difflib
import functools
import importlib.util
import json
from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from checks.errors import ChecksError, ContractError
from checks.positions import Document, Place
from checks.thresholds import COMPARISONS

_SCHEMA = "contracts/soda_data_contract_json_schema_1_0_0.json"

#: Keys of a column. Soda's schema leaves them open, so that «cheks:» would be no checks at all.
COLUMN_KEYS = (
    "name", "description", "data_type", "character_maximum_length", "numeric_precision",
    "numeric_scale", "datetime_precision", "checks",
)  # fmt: skip

#: Keys Soda accepts and does not do, or that open a way around the gate; each with its reason.
REFUSED = {
    "optional": "Soda does not implement it: a missing optional column fails the schema check",
    "scopes": "Soda runs scopes only with an extension that is not open; the checks would not run",
    "scope": "Soda runs scopes only with an extension that is not open; the check would not run",
    "soda_agent": "audits run here, not on Soda Cloud",
    "soda_runner": "audits run here, not on Soda Cloud",
    "check_attributes": "Soda's own contract schema does not have it; use attributes in a check",
    "column_expression": "Soda's own contract schema does not have it; use a failed_rows check",
}

#: Check types whose threshold has no default: one comparison must be written.
NEEDS_COMPARISON = ("aggregate", "metric", "freshness")


@functools.cache
def soda_schema() -> dict[str, Any]:
    """Soda's packaged JSON schema, found without importing Soda (which costs 1.2 s).

    Raises:
        ChecksError: soda-core is not installed, or its schema moved.
    """
    spec = importlib.util.find_spec("soda_core")
    for root in spec.submodule_search_locations or () if spec else ():
        file = Path(root, _SCHEMA)
        if file.is_file():
            loaded: dict[str, Any] = json.loads(file.read_text("utf-8"))
            return loaded
    raise ChecksError(
        "Soda's contract schema cannot be found",
        where=_SCHEMA,
        hint="reinstall the pinned soda-core; a newer one may have moved it",
    )


@functools.cache
def check_types(*, of_column: bool) -> dict[str, dict[str, Any]]:
    """Check types by name, each with the JSON schema of its body."""
    properties = soda_schema()["properties"]
    checks = properties["checks"]
    if of_column:
        checks = properties["columns"]["items"]["allOf"][0]["properties"]["checks"]
    shapes = (shape["properties"].items() for shape in checks["items"]["anyOf"])
    return {kind: body["oneOf"][0] for shape in shapes for kind, body in shape}


def fail(document: Document, place: Place, what: str, hint: str = "") -> ContractError:
    """The error for a place in a contract."""
    return ContractError(what, where=document.at(place), hint=hint)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known name, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known are: {', '.join(names[:40])}" if names else ""


def only_known(document: Document, place: Place, data: Any, known: Iterable[str]) -> None:
    """Refuse any key of a mapping that is not known (a typo would pass silently in Soda)."""
    keys = tuple(known)
    for key in data if isinstance(data, Mapping) else ():
        if key in REFUSED:
            raise fail(document, [*place, key], f"{key!r} is not supported", REFUSED[key])
        if key not in keys:
            raise fail(document, [*place, key], f"unknown key {key!r}", nearest(key, keys))


def check_document(document: Document) -> None:
    """Prove the top of the document, then all of it against Soda's own schema.

    Raises:
        ContractError: not a contract.
    """
    data = document.data
    if not isinstance(data, dict):
        raise fail(document, [], "a contract is a mapping", "start with dataset: and columns:")
    only_known(document, [], data, soda_schema()["properties"])
    for key in ("dataset", "columns"):
        if key not in data:
            raise fail(document, [], f"{key!r} is missing", "dataset: and columns: are required")


def check_schema(document: Document) -> None:
    """Hold the whole document against Soda's schema: the net under the rules of our own."""
    error = best_match(Draft202012Validator(soda_schema()).iter_errors(document.data))
    if error is not None:
        raise _refused(document, [], error)


def check_body(document: Document, place: Place, kind: str, body: Any, *, of_column: bool) -> None:
    """Prove one check's body: known keys, Soda's schema of its type, and our own rules."""
    schema = check_types(of_column=of_column)[kind]
    if body is not None:
        keys = schema["properties"]
        only_known(document, place, body, keys)
        if isinstance(body, dict):
            _check_keys_below(document, place, body, keys)
        whole = {"$defs": soda_schema()["$defs"], **schema}
        error = best_match(Draft202012Validator(whole).iter_errors(body))
        if error is not None:
            raise _refused(document, place, error)
    _check_threshold(document, place, kind, body or {})
    _check_kind(document, place, kind, body or {})


def _check_keys_below(
    document: Document, place: Place, body: Mapping[str, Any], schemas: Mapping[str, Any]
) -> None:
    """Name a typo inside ``threshold`` and its like, where JSON schema would only say «no»."""
    definitions = soda_schema()["$defs"]
    for key, value in body.items():
        schema = schemas.get(key, {})
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        schema = definitions.get(name, schema)
        if isinstance(value, dict) and schema.get("additionalProperties") is False:
            only_known(document, [*place, key], value, schema["properties"])
            _check_keys_below(document, [*place, key], value, schema["properties"])


def _check_threshold(document: Document, place: Place, kind: str, body: Mapping[str, Any]) -> None:
    threshold = body.get("threshold") or {}
    found = [key for key in COMPARISONS if key in threshold]
    where = [*place, "threshold"]
    if kind == "schema" and (threshold or body.get("filter")):
        raise fail(document, place, "a schema check takes no threshold and no filter")
    if len(found) > 1:
        raise fail(document, where, f"a threshold holds one comparison, here are: {found}")
    if kind in NEEDS_COMPARISON and not found:
        hint = f"write one of: {', '.join(COMPARISONS)}"
        raise fail(document, where, f"{kind} needs a threshold with a comparison", hint)
    for key, value in _numbers(threshold):
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            what = f"{key!r} must be a number, not {value!r}"
            raise fail(document, [*where, key], what, "write it without quotes")
    for key in ("must_be_between", "must_be_not_between"):
        if key in threshold:
            _check_range(document, [*where, key], threshold[key], inside=key == "must_be_between")


def _numbers(threshold: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for key, value in threshold.items():
        if key == "additional" or key in ("must_be_between", "must_be_not_between"):
            yield from _numbers(value)
        elif key not in ("metric", "unit", "level"):
            yield key, value


def _check_range(
    document: Document, place: Place, bounds: Mapping[str, float], *, inside: bool
) -> None:
    low = [v for k, v in bounds.items() if k.startswith("greater")]
    high = [v for k, v in bounds.items() if k.startswith("less")]
    if len(low) != 1 or len(high) != 1:
        hint = "write greater_than… and less_than…, each once"
        raise fail(document, place, "a range needs a lower and an upper bound", hint)
    if (low[0] >= high[0]) if inside else (low[0] <= high[0]):
        what = "no number lies in this range" if inside else "every number is outside this range"
        raise fail(document, place, what, "exchange the two bounds")


_VALIDITY = (
    "valid_values", "invalid_values", "valid_format", "invalid_format", "valid_min", "valid_max",
    "valid_length", "valid_min_length", "valid_max_length", "valid_reference_data",
)  # fmt: skip


def _check_kind(document: Document, place: Place, kind: str, body: Mapping[str, Any]) -> None:
    percent = (body.get("threshold") or {}).get("metric") == "percent"
    if kind == "invalid" and not any(key in body for key in _VALIDITY):
        hint = f"write one of: {', '.join(_VALIDITY)}"
        raise fail(document, place, "this check does not say what is valid", hint)
    if kind == "duplicate" and body.get("columns") == []:
        raise fail(document, [*place, "columns"], "columns is empty: nothing would be unique")
    if kind == "failed_rows":
        by_query = "query" in body or "keys_query" in body
        if percent and by_query and "rows_tested_query" not in body:
            hint = "add rows_tested_query: SELECT COUNT(*) FROM …"
            raise fail(document, place, "a percentage of a query's rows needs their number", hint)
        if "rows_tested_query" in body and not by_query:
            raise fail(document, place, "rows_tested_query belongs to a query", "remove it")
    if percent and kind not in ("missing", "invalid", "duplicate", "failed_rows"):
        where = [*place, "threshold", "metric"]
        raise fail(document, where, f"metric percent does not fit a {kind} check")


def _refused(document: Document, place: Place, error: ValidationError) -> ContractError:
    there = [*place, *error.absolute_path]
    key = next((str(s) for s in reversed(there) if isinstance(s, str)), "contract")
    return fail(document, there, f"{key}: {error.message[:200]}", _describe(error))


def _describe(error: ValidationError) -> str:
    text = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
    return text.partition(". ")[0]
