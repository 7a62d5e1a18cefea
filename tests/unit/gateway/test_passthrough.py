"""TLS that is let through unread: only while the policy says so, from the first byte on."""

from __future__ import annotations

import ssl
from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from twisted.internet.defer import Deferred

from appliance.gateway import refusals
from appliance.gateway.connection import Connection
from appliance.policy.limits import DEFAULT_LIMITS
from appliance.policy.ranges import Ranges
from appliance.policy.set import PolicySet
from appliance.policy.tenant import TenantPolicy

from .support import ENDPOINT, PUBLIC, Names, Wire, web_policy, worker

EXCEPTED = {("site.net", 443): "operator.yaml:1"}


def hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="site.net")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


class Slow(Names):
    """Says whether an address is pinned when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.answer: Deferred[bool] = Deferred()

    async def pinned(self, tenant, name, address, *, endpoint=None) -> bool:
        self.charged.append(endpoint)
        return await self.answer


class Line(Wire):
    """A transport that can be waited for until all is written."""

    def startWriting(self) -> None:
        self.producer.resumeProducing()


class Asked:
    """A container that has said ClientHello, and more, to a name that is let through."""

    def __init__(self) -> None:
        self.names = Slow()
        self.worker = worker(names=self.names, policy=web_policy(passthrough=EXCEPTED))
        self.wire = Line(own=(str(PUBLIC), 443))
        self.connection = Connection(self.worker)
        self.connection.makeConnection(self.wire)
        self.connection.dataReceived(hello() + b"SECRET")

    def loaded(self, *policies: TenantPolicy) -> None:
        """Another set is in force."""
        self.worker.test_policies[0] = PolicySet({policy.tenant: policy for policy in policies}, "two")
        self.worker.policy_changed()

    @property
    def dials(self) -> int:
        return len(self.worker.reactor.tcpClients)

    def server(self) -> Line:
        host, port, factory, *_ = self.worker.reactor.tcpClients[-1]
        wire = Line((host, port))
        factory.buildProtocol(None).makeConnection(wire)
        return wire


def test_what_was_said_goes_on_as_it_stands() -> None:
    talk = Asked()
    talk.names.answer.callback(True)
    assert talk.server().value().endswith(b"SECRET")
    assert talk.worker.audit.records == []
    assert talk.names.charged == [ENDPOINT.id] * 2  # whether it is pinned, and where it is


def test_what_was_refused_while_its_destination_is_asked_for_is_not_dialled() -> None:
    talk = Asked()
    talk.connection.dataReceived(b"x" * 3 * talk.worker.limits.buffered_bytes)
    assert talk.wire.half_closed
    if not talk.names.answer.called:
        talk.names.answer.callback(True)
    assert talk.dials == 0
    assert talk.worker.audit.reasons == ["tls-invalid"]


def test_a_name_that_was_asked_for_is_on_record_when_its_container_leaves() -> None:
    talk = Asked()
    talk.connection.connectionLost()
    assert [(record.reason, record.host) for record in talk.worker.audit.records] == [
        ("client-closed", "site.net")
    ]
    talk = Asked()
    talk.connection.end(refusals.ENDPOINT_REMOVED)
    talk.connection.connectionLost()
    assert talk.worker.audit.reasons == ["endpoint-removed"]
    assert talk.dials == 0


@pytest.mark.parametrize("policies", [(), (web_policy(generation="two"),)])
def test_one_taken_back_while_its_destination_is_asked_for_is_not_dialled_g5(policies) -> None:
    talk = Asked()
    talk.loaded(*policies)
    talk.names.answer.callback(True)
    assert talk.dials == 0
    assert talk.worker.audit.reasons == ["policy-changed"]
    assert talk.worker.audit.open_claims == 0
    assert talk.wire.half_closed


def test_an_address_denied_while_it_is_dialled_is_told_nothing_g5() -> None:
    talk = Asked()
    talk.names.answer.callback(True)
    denied = Ranges([IPv4Network(f"{PUBLIC}/32")])
    talk.loaded(web_policy(generation="two", passthrough=EXCEPTED, denied_addresses=denied))
    server = talk.server()
    assert server.value() == b""
    assert server.aborted
    assert talk.worker.audit.reasons == ["policy-changed"]


def test_a_limit_that_is_lowered_cuts_the_tunnel_f4() -> None:
    talk = Asked()
    talk.names.answer.callback(True)
    talk.server()
    tunnel = talk.connection._stage
    lower = replace(DEFAULT_LIMITS, tenant=replace(DEFAULT_LIMITS.tenant, bytes_in=1000))
    talk.loaded(web_policy(generation="two", passthrough=EXCEPTED, limits=lower))
    tunnel._charge((0, 1000))
    talk.worker.reactor.advance(0)
    assert not talk.wire.aborted
    tunnel._charge((0, 1001))
    talk.worker.reactor.advance(0)
    assert talk.wire.aborted
    assert talk.worker.audit.reasons == ["bytes-in-exceeded"]
