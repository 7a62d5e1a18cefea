"""A set without a tenant denies that tenant everything."""

from __future__ import annotations

from appliance.policy.set import PolicySet
from tests.unit.policy.written import compiled, request


def test_absence_denies_g1() -> None:
    facts = request("https://a.example.com/")
    assert PolicySet().for_tenant("acme").judge(facts).reason == "no-policy"
    policies = PolicySet({"acme": compiled("profile: read-only-web")})
    assert policies.for_tenant("acme").judge(facts).allowed
    assert policies.for_tenant("Acme").judge(facts).reason == "no-policy"
    assert policies.for_tenant("").judge(facts).reason == "no-policy"
