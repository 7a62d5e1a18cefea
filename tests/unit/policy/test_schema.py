"""The published schemas are closed and speak of every key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance.policy.schema import (
    accounts_schema,
    integration_schema,
    named_schema,
    operator_schema,
    tenant_schema,
)


@pytest.mark.parametrize(
    "schema", [tenant_schema(), named_schema(), operator_schema(), accounts_schema(), integration_schema()]
)
def test_schemas_are_closed_json(schema: dict[str, Any]) -> None:
    assert json.loads(json.dumps(schema)) == schema
    assert schema["$schema"].endswith("2020-12/schema")
    for part in (schema, *schema.get("$defs", {}).values()):
        assert part["additionalProperties"] is False


def test_the_tenant_schema_knows_every_key_of_a_rule() -> None:
    rule = tenant_schema()["$defs"]["Rule"]
    assert set(rule["required"]) == {"name", "hosts"}
    assert set(rule["properties"]) == {
        "name", "effect", "hosts", "ports", "schemes", "methods", "paths", "query", "content_types",
        "encoded_slash", "max_body", "upgrade", "subprotocols", "tls",
    }  # fmt: skip
    assert rule["properties"]["hosts"]["minItems"] == 1


def test_sizes_may_be_written_with_units() -> None:
    cap = tenant_schema()["$defs"]["CapsDocument"]["properties"]["uri"]
    kinds = json.dumps(cap)
    assert '"string"' in kinds
    assert "KiB" in kinds
