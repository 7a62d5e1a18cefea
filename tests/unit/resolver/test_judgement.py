"""What may be asked and what may be answered; tests assert the reason."""

from ipaddress import IPv4Address

import dns.edns
import dns.rcode
import pytest

from appliance.audit.record import Outcome
from appliance.names import HostName, InvalidName
from appliance.resolver.judgement import (
    declined_absent,
    declined_invalid,
    declined_type,
    declined_unusable,
    judge_addresses,
    judge_links,
    judge_name,
)
from appliance.resolver.outcome import Absent, Unusable

from .fakes import METADATA, PRIVATE, PUBLIC, PUBLIC_TOO, FakePolicy, name

OK = name("ok.example")
POLICY = FakePolicy(denied=("denied.example",), operator=("blocked.example",))


def test_a_listed_name_may_be_asked():
    assert judge_name(POLICY, name("ok.example")) is None


def test_b3_a_denied_name_is_refused_with_reason_and_rule():
    declined = judge_name(POLICY, name("secret.denied.example"))
    assert (declined.outcome, declined.reason) == (Outcome.DENIED, "host-not-listed")
    assert declined.rule == "profile allowlist"
    assert declined.rcode == dns.rcode.REFUSED
    assert declined.error == dns.edns.EDECode.FILTERED


def test_the_operators_denial_is_told_apart():
    declined = judge_name(POLICY, name("blocked.example"))
    assert declined.reason == "host-denied-by-operator"
    assert declined.error == dns.edns.EDECode.BLOCKED


def test_b7_an_alias_is_held_to_the_operators_denials_but_not_to_the_tenants_list():
    assert judge_links(POLICY, OK, (name("cdn.denied.example"),)) is None
    declined = judge_links(POLICY, OK, (name("cdn.example"), name("x.blocked.example")))
    assert declined.reason == "host-denied-by-operator"


def test_b7_a_public_name_may_not_be_an_alias_of_an_internal_one():
    internal = name("db.internal")
    assert judge_links(POLICY, OK, (internal,)).reason == "name-not-public"
    assert judge_links(POLICY, name("www.corp.internal"), (internal,)) is None


@pytest.mark.parametrize(
    "bad",
    [PRIVATE, METADATA, "127.0.0.1", "0.0.0.0", "100.64.0.1", "224.0.0.1", "168.63.129.16", "192.168.0.1"],
)
def test_b7_one_address_that_is_not_public_spoils_the_set(bad):
    addresses = (PUBLIC, IPv4Address(bad), PUBLIC_TOO)
    declined = judge_addresses(POLICY, OK, addresses, frozenset())
    assert (declined.outcome, declined.reason) == (Outcome.DENIED, "private-address")
    assert str(bad) in declined.detail
    assert declined.rcode == dns.rcode.SERVFAIL
    assert judge_addresses(POLICY, OK, (PUBLIC, PUBLIC_TOO), frozenset()) is None


def test_a16_the_gateways_own_address_is_never_given_even_when_public():
    declined = judge_addresses(POLICY, OK, (PUBLIC,), frozenset({PUBLIC}))
    assert declined.reason == "private-address"


def test_an_operators_exception_admits_its_network_and_no_other():
    excepted = FakePolicy(excepted=["10.0.1.0/24"])
    assert judge_addresses(excepted, OK, (PRIVATE, PUBLIC), frozenset()) is None
    outside = (PRIVATE, IPv4Address("10.0.2.5"))
    assert judge_addresses(excepted, OK, outside, frozenset()).reason == "private-address"


def test_the_other_reasons_are_told_in_dns_terms():
    with pytest.raises(InvalidName) as caught:
        HostName.parse("a_b.example")
    assert declined_invalid(caught.value).reason == "bad-character"
    assert declined_invalid(caught.value).rcode == dns.rcode.REFUSED
    assert declined_type("TXT").reason == "type-not-answered"
    assert declined_absent(Absent((), 5, exists=True)).rcode == dns.rcode.NOERROR
    assert declined_absent(Absent((), 5, exists=False)).rcode == dns.rcode.NXDOMAIN
    unusable = declined_unusable(Unusable("upstream-timeout", "…"))
    assert (unusable.outcome, unusable.reason) == (Outcome.FAILED, "upstream-timeout")
    assert unusable.rcode == dns.rcode.SERVFAIL
