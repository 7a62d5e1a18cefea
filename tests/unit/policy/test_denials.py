"""Denials tell what was wrong and what can be done, whatever stood in the request."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from appliance.addresses import classify
from appliance.names import HostName
from appliance.policy.caps import Caps
from appliance.policy.denials import (
    host_is_address,
    host_is_resolver,
    host_not_listed,
    name_not_public,
    no_policy,
    private_address,
    unfit,
    unmet_by,
    wrong_service,
)
from appliance.policy.rules import ORDER
from appliance.policy.verdict import RequestFacts

HOST = HostName("a.example.com")


@given(st.text(), st.text(), st.text() | st.none(), st.integers(0))
def test_hostile_text_comes_out_printable_and_bounded(
    method: str, path: str, kind: str | None, size: int
) -> None:
    facts = RequestFacts(method, "https", HOST, 443, path, content_type=kind, content_length=size)
    verdicts = [unmet_by(reason, facts, "rule", "acme") for reason in ORDER]
    if (refused := unfit(facts, Caps(), "acme")) is not None:
        verdicts.append(refused)
    for verdict in verdicts:
        assert not verdict.allowed
        assert len(verdict.detail) < 2600
        assert verdict.mend
        if verdict.reason != "method-not-allowed":
            assert verdict.detail.isprintable()


def test_every_denial_says_what_can_be_done() -> None:
    for verdict in (
        no_policy("acme"),
        host_is_address(ip_address("1.1.1.1")),
        host_is_resolver(HOST, "rule"),
        host_not_listed(HOST, "rule", "acme"),
        name_not_public(HOST),
        private_address(HOST, classify(ip_address("::ffff:10.0.0.1"))),
        wrong_service("https", HOST, 22, "rule"),
        wrong_service(None, HOST, 22, "rule"),
    ):
        assert not verdict.allowed
        assert verdict.detail.endswith(".")
        assert verdict.mend.endswith(".")


def test_a_private_address_is_named_with_its_source() -> None:
    verdict = private_address(HOST, classify(ip_address("::ffff:10.0.0.1")))
    assert "private and hides 10.0.0.1" in verdict.detail
    assert "RFC 1918" in verdict.detail
    assert verdict.rule == "address table 10.0.0.0/8"
