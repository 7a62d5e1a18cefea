"""What the gateway asks over the control socket, and who may."""

from ipaddress import IPv4Address

import pytest

from appliance.audit.record import Outcome
from appliance.control import ControlError
from appliance.policy.tenant import Profile, TenantPolicy
from appliance.resolver.operations import Operations
from appliance.resolver.outcome import Found

from .fakes import PRIVATE, PUBLIC, PUBLIC_TOO, finished

GATEWAY = 64101


@pytest.fixture
def operations(lookup, audit, clock):
    return Operations(lookup, audit, clock, lambda: {"ready": True})


def resolve(operations, **message):
    return finished(operations.resolve({"op": "resolve", "tenant": "acme", **message}, None))


def pinned(operations, **message):
    return finished(operations.pinned({"op": "pinned", "tenant": "acme", **message}, None))


def test_only_the_gateway_and_root_may_ask(operations):
    table = operations.table(GATEWAY)
    assert {name: operation.uids for name, operation in table.items()} == {
        "resolve": {GATEWAY},
        "pinned": {GATEWAY},
        "status": {GATEWAY},
    }
    assert operations.status({}, None) == {"ready": True}


def test_a_name_is_resolved_and_its_upstream_question_recorded_once(operations, audit):
    assert resolve(operations, name="Ok.Example.") == {"addresses": [str(PUBLIC)], "ttl": 60}
    assert resolve(operations, name="ok.example")["addresses"] == [str(PUBLIC)]
    (record,) = audit.records
    assert (record.source, record.transport, record.name) == ("gateway", "control", "ok.example")
    assert record.outcome is Outcome.ALLOWED
    assert audit.open == 0


def test_b3_a_denied_name_is_told_with_its_rule_and_recorded(operations, audit, upstream):
    answer = resolve(operations, name="x.denied.example")
    assert answer["ok"] is False
    assert (answer["reason"], answer["outcome"]) == ("host-not-listed", "denied")
    assert answer["rule"] == "profile allowlist"
    assert upstream.asked == []
    assert audit.records[0].reason == "host-not-listed"


def test_for_which_account_the_broker_asks_is_handed_on(operations, upstream, policies):
    policies.set(TenantPolicy("acme", profile=Profile.READ_ONLY_WEB))
    answer = resolve(operations, name="ok.example", account="crm")
    assert answer["reason"] == "token-host-not-named"
    assert upstream.asked == []
    with pytest.raises(ControlError):
        resolve(operations, name="ok.example", account=7)


def test_b7_a_private_address_is_told(operations, upstream):
    upstream.answers["ok.example"] = Found((PRIVATE,), (), 60)
    assert resolve(operations, name="ok.example")["reason"] == "private-address"
    answer = pinned(operations, name="ok.example", address=str(PRIVATE))
    assert (answer["ok"], answer["reason"]) == (False, "private-address")


def test_b12_only_an_address_of_the_judged_set_is_pinned(operations):
    assert pinned(operations, name="ok.example", address=str(PUBLIC)) == {"pinned": True}
    assert pinned(operations, name="ok.example", address=str(PUBLIC_TOO)) == {"pinned": False}


@pytest.mark.parametrize("text", ["127.1", "a_b.example", "", "ok\0.example", "x" * 300])
def test_c1_what_is_no_host_name_is_denied(operations, upstream, text):
    assert resolve(operations, name=text)["outcome"] == "denied"
    assert pinned(operations, name=text, address=str(PUBLIC))["outcome"] == "denied"
    assert upstream.asked == []


@pytest.mark.parametrize(
    "message",
    [{"tenant": ""}, {"tenant": 3}, {"name": None}, {"address": "1.2.3"}, {"address": 16909060}],
)
def test_a_message_of_another_shape_is_an_error(operations, message):
    with pytest.raises(ControlError):
        pinned(operations, **({"name": "ok.example", "address": str(PUBLIC)} | message))


def test_f7_without_an_audit_log_nothing_is_resolved(operations, audit, upstream):
    audit.ready = False
    assert resolve(operations, name="ok.example")["reason"] == "audit-unavailable"
    answer = pinned(operations, name="ok.example", address=str(IPv4Address(PUBLIC)))
    assert answer["reason"] == "audit-unavailable"
    assert upstream.asked == []


def test_b3_a_name_learnt_for_a_pin_is_on_record(operations, audit, upstream):
    """A ClientHello's name is asked upstream when its destination is checked: exfiltration needs no request."""
    assert pinned(operations, name="ok.example", address=str(PUBLIC_TOO)) == {"pinned": False}
    assert upstream.asked == ["ok.example"]
    (record,) = audit.records
    assert (record.name, record.transport, record.outcome) == ("ok.example", "control", Outcome.ALLOWED)
