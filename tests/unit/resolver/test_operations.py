"""What the gateway asks over the control socket, and who may."""

from dataclasses import replace
from ipaddress import IPv4Address

import dns.rcode
import pytest
from twisted.internet.defer import Deferred

from appliance.audit.record import Outcome
from appliance.control import ControlError
from appliance.endpoints import EndpointTable
from appliance.policy.limits import DEFAULT_LIMITS
from appliance.policy.tenant import Profile, TenantPolicy
from appliance.resolver.operations import Operations
from appliance.resolver.outcome import Absent, Found
from appliance.telling import Bounds

from .fakes import PRIVATE, PUBLIC, PUBLIC_TOO, FakePolicy, finished, question

GATEWAY = 64101
PER_SECOND = 50


@pytest.fixture
def endpoints(endpoint):
    table = EndpointTable()
    table.update([endpoint, replace(endpoint, id="e2", address=IPv4Address("127.0.0.3"), ifindex=2)], [])
    return table


@pytest.fixture
def operations(lookup, audit, clock, *, telling, endpoints, answering):
    return Operations(
        lookup,
        audit,
        clock,
        lambda: {"ready": True},
        telling=telling,
        endpoints=endpoints,
        admit=answering.admit,
    )


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
    [
        {"tenant": ""},
        {"tenant": 3},
        {"tenant": "Acme"},
        {"tenant": "a" * 33},
        {"name": None},
        {"address": "1.2.3"},
        {"address": 16909060},
        {"endpoint": 1},
    ],
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


ASKS = {
    "pinned": lambda operations, name, **more: pinned(operations, name=name, address=str(PUBLIC), **more),
    "resolve": lambda operations, name, **more: resolve(operations, name=name, **more),
}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_b3_what_is_asked_upstream_for_a_container_counts_as_its_question(
    operations, answering, asker, *, upstream, audit, clock, ask
):
    """One rate for both: what a container asks itself, and what its ClientHellos have a worker ask."""
    for number in range(20):
        finished(answering.answer(question(f"own{number}.example"), asker))
        clock.advance(0)  # few go on in one turn
    answers = []
    for number in range(100):
        answers.append(ask(operations, f"n{number}.example", endpoint="e1"))
        clock.advance(0)
    assert len(upstream.asked) == PER_SECOND
    *_, refused = answers
    assert refused["ok"] is False
    assert (refused["reason"], refused["outcome"]) == ("queries-per-second-exceeded", "denied")
    assert [answer.get("ok", True) for answer in answers] == [True] * 30 + [False] * 70
    over = [record for record in audit.records if record.reason == "queries-per-second-exceeded"]
    assert over
    assert over[0].transport == "control"
    assert ask(operations, "other.example", endpoint="e2").get("ok", True)
    assert finished(answering.answer(question("own.example"), asker))[3] & 0xF == dns.rcode.REFUSED


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_b3_the_record_of_what_was_asked_for_a_container_names_it(operations, audit, ask):
    ask(operations, "ok.example", endpoint="e1")
    ask(operations, "x.denied.example", endpoint="e1")
    for record in audit.records:
        assert (record.tenant, record.endpoint, record.container, record.run) == ("acme", "e1", "c1", "r1")
        assert (record.source, record.transport) == ("gateway", "control")
    assert [record.outcome for record in audit.records] == [Outcome.ALLOWED, Outcome.DENIED]


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_what_is_kept_counts_for_nobody(operations, answering, upstream, clock, ask):
    for _ in range(10 * PER_SECOND):
        assert ask(operations, "ok.example", endpoint="e1").get("ok", True)
    assert upstream.asked == ["ok.example"]
    assert answering.rate.used(clock.seconds()) == {"acme": (1, DEFAULT_LIMITS.queries_per_second)}


def test_who_waits_for_what_another_asked_is_not_charged(operations, answering, upstream, clock):
    upstream.hold()
    message = {"op": "resolve", "tenant": "acme", "name": "ok.example"}
    first, second = ([], [])
    for endpoint, results in (("e1", first), ("e2", second)):
        waiting = Deferred.fromCoroutine(operations.resolve({**message, "endpoint": endpoint}, None))
        waiting.addBoth(results.append)
    upstream.release(Found((PUBLIC,), (), 60))
    clock.advance(0)
    assert first == second == [{"addresses": [str(PUBLIC)], "ttl": 60}]
    assert answering.rate.used(clock.seconds())["acme"][0] == 1


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_b3_the_tenants_own_rate_bounds_them_as_well(operations, upstream, audit, monkeypatch, ask):
    monkeypatch.setattr(FakePolicy, "limits", replace(DEFAULT_LIMITS, queries_per_second=3))
    answers = [ask(operations, f"n{n}.example", endpoint=f"e{1 + n % 2}") for n in range(6)]
    assert len(upstream.asked) == 3
    assert [answer.get("rule") for answer in answers] == [None] * 3 + ["limits.queries_per_second"] * 3
    assert audit.records[-1].rule == "limits.queries_per_second"


@pytest.mark.parametrize("identity", ["e3", ""])
def test_nothing_is_asked_for_a_container_that_is_not_known(operations, upstream, audit, identity):
    answer = resolve(operations, name="ok.example", endpoint=identity)
    assert (answer["reason"], answer["outcome"]) == ("endpoint-unknown", "failed")
    assert upstream.asked == []
    assert audit.records[0].endpoint is None


def test_a_container_of_another_tenant_is_not_charged_nor_named(
    operations, answering, upstream, audit, clock
):
    answer = resolve(operations, tenant="other", name="ok.example", endpoint="e1")
    assert answer["reason"] == "endpoint-unknown"
    assert upstream.asked == []
    assert answering.rate.used(clock.seconds()) == {}
    assert (audit.records[0].tenant, audit.records[0].endpoint) == ("other", None)


def test_what_the_broker_asks_is_nobodys_question(operations, answering, clock):
    resolve(operations, name="ok.example")
    assert answering.rate.used(clock.seconds()) == {}


def test_f7_a_flood_that_a_container_has_a_worker_ask_shares_its_records(
    operations, upstream, audit, telling
):
    upstream.answers["gone.example"] = Absent((), 60, exists=False)
    for _ in range(300):
        resolve(operations, name="gone.example", endpoint="e1")
        resolve(operations, name="x.denied.example")
    telling.close()
    assert upstream.asked == ["gone.example"]
    assert len(audit.records) == 1 + 2 * (Bounds().per_second + 1)
    assert sum(record.count for record in audit.records) == 600
    assert {record.endpoint for record in audit.records if record.reason == "refused-in-a-flood"} == {
        "e1",
        None,
    }
    assert audit.open == 0
