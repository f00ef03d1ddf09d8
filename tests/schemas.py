"""The schemas that are shipped, and as strict ones: a field that they do not name is refused."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator


@cache
def schema(name: str) -> dict[str, Any]:
    """event or answer, as it lies in the package."""
    found = json.loads((resources.files("migrator") / "schemas" / f"{name}.json").read_text())
    assert isinstance(found, dict)
    return found


@cache
def strict(name: str) -> Draft202012Validator:
    """For tests: what is shipped lets later releases add fields."""
    closed = _closed(schema(name))
    return Draft202012Validator({**closed, "unevaluatedProperties": False})


def problems(name: str, value: Any) -> list[str]:
    """What the schema has against a value."""
    found = strict(name).iter_errors(value)
    return [f"{error.json_path}: {error.message[:300]}" for error in found]


def _closed(value: Any) -> Any:
    """Each object below another one, as a field or an item, without fields that are not named."""
    if isinstance(value, list):
        return [_closed(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: _closed(item) for key, item in value.items()}
    if "$defs" not in value and isinstance(value.get("properties"), dict):
        found["properties"] = {k: _shut(item) for k, item in found["properties"].items()}
    if "items" in value:
        found["items"] = _shut(found["items"])
    return found


def _shut(value: dict[str, Any]) -> dict[str, Any]:
    if "oneOf" in value:
        return {**value, "oneOf": [_shut(item) for item in value["oneOf"]]}
    if "$ref" in value or "properties" in value:
        return {**value, "unevaluatedProperties": False}
    return value
