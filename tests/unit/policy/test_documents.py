"""The models accept the documents that the manual shows."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from appliance.policy.documents import NamedPolicyDocument, OperatorDocument, TenantDocument, distinct
from tests.unit.policy.written import document

FULL = """
    description: what acme's agents may reach
    profile: allowlist
    use: [pypi, github-read]
    caps: {uri: 8KiB, headers: 16KiB, request_body: 10MiB, response_body: 2GiB}
    rules:
      - name: uploads
        effect: allow
        hosts: [api.example.com]
        ports: [443]
        schemes: [https]
        methods: [GET, POST]
        paths: ["/v1/**", "/health"]
        query: [page]
        content_types: [application/json]
        encoded_slash: false
        max_body: 1MiB
        tls: intercept
    """


def test_a_full_tenant_document() -> None:
    model = TenantDocument.model_validate(document(FULL).data)
    assert model.profile == "allowlist"
    assert model.caps.uri == 8192
    assert model.rules is not None
    assert model.rules[0].max_body == 2**20


def test_the_default_profile_is_read_only() -> None:
    assert TenantDocument.model_validate({"description": "x"}).profile == "read-only-web"


@pytest.mark.parametrize("model", [TenantDocument, NamedPolicyDocument, OperatorDocument])
def test_models_are_closed_and_frozen(model: type[BaseModel]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        model.model_validate({"surprise": 1, "rules": [{"name": "a", "hosts": ["a.example.com"]}]})
    assert model.model_config["frozen"]


def test_a_long_list_is_looked_through_once() -> None:
    class Counted:
        looks = 0

        def __hash__(self) -> int:
            Counted.looks += 1
            return id(self)

    items = tuple(Counted() for _ in range(1000))
    assert distinct(items) == items
    assert Counted.looks <= 2 * len(items)
