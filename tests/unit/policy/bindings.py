"""Integration definitions and accounts as a test writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.policy.catalog import Catalog
from appliance.policy.compile_account import AccountsLayer, compile_accounts
from appliance.policy.compile_definition import Definition, compile_definition
from appliance.policy.problems import Problem
from appliance.policy.rules import RuleIndex
from appliance.policy.tenant import Profile, TenantPolicy
from tests.unit.policy.written import document, operator_layer

CRM = """
name: crm
title: CRM
scheme: https
hosts: [api.crm.example]
port: 443
slot: {style: bearer}
secrets: [static]
groups:
  - {name: read, risk: read, methods: [GET], paths: ["/data/*"], query: [page, "ids[]"], repeatable: ["ids[]"]}
  - {name: send, risk: write, methods: [POST], paths: [/mail], content_types: [application/json], max_body: 1KiB}
"""


def definition(text: str = CRM, name: str = "crm") -> Definition:
    made, problems = compile_definition(document(text, f"{name}.yaml"), name)
    assert made is not None, [str(p) for p in problems]
    return made


def faults_of_definition(text: str, name: str = "crm") -> list[str]:
    made, problems = compile_definition(document(text, f"{name}.yaml"), name)
    assert made is None
    return [str(p) for p in problems]


def accounts(
    text: str, own: Mapping[str, str] | None = None, operator: str | None = None
) -> tuple[AccountsLayer | None, list[Problem]]:
    known = {name: definition(body, name) for name, body in (own or {"crm": CRM}).items()}
    return compile_accounts(document(text, "accounts.yaml"), Catalog(known), operator_layer(operator))


def account_faults(text: str, **more: Any) -> list[str]:
    layer, problems = accounts(text, **more)
    assert layer is None
    return [str(p) for p in problems]


def bound_policy(
    text: str,
    own: Mapping[str, str] | None = None,
    operator: str | None = None,
    profile: Profile = Profile.READ_ONLY_WEB,
    tenant: str = "acme",
) -> TenantPolicy:
    """The policy of a tenant that has nothing but its profile and its accounts."""
    layer, problems = accounts(text, own, operator)
    assert layer is not None, [str(p) for p in problems]
    above = operator_layer(operator)
    return TenantPolicy(
        tenant, "1", profile=profile, operator=RuleIndex(above.entries), bound=layer.of(tenant),
        passthrough=above.passthrough_of(tenant),
    )  # fmt: skip
