"""A JSON object as everybody reads it, or none: no name twice (RFC 8259 §4), no NaN, no deep nesting."""

from __future__ import annotations

import json
from typing import Any


def parse_object(data: bytes) -> dict[str, Any]:
    """The object. Raises `ValueError`, without the data."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_distinct, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError("not one JSON object")  # noqa: TRY004 - whoever calls expects one kind of error
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name stands twice")
    return members


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
