"""From the bytes of a question to the bytes of an answer, and what is recorded."""

from dataclasses import replace
from ipaddress import IPv4Address

import dns.message
import dns.name
import dns.rcode
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import globalLogPublisher

from appliance.audit.log import AuditUnavailable
from appliance.audit.record import Outcome
from appliance.policy.limits import DEFAULT_LIMITS
from appliance.resolver.answering import Answering
from appliance.resolver.outcome import Absent, Found, Unusable
from appliance.resolver.rate import Admission
from appliance.telling import COLLECT_SECONDS, MANY, Bounds

from .fakes import PRIVATE, PUBLIC, FakePolicy, addresses_of, finished, question

TOLD = Bounds().per_second


@pytest.fixture
def ask(answering, asker):
    def ask(text, kind="A", **options):
        wire = finished(answering.answer(question(text, kind, **options), asker))
        return None if wire is None else dns.message.from_wire(wire)

    return ask


def addresses(answer):
    return tuple(address for rrset in answer.answer for address in addresses_of(rrset))


def ede(answer):
    return [(int(option.code), option.text) for option in answer.options]


def test_an_allowed_name_is_answered_and_recorded_once(ask, audit):
    assert addresses(ask("ok.example")) == (PUBLIC,)
    assert addresses(ask("ok.example")) == (PUBLIC,)
    (record,) = audit.records
    assert (record.outcome, record.name, record.type) == (Outcome.ALLOWED, "ok.example", "A")
    assert (record.source, record.destination) == ("127.0.0.1:4000", "172.18.0.1")
    assert audit.open == 0


def test_b3_a_denied_name_is_refused_recorded_and_never_asked_upstream(ask, audit, upstream):
    answer = ask("c2VjcmV0.denied.example")
    assert answer.rcode() == dns.rcode.REFUSED
    ((code, text),) = ede(answer)
    assert code == 17
    assert text.startswith("host-not-listed")
    assert upstream.asked == []
    (record,) = audit.records
    assert (record.outcome, record.reason) == (Outcome.DENIED, "host-not-listed")
    assert (record.rule, record.rcode) == ("profile allowlist", "REFUSED")


@pytest.mark.parametrize("kind", ["AAAA", "HTTPS", "SVCB"])
def test_b6_no_ipv6_and_no_service_binding_is_answered_nor_asked(ask, upstream, kind):
    answer = ask("ok.example", kind)
    assert answer.rcode() == dns.rcode.NOERROR
    assert answer.answer == []
    assert upstream.asked == []
    assert ask("denied.example", kind).rcode() == dns.rcode.REFUSED


@pytest.mark.parametrize(
    "kind", ["TXT", "MX", "NS", "PTR", "SRV", "CNAME", "ANY", "AXFR", "NULL", "TYPE65399"]
)
def test_other_types_are_refused_and_never_asked(ask, audit, upstream, kind):
    answer = ask("ok.example", kind)
    assert answer.rcode() == dns.rcode.REFUSED
    assert upstream.asked == []
    assert audit.records[0].reason == "type-not-answered"


def test_b16_reverse_lookups_are_refused(ask, upstream):
    assert ask("5.1.0.10.in-addr.arpa", "PTR").rcode() == dns.rcode.REFUSED
    assert upstream.asked == []


def test_b7_a_private_address_spoils_the_answer(ask, audit, upstream):
    upstream.answers["ok.example"] = Found((PUBLIC, PRIVATE), (), 60)
    answer = ask("ok.example")
    assert answer.rcode() == dns.rcode.SERVFAIL
    assert answer.answer == []
    ((code, text),) = ede(answer)
    assert code == 15
    assert text.startswith("private-address")
    assert audit.records[0].reason == "private-address"


@pytest.mark.parametrize("asked", ["127.1", "2130706433", "0x7f.1", "1.2.3.4", "a_b.example", "."])
def test_c1_what_is_no_host_name_is_refused(ask, upstream, asked):
    assert ask(asked).rcode() == dns.rcode.REFUSED
    assert upstream.asked == []


@pytest.mark.parametrize("label", [b"ok.example", b"ok\0", b"ok\r\n", b"ok example", b"\xff", b"%00"])
def test_c2_c3_labels_with_other_octets_are_refused_and_recorded_printably(
    answering, asker, audit, upstream, label
):
    odd = dns.name.Name((label, b"example", b""))
    wire = dns.message.make_query(odd, "A").to_wire()
    answer = dns.message.from_wire(finished(answering.answer(wire, asker)))
    assert answer.rcode() == dns.rcode.REFUSED
    assert upstream.asked == []
    assert audit.records[0].name.isascii()
    assert audit.records[0].name.isprintable()


def test_the_gateways_name_is_the_asked_address_and_never_asked_upstream(ask, upstream, audit):
    assert addresses(ask("gateway.egress.internal")) == (IPv4Address("172.18.0.1"),)
    assert ask("Gateway.Egress.Internal", "AAAA").answer == []
    assert upstream.asked == audit.records == []


def test_an_absent_name_and_a_failed_upstream_are_told_apart(ask, upstream, audit):
    upstream.answers["ok.example"] = Unusable("upstream-timeout", "No name server answered.")
    answer = ask("ok.example")
    assert answer.rcode() == dns.rcode.SERVFAIL
    assert ede(answer)[0][0] == 22
    assert audit.records[0].outcome is Outcome.FAILED


def test_a_malformed_question_is_recorded(answering, asker, audit):
    wire = finished(answering.answer(question("ok.example") + b"x", asker))
    assert dns.message.from_wire(wire).rcode() == dns.rcode.FORMERR
    (record,) = audit.records
    assert (record.reason, record.rcode, record.name) == ("question-malformed", "FORMERR", "")


def test_f4_over_the_rate_a_question_is_refused_at_once_and_a_flood_gets_silence_and_one_record(
    ask, audit, upstream, clock, telling
):
    upstream.answers["ok.example"] = Found((PUBLIC,), (), 300)
    answers = [ask("ok.example") for _ in range(120)]
    rcodes = [None if answer is None else answer.rcode() for answer in answers]
    # No more is told than may be asked, so that a flood is not answered by another.
    assert rcodes == [dns.rcode.NOERROR] * 50 + [dns.rcode.REFUSED] * 50 + [None] * 20
    assert [record.reason for record in audit.records] == ["resolved", "queries-per-second-exceeded"]
    assert upstream.asked == ["ok.example"]
    clock.advance(1)
    assert ask("ok.example").rcode() == dns.rcode.NOERROR
    telling.close()
    assert [record.count for record in audit.records] == [1, 1, 69]
    assert audit.open == 0


def test_f7_without_an_audit_log_nothing_is_decided(ask, audit, upstream):
    audit.ready = False
    answer = ask("ok.example")
    assert answer.rcode() == dns.rcode.SERVFAIL
    assert ede(answer)[0][1].startswith("audit-unavailable")
    assert upstream.asked == []


def test_f7_a_record_that_cannot_be_written_spoils_the_answer(ask, audit, monkeypatch):
    def fails(record):
        raise AuditUnavailable("the device failed")

    claim = audit.claim()
    monkeypatch.setattr(type(claim), "write", lambda self, record: fails(record))
    assert ask("ok.example").rcode() == dns.rcode.SERVFAIL


def test_our_own_fault_gives_no_address(ask, audit, lookup, monkeypatch):
    async def fails(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(lookup, "resolve", fails)
    events = []
    globalLogPublisher.addObserver(events.append)
    try:
        answer = ask("ok.example")
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert answer.rcode() == dns.rcode.SERVFAIL
    assert any("log_failure" in event for event in events)
    assert audit.open == 0


def test_an_asker_who_goes_away_leaves_no_claim(answering, asker, audit, upstream):
    upstream.hold()
    deferred = Deferred.fromCoroutine(answering.answer(question("ok.example"), asker))
    assert audit.open == 1
    seen = []
    deferred.addErrback(seen.append)
    deferred.cancel()
    assert seen[0].check(CancelledError)
    assert audit.open == 0


def test_an_answer_over_tcp_is_not_cut(answering, asker, upstream):
    upstream.answers["ok.example"] = Found(tuple(PUBLIC + step for step in range(64)), (), 60)
    plain = question("ok.example", use_edns=False)
    over_udp = dns.message.from_wire(finished(answering.answer(plain, asker)))
    assert over_udp.answer == []
    by_tcp = type(asker)(asker.endpoint, asker.source, asker.destination, "tcp")
    assert len(addresses(dns.message.from_wire(finished(answering.answer(plain, by_tcp))))) == 64


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.binary(max_size=80).map(lambda tail: question("ok.example")[:12] + tail))
def test_no_bytes_make_it_raise(answering, asker, clock, wire):
    clock.advance(1)
    finished(answering.answer(wire, asker))


def test_f4_what_is_over_the_rate_is_refused_without_being_read(answering, asker, audit, monkeypatch):
    read = []
    monkeypatch.setattr("appliance.resolver.answering.read_question", read.append)
    answering.rate.admit = lambda *_: Admission.LIMITED
    wire = question("ok.example")
    told = dns.message.from_wire(finished(answering.answer(wire, asker)))
    assert told.rcode() == dns.rcode.REFUSED
    assert dns.message.from_wire(wire).is_response(told)
    for _ in range(60):
        last = finished(answering.answer(wire, asker))
    assert last is None
    assert (answering.counts["limited"], answering.counts["limited_silently"]) == (61, 11)
    assert read == audit.records == []
    assert audit.open == 1


def test_f7_without_an_audit_log_what_is_over_the_rate_is_refused_all_the_same(answering, asker, audit):
    answering.rate.admit = lambda *_: Admission.LIMITED
    audit.ready = False
    told = dns.message.from_wire(finished(answering.answer(question("ok.example"), asker)))
    assert told.rcode() == dns.rcode.REFUSED


def test_b3_a_question_whose_asker_closed_is_on_record(answering, asker, audit, upstream):
    """A TCP question goes upstream and its connection is closed: the name has left, so it is recorded."""
    upstream.hold()
    waiting = Deferred.fromCoroutine(answering.answer(question("ok.example"), asker))
    assert upstream.asked == ["ok.example"]
    waiting.addErrback(lambda failure: failure.trap(CancelledError))
    waiting.cancel()
    (record,) = audit.records
    assert (record.name, record.reason) == ("ok.example", "client-closed")
    assert audit.open == 0


def test_f4_the_tenants_own_rate_comes_from_its_policy(ask, audit, upstream, monkeypatch):
    monkeypatch.setattr(FakePolicy, "limits", replace(DEFAULT_LIMITS, queries_per_second=3))
    upstream.answers["ok.example"] = Found((PUBLIC,), (), 300)
    answers = [ask("ok.example") for _ in range(6)]
    assert [answer.rcode() for answer in answers] == [dns.rcode.NOERROR] * 3 + [dns.rcode.REFUSED] * 3
    assert (audit.records[-1].reason, audit.records[-1].rule) == (
        "queries-per-second-exceeded", "limits.queries_per_second",
    )  # fmt: skip


@pytest.fixture
def flood(lookup, policies, audit, clock, *, telling, asker, monkeypatch):
    """Asks so often in one second, within every rate."""
    monkeypatch.setattr(FakePolicy, "limits", replace(DEFAULT_LIMITS, queries_per_second=5000))
    answering = Answering(lookup, policies, audit, clock, per_second=5000, telling=telling)

    def flood(times, wire):
        for number in range(times):
            finished(answering.answer(wire(number), asker))
            clock.advance(0)  # few go on in one turn

    return flood


DENIED = {
    "host-not-listed": lambda number: question(f"n{number}.denied.example"),
    "type-not-answered": lambda number: question(f"n{number}.example", "TXT"),
    "empty-label": lambda _: question("."),
    "question-malformed": lambda _: question("ok.example") + b"x",
}


@pytest.mark.parametrize("reason", DENIED)
def test_f7_of_a_thousand_refused_questions_in_a_second_few_are_recorded_and_all_counted(
    flood, audit, upstream, deadlines, *, clock, reason
):
    deadlines.start()
    flood(1000, DENIED[reason])
    assert [record.count for record in audit.records] == [1] * TOLD
    assert len({record.reason for record in audit.records}) == 1
    clock.pump([1.0] * int(COLLECT_SECONDS + 1))
    *told, summary = audit.records
    assert len(told) == TOLD
    assert (summary.reason, summary.outcome, summary.count) == (MANY, Outcome.DENIED, 1000 - TOLD)
    assert (summary.tenant, summary.endpoint, summary.container) == ("acme", "e1", "c1")
    assert told[0].reason in summary.detail
    assert upstream.asked == []
    assert audit.open == 0
    deadlines.stop()


def test_f7_failures_that_asked_nobody_share_a_record_and_those_that_did_have_their_own(
    flood, audit, upstream, telling
):
    upstream.answers["gone.example"] = Absent((), 60, exists=False)
    flood(500, lambda _: question("gone.example"))
    assert upstream.asked == ["gone.example"]
    telling.close()
    assert audit.records[-1].detail.endswith(f"name-does-not-exist {499 - TOLD}.")
    assert sum(record.count for record in audit.records) == 500
    assert len(audit.records) == 1 + TOLD + 1


@pytest.mark.parametrize(
    "result", [Found((PUBLIC,), (), 60), Found((PRIVATE,), (), 60), Absent((), 60, exists=False)]
)
def test_b3_what_went_upstream_has_a_record_of_its_own_in_the_densest_flood(flood, audit, upstream, result):
    flood(200, lambda number: question(f"n{number}.denied.example"))
    before = len(audit.records)
    names = [f"n{number}.example" for number in range(300)]
    upstream.answers |= dict.fromkeys(names, result)
    flood(300, lambda number: question(names[number]))
    assert [record.name for record in audit.records[before:]] == names == upstream.asked
    assert {record.count for record in audit.records} == {1}


def test_f7_askers_who_go_away_share_a_record_but_for_the_one_whose_question_went_upstream(
    answering, asker, audit, upstream, telling
):
    upstream.hold()
    waiting = [Deferred.fromCoroutine(answering.answer(question("ok.example"), asker)) for _ in range(45)]
    for one in waiting:
        one.addErrback(lambda failure: failure.trap(CancelledError))
        one.cancel()
    assert upstream.asked == ["ok.example"]
    assert [record.reason for record in audit.records] == ["client-closed"] * (1 + TOLD)
    telling.close()
    assert sum(record.count for record in audit.records) == 45
    assert audit.open == 0
