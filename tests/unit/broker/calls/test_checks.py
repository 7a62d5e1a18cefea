"""The five checks, each by itself."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from appliance.broker.calls import checks, refusals
from appliance.http1.head import RequestHead, parse_request_head
from appliance.http1.refused import Refused
from appliance.names import HostName
from appliance.policy.body_schema import BodySchema
from appliance.policy.bound import CompiledGroup
from appliance.policy.slot import Slot
from appliance.policy.tenant import TenantPolicy
from appliance.refusal import Refusal
from tests.unit.broker.calls.support import ATTESTED, SCHEMA, account, policy_of
from tests.unit.gateway.support import ENDPOINT

API = HostName("api.example.com")


def head(target: str = "/data/1", host: str = API.text, method: str = "GET", *lines: str) -> RequestHead:
    raw = "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()
    found = parse_request_head(raw)
    assert isinstance(found, RequestHead)
    return found


@pytest.mark.parametrize(
    ("request_head", "reason"),
    [
        (head(), None),
        (head(host=f"{API.text}:443"), None),
        (head(host=f"{API.text}:8443"), "port-mismatch"),
        (head(host="93.184.215.14"), "host-is-address"),
        (head(f"http://{API.text}/"), "call-malformed"),
        (head(f"{API.text}:443", f"{API.text}:443", "CONNECT"), "call-malformed"),
        (head("/data/1", API.text, "GET", "Connection: upgrade", "Upgrade: TLS/1.3"), "call-malformed"),
    ],
)
def test_intent(request_head: RequestHead, reason: str | None) -> None:
    found = checks.intent(ATTESTED, request_head)
    assert (found and found.reason) == reason


def test_000_26_a_request_through_us_is_for_its_own_host_and_no_other() -> None:
    for target in ("//evil.example.com/", "/data/..;/x"):
        with pytest.raises(Refused):
            head(target)


def test_004_32_binding() -> None:
    bound = policy_of(account())
    assert checks.binding(ATTESTED, bound) is bound.account("crm")
    assert checks.binding(ATTESTED, policy_of()) is refusals.ACCOUNT_UNBOUND
    assert checks.binding(replace(ATTESTED, account="other"), bound) is refusals.ACCOUNT_UNBOUND
    assert checks.binding(replace(ATTESTED, tenant="globex"), bound) is refusals.ACCOUNT_UNBOUND


def test_without_a_policy_nothing_is_bound() -> None:
    assert checks.binding(ATTESTED, TenantPolicy("acme")) is refusals.ACCOUNT_UNBOUND


def test_policy_is_the_evaluators_verdict_for_this_very_account() -> None:
    bound = policy_of(account())
    crm = bound.account("crm")
    assert crm is not None
    found = checks.policy_allows(ATTESTED, head(), crm, bound)
    assert isinstance(found, checks.Allowed)
    assert found.group.name == "read"
    denied = checks.policy_allows(ATTESTED, head("/other"), crm, bound)
    assert isinstance(denied, Refusal)
    assert denied.reason == "path-not-allowed"
    assert denied.mend
    # The evaluator would let it pass by another account, or by none: that is not what was attested.
    assert (
        checks.policy_allows(ATTESTED, head(), replace(crm, name="other"), bound) is refusals.ACCOUNT_UNBOUND
    )
    plain = policy_of()
    assert checks.policy_allows(ATTESTED, head(), crm, plain) is refusals.ACCOUNT_UNBOUND


@pytest.mark.parametrize(
    ("addresses", "reason"),
    [
        (["93.184.215.14"], None),
        (["10.0.1.5"], "private-address"),
        (["93.184.215.14", "169.254.169.254"], "private-address"),
        (["127.0.0.1", "93.184.215.14"], "private-address"),
    ],
)
def test_000_22_one_bad_address_condemns_them_all(addresses: list[str], reason: str | None) -> None:
    found = checks.addresses_allowed(policy_of(), API, 443, [IPv4Address(text) for text in addresses])
    assert (found and found.reason) == reason


def test_004_35_the_link_is_netds_to_say() -> None:
    assert checks.container(ATTESTED, ENDPOINT) is None
    for endpoint in (None, replace(ENDPOINT, tenant="globex")):
        found = checks.container(ATTESTED, endpoint)
        assert found is not None
        assert found.reason == "endpoint-unknown"


GROUP = CompiledGroup("write", Slot(style="bearer"), "write", (), BodySchema(SCHEMA))


@pytest.mark.parametrize(
    ("body", "fits"),
    [
        (b'{"title":"a"}', True),
        (b"", False),
        (None, True),
        (b'{"title":"a","title":"b"}', False),
        (b'{"title":"a","more":1}', False),
        (b'{"title":NaN}', False),
        (b"{", False),
        (b"\xff", False),
        (b"title=a", False),
        (b"[" * 100_000, False),
    ],
)
def test_a_body_is_as_the_schema_says(body: bytes | None, fits: bool) -> None:  # noqa: FBT001 - a table
    found = checks.body_fits(GROUP, "POST", body)
    assert (found is None) is fits


def test_a_body_is_nested_only_so_deep() -> None:
    group = CompiledGroup("write", Slot(style="bearer"), "write", (), BodySchema({"type": "object"}))
    deep: object = {}
    for _ in range(checks.MAX_NESTING - 1):
        deep = {"a": deep}
    assert checks.body_fits(group, "POST", json.dumps(deep).encode()) is None
    found = checks.body_fits(group, "POST", json.dumps({"a": deep}).encode())
    assert found is not None


def test_without_a_schema_any_body_of_the_allowed_type_fits() -> None:
    assert checks.body_fits(CompiledGroup("w", Slot(style="bearer"), "write"), "POST", b"\xff") is None


def test_a_body_of_very_many_parts_is_not_read() -> None:
    """32 MiB of small objects took 2.4 s and 900 MiB; all other tenants' calls waited for it."""
    group = CompiledGroup("write", Slot(style="bearer"), "write", (), BodySchema({}))
    many = b"[" + b",".join([b"0"] * (checks.MAX_PARTS + 1)) + b"]"
    assert checks.body_fits(group, "POST", many) is not None
    assert checks.body_fits(group, "POST", b'["' + b"x" * (1 << 20) + b'"]') is None


def test_who_only_reads_brings_no_body() -> None:
    assert checks.body_fits(GROUP, "GET", b"") is None
    assert checks.body_fits(GROUP, "GET", b"{}") is not None


def test_a_record_names_the_container_that_netd_knows_on_the_tenants_own_link() -> None:
    lied = replace(ATTESTED, container="another", run="another")
    told = checks.as_netd_says(lied, ENDPOINT)
    assert (told.container, told.run) == (ENDPOINT.container, ENDPOINT.run)
    for endpoint in (None, replace(ENDPOINT, tenant="globex", container="of-globex")):
        assert checks.as_netd_says(lied, endpoint) == lied
