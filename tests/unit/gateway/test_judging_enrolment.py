"""A workload asks for its certificate: over its own link, for the gateway itself, and nobody's policy is asked."""

from __future__ import annotations

import pytest

from appliance.gateway import handing_over
from appliance.gateway.exchange import Exchange
from appliance.gateway.judging import asks_for_certificate, judge
from appliance.handover import parse_attestation
from appliance.http1.writer import serialise_request
from appliance.policy.tenant import TenantPolicy

from .support import ENDPOINT, caller, plain, request, secured, worker

PATH = "/.well-known/egress/certificate"
HOST = "gateway.egress.internal"


def asking(*lines: str) -> Exchange:
    return Exchange("id-1", request(PATH, HOST, "POST", "Content-Length: 3", *lines), 0.0)


@pytest.mark.parametrize(
    ("method", "path", "asks"),
    [
        ("POST", PATH, True), ("GET", PATH, False), ("POST", PATH + "?a=1", False),
        ("POST", PATH + "/x", False), ("POST", "/.well-known/egress/ca.pem", False),
    ],
)  # fmt: skip
def test_what_asks_for_it(method: str, path: str, *, asks: bool) -> None:
    assert asks_for_certificate(request(path, HOST, method)) is asks


def test_000_33_the_broker_hears_of_the_link_and_of_no_account() -> None:
    made, exchange = worker(policy=TenantPolicy("acme")), asking()
    exchange.policy = made.policy("acme")
    assert judge(made, plain(), exchange) is None
    said = parse_attestation(handing_over.attestation(caller(), exchange, 0)[:-1])
    assert (said.account, said.tenant, said.endpoint, said.container) == ("", "acme", ENDPOINT.id, "c1")
    assert exchange.account is not None
    wire = serialise_request(exchange.head, exchange.origin.host_field)
    assert wire.startswith(f"POST {PATH} HTTP/1.1\r\nHost: broker.egress.internal\r\n".encode())
    verdict, newer = exchange.verdict, TenantPolicy("acme")
    assert exchange.adopt(newer)
    assert exchange.policy is newer
    assert exchange.verdict is verdict


def test_it_counts_and_is_recorded_like_any_request() -> None:
    made, exchange = worker(), asking()
    exchange.policy = made.policy("acme")
    made.audit.ready = False
    refusal = judge(made, plain(), exchange)
    assert refusal is not None
    assert refusal.reason == "audit-unavailable"
    made.audit.ready = True
    assert judge(made, plain(), exchange) is None
    record = exchange.record(plain(), 1.0, None)
    assert (record.outcome.value, record.reason) == ("allowed", "allowed-by-appliance")
    exchange.claim.release()
    exchange.flow.close()


def test_what_another_host_is_asked_is_policys_to_judge() -> None:
    made = worker(policy=TenantPolicy("acme"))
    for channel, host in ((plain(), "site.net"), (secured(), "site.net")):
        exchange = Exchange("id-1", request(PATH, host, "POST", "Content-Length: 3"), 0.0)
        refusal = judge(made, channel, exchange)
        assert refusal is not None
        assert exchange.account is None
