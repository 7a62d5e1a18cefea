"""TLS for the broker goes to the broker, unread, with our word on whose it is before it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.trial.unittest import TestCase

from appliance.gateway import handing_over, refusals
from appliance.gateway.broker_tunnel import BrokerTunnel
from appliance.gateway.judging import judge_connect
from appliance.gateway.limits import DEFAULT_LIMITS
from appliance.gateway.opening import Admitted, judge_hello
from appliance.gateway.routes import NoRoute
from appliance.handover import HANDED_OVER_SECONDS, parse_attestation
from appliance.names import BROKER_NAME, Authority
from appliance.policy.tenant import TenantPolicy

from .support import ENDPOINT, caller, plain, request, web_policy, worker


class Hello:
    server_name = BROKER_NAME.text.encode()


@pytest.mark.parametrize("authority", [None, Authority(BROKER_NAME, 443)])
def test_000_39_port_443_of_the_broker_and_no_other_is_let_through(authority) -> None:
    found = judge_hello(Hello(), authority, 443, web_policy())
    assert isinstance(found, Admitted)
    assert (found.name, found.standing) == (BROKER_NAME, None)
    other = judge_hello(Hello(), None, 8443, web_policy())
    assert isinstance(other, Admitted)
    assert other.standing is not None


def test_a_tunnel_for_it_is_opened_without_any_policy() -> None:
    made = worker(policy=TenantPolicy("acme"))
    assert (
        judge_connect(made, plain(), request(f"{BROKER_NAME}:443", f"{BROKER_NAME}:443", "CONNECT")) is None
    )
    for target in (f"{BROKER_NAME}:80", f"x.{BROKER_NAME}:443"):
        assert judge_connect(made, plain(), request(target, target, "CONNECT")) is not None


class Connecting(TestCase):
    def setUp(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.path = str(Path(self.directory.name) / "workloads.sock")
        self.broker = handing_over.Broker(reactor, "", 3, DEFAULT_LIMITS, workloads=self.path)

    async def test_our_word_comes_first_and_names_the_link(self) -> None:
        heard: Deferred[bytes] = Deferred()

        class Listening(Protocol):
            def dataReceived(self, data: bytes) -> None:
                heard.callback(data)
                self.transport.loseConnection()

        port = reactor.listenUNIX(self.path, ServerFactory.forProtocol(Listening))
        self.addCleanup(port.stopListening)

        made, calling = worker(broker=self.broker), caller(port=443)

        class Connection:
            worker = made
            caller = calling

        tunnel = BrokerTunnel(Connection(), BROKER_NAME, 443, b"")
        transport = await tunnel._reach()
        said = parse_attestation((await heard)[:-1])
        assert (said.tenant, said.endpoint, said.container) == ("acme", ENDPOINT.id, "c1")
        assert (said.account, said.worker, said.port, said.source) == ("", 3, 443, "172.18.0.2:40000")
        transport.abortConnection()

    async def test_without_a_broker_there_is_a_typed_refusal(self) -> None:
        for made in (worker(), worker(broker=self.broker)):
            with pytest.raises(NoRoute) as caught:
                await made.reach_broker()
            assert caught.value.refusal is refusals.BROKER_UNAVAILABLE


def test_a_call_in_it_may_take_as_long_as_one_that_is_handed_over() -> None:
    tunnel = BrokerTunnel.__new__(BrokerTunnel)
    assert tunnel._idle_seconds() == HANDED_OVER_SECONDS > DEFAULT_LIMITS.tunnel_idle_seconds
