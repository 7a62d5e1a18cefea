"""JSON Schemas (draft 2020-12) for request bodies: bounded, self-contained, with patterns in linear time."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema_rs

MAX_SCHEMA_BYTES = 64 * 1024
MAX_DETAIL = 200
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCES = ("$ref", "$dynamicRef")
_BASES = ("$id", "$anchor", "$dynamicAnchor", "$vocabulary")


class BodySchema:
    """What the JSON value of a body must be. Immutable."""

    __slots__ = ("_validator", "source")

    def __init__(self, source: Any) -> None:
        """`source` is the schema as plain data. Raises `ValueError`: "what is wrong; what to write"."""
        text = json.dumps(source)
        if len(text) > MAX_SCHEMA_BYTES:
            raise ValueError(f"the schema has {len(text)} bytes; write {MAX_SCHEMA_BYTES} at most")
        _self_contained(source)
        self.source = source
        try:
            self._validator = jsonschema_rs.Draft202012Validator(
                source, offline=True, pattern_options=jsonschema_rs.RegexOptions()
            )
        except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
            detail = str(error).partition("\n")[0][:MAX_DETAIL]
            raise ValueError(f"no JSON Schema of draft 2020-12 ({detail}); mend it") from None

    def fits(self, value: Any) -> bool:
        """Whether a JSON value is as the schema says."""
        return self._validator.is_valid(value)


def _self_contained(source: Any) -> None:
    """No reference leads out of the schema. Raises `ValueError`."""
    if not isinstance(source, dict):
        raise ValueError("a schema is keys and values; write type: object")  # noqa: TRY004 - as for pydantic
    if source.get("$schema", DIALECT) != DIALECT:
        raise ValueError(f"$schema is another dialect; write {DIALECT}, or leave it out")
    waiting: list[Any] = [source]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        if not isinstance(part, dict):
            continue
        for key in _REFERENCES:
            if isinstance(part.get(key), str) and not re.match("#(/|$)", part[key]):
                raise ValueError(f"{key} {part[key][:80]!a} leads out of the schema; write #/$defs/…")
        for key in _BASES:
            if key in part:
                raise ValueError(f"{key} gives the schema another base; leave it out")
        waiting += part.values()
