"""Body schemas: draft 2020-12, bounded, without a way out, in linear time."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.policy.body_schema import MAX_SCHEMA_BYTES, BodySchema

PERSON = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def test_a_body_is_as_the_schema_says() -> None:
    schema = BodySchema(PERSON)
    assert schema.fits({"name": "a"})
    assert not schema.fits({"name": 1})
    assert not schema.fits([])


def test_a_reference_within_the_schema_is_followed() -> None:
    tree = {"$defs": {"leaf": {"type": "integer"}}, "items": {"$ref": "#/$defs/leaf"}, "type": "array"}
    assert BodySchema(tree).fits([1])
    assert not BodySchema(tree).fits(["1"])
    assert BodySchema({"items": {"$ref": "#"}, "type": "array"}).fits([[], [[]]])


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({"type": "objekt"}, "no JSON Schema of draft 2020-12"),
        ({"$ref": "https://example.com/schema.json"}, "leads out"),
        ({"properties": {"a": {"$ref": "other.json"}}}, "leads out"),
        ({"allOf": [{"$dynamicRef": "https://example.com/#a"}]}, "leads out"),
        ({"$ref": "#/$defs/none"}, "no JSON Schema of draft 2020-12"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "another dialect"),
        ({"$id": "https://example.com/"}, "another base"),
        ({"pattern": "(?=a)a"}, "no JSON Schema of draft 2020-12"),
        ({"description": "x" * MAX_SCHEMA_BYTES}, f"write {MAX_SCHEMA_BYTES} at most"),
        (True, "keys and values"),
    ],
)
def test_a_schema_that_cannot_be_used(schema: Any, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        BodySchema(schema)


def test_a_pattern_takes_linear_time() -> None:
    schema = BodySchema({"type": "string", "pattern": "^(a+)+$"})
    assert not schema.fits("a" * 50_000 + "b")
