"""Requests of integration accounts, on their way to the broker."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.trial.unittest import TestCase

from appliance.gateway import handing_over, refusals
from appliance.gateway.exchange import Exchange
from appliance.gateway.limits import DEFAULT_LIMITS
from appliance.gateway.origin import Origin
from appliance.gateway.routes import NoRoute
from appliance.handover import parse_attestation
from appliance.policy.verdict import Outcome, Reason, Verdict

from .support import ENDPOINT, SITE, caller, request, web_policy

CARRIED = Verdict(
    Outcome.ALLOW, Reason.ALLOWED_BY_INTEGRATION, "accounts.yaml:1", "", account="openai-acme", group="chat"
)


def carried(*lines: str) -> Exchange:
    exchange = Exchange("id-1", request("/v1/chat", "site.net", "GET", *lines), 0.0)
    exchange.origin = Origin("https", SITE, 443)
    exchange.policy = web_policy()
    exchange.verdict = CARRIED
    return exchange


def test_our_word_says_whose_request_it_is() -> None:
    line = handing_over.attestation(caller(port=443), carried(), 1)
    said = parse_attestation(line[:-1])
    assert (said.tenant, said.endpoint, said.container) == ("acme", ENDPOINT.id, "c1")
    assert (said.account, said.worker, said.port, said.request_id) == ("openai-acme", 1, 443, "id-1")
    assert said.withheld == ""


def test_004_16_names_of_fields_that_do_not_travel_are_told() -> None:
    exchange = carried("Proxy-Authorization: Basic eA==", "X-Forwarded-For: 1.1.1.1", "Accept: */*")
    said = parse_attestation(handing_over.attestation(caller(port=443), exchange, 0)[:-1])
    assert said.withheld == "proxy-authorization x-forwarded-for"


def test_more_names_than_the_broker_reads_are_an_error_and_no_silence() -> None:
    lines = [f"Proxy-{'x' * 60}{number}: 1" for number in range(90)]
    with pytest.raises(ValueError, match="too long"):
        handing_over.attestation(caller(port=443), carried(*lines), 0)


class Connecting(TestCase):
    def setUp(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.path = str(Path(self.directory.name) / "calls.sock")

    async def test_a_connection_is_the_tenants_and_has_no_address(self) -> None:
        ended: Deferred[None] = Deferred()

        class Broker(Protocol):
            def connectionLost(self, reason) -> None:
                ended.callback(None)

        port = reactor.listenUNIX(self.path, ServerFactory.forProtocol(Broker))
        self.addCleanup(port.stopListening)
        made: list = []
        broker = handing_over.Broker(reactor, self.path, 0, DEFAULT_LIMITS)
        upstream = await broker.connect("acme", lambda _: None, made.append)
        assert made == [upstream]
        assert upstream.key == handing_over.key("acme")
        assert upstream.key != handing_over.key("globex")
        assert upstream.address is None
        assert upstream.quiet
        upstream.abort()
        await ended

    async def test_without_a_broker_there_is_a_typed_refusal(self) -> None:
        broker = handing_over.Broker(reactor, self.path, 0, DEFAULT_LIMITS)
        made: list = []
        with pytest.raises(NoRoute) as caught:
            await broker.connect("acme", lambda _: None, made.append)
        assert caught.value.refusal is refusals.BROKER_UNAVAILABLE
        assert made == []  # nobody would hear of its end
