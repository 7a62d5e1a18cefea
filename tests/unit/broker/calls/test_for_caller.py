"""A call for a caller that is no container: its scopes decide, its end ends it, and no worker claims one."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace

import pytest

from appliance.broker.calls import checks, refusals
from appliance.broker.calls.checks import Allowed
from appliance.broker.calls.for_caller import CallerAttestation, needed, principal_of, scope_refusal
from appliance.broker.identity.actors import Caller, CallerMode
from appliance.handover import Attestation, parse_attestation
from appliance.http1.head import RequestHead, parse_request_head
from appliance.policy.bound import CompiledAccount, CompiledGroup
from appliance.policy.slot import Slot
from tests.unit.broker.calls.support import ATTESTED, Neighbours, account, policy_of

POLICY = policy_of(account())
CRM = POLICY.bound.accounts["crm"]
READS = CRM.groups["read"]
PLACE = {field.name: getattr(ATTESTED, field.name) for field in fields(Attestation)}
PLACE |= {"endpoint": "", "container": "", "run": "", "source": "uid:1000"}


def caller(*scopes: str) -> Caller:
    return Caller(CallerMode.API_KEY, "ci", "acme", frozenset(scopes), key="0" * 16)


def attested(*scopes: str, refusal=lambda: None) -> CallerAttestation:
    return CallerAttestation(**PLACE, caller=caller(*scopes), refusal=refusal)


def group(*scopes: str) -> CompiledGroup:
    return CompiledGroup("admin", Slot(style="bearer"), "destructive", scopes)


def head() -> RequestHead:
    found = parse_request_head(b"GET /data/1 HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
    assert isinstance(found, RequestHead)
    return found


def test_002_08_each_scope_of_the_group_is_needed() -> None:
    both = group("repo", "read:org")
    assert scope_refusal(attested("repo", "read:org", "more"), CRM, both) is None
    for scopes in ((), ("repo",), ("read:org", "crm-api:destructive")):
        refusal = scope_refusal(attested(*scopes), CRM, both)
        assert refusal is not None
        assert (refusal.status, refusal.reason) == (403, "scope-missing")


@pytest.mark.parametrize("name", ["read", "write"])
def test_002_08_a_group_without_scopes_is_for_nobody_but_who_has_its_integrations_risk(name: str) -> None:
    found = CRM.groups[name]
    assert needed(CRM, found) == {f"crm-api:{name}"}
    assert scope_refusal(attested(f"crm-api:{name}"), CRM, found) is None
    for scopes in ((), ("crm-api:destructive",), ("other:read", "other:write")):
        assert scope_refusal(attested(*scopes), CRM, found) is not None


def test_a_containers_calls_have_no_scopes() -> None:
    assert scope_refusal(ATTESTED, CRM, group("repo")) is None
    assert principal_of(ATTESTED) is None
    assert principal_of(attested()) == "api-key:ci"


def test_002_08_the_policys_check_asks_for_scopes() -> None:
    allowed = checks.policy_allows(attested("crm-api:read"), head(), CRM, POLICY)
    assert isinstance(allowed, Allowed)
    assert allowed.group is READS
    refused = checks.policy_allows(attested("crm-api:write"), head(), CRM, POLICY)
    assert not isinstance(refused, Allowed)
    assert refused.reason == "scope-missing"


def test_002_22_the_last_check_asks_the_caller_and_not_netd() -> None:
    asked: list[str] = []
    assert checks.container(attested(refusal=lambda: asked.append("asked")), None) is None
    assert asked == ["asked"]
    gone = attested(refusal=lambda: refusals.EXECUTION_ENDED)
    assert checks.container(gone, None) is refusals.EXECUTION_ENDED
    # What a container's link would need helps nobody who is none.
    (endpoint,) = Neighbours().endpoints
    assert checks.container(gone, endpoint) is refusals.EXECUTION_ENDED


def test_002_23_no_worker_speaks_for_a_caller() -> None:
    mine = {"caller": "api-key:ci", "principal": "api-key:ci", "scopes": ["crm-api:read"]}
    for name, value in mine.items():
        with pytest.raises(ValueError, match="agreed members"):
            parse_attestation(json.dumps({**asdict(ATTESTED), name: value}).encode())
    claimed = parse_attestation(json.dumps(PLACE).encode())
    assert type(claimed) is Attestation
    refused = checks.container(claimed, None)
    assert refused is not None
    assert refused.reason == "endpoint-unknown"


@pytest.mark.parametrize("name", ["caller", "principal"])
def test_002_23_a_worker_that_tries_loses_its_connection_and_no_secret_is_read(name: str) -> None:
    neighbours = Neighbours()
    line = json.dumps({**PLACE, name: "api-key:ci"}).encode() + b"\n"
    neighbours.connection.dataReceived(line + b"GET /data/1 HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
    assert neighbours.worker.aborted
    plain = Neighbours()
    plain.get(**{key: value for key, value in PLACE.items() if key != "worker"})
    assert b"403 " in plain.said
    assert (plain.record.reason, plain.record.principal) == ("endpoint-unknown", None)
    assert not any(entry.startswith("decrypt") for entry in plain.log)


def test_what_is_told_of_netds_leaves_a_caller_as_it_is() -> None:
    mine = attested()
    assert checks.as_netd_says(mine, None) is mine
    assert isinstance(replace(mine, account="x"), CallerAttestation)


def test_needed_is_never_nothing() -> None:
    assert isinstance(CRM, CompiledAccount)
    assert all(needed(CRM, one) for one in (*CRM.groups.values(), group(), group("a")))
