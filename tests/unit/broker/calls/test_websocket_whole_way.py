"""A container's WebSocket the whole way: the gateway's session, the broker's socket, TLS with a provider, and back."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.task import deferLater

from appliance.gateway.channel import Channel
from appliance.gateway.connection import Connection
from appliance.gateway.handing_over import Broker
from appliance.gateway.limits import DEFAULT_LIMITS
from appliance.names import HostName
from appliance.policy.set import PolicySet
from tests.unit.broker.calls.support import SECRET
from tests.unit.broker.calls.test_websocket import CLOSE, NORMAL, TEXT
from tests.unit.broker.calls.test_websocket_wired import ASK, AnyAddress, WithAProvider
from tests.unit.gateway.support import PUBLIC, Wire, worker
from tests.unit.websocket.test_frames import frame, read


class WholeWay(WithAProvider):
    async def setUp(self) -> None:
        await super().setUp()
        self.gateway = worker(
            reactor=reactor,
            policy=self.neighbours.policy,
            broker=Broker(reactor, self.path, 0, DEFAULT_LIMITS),
        )
        self.addCleanup(self.gateway.pool.close)
        self.connection = Connection(self.gateway)
        self.wire = Wire(own=(str(PUBLIC), 443))
        self.connection.makeConnection(self.wire)
        channel = Channel(self.connection.caller, 443, HostName("ok.example"))
        self.connection.open_session(channel, b"")
        self.connection._stage.handshakeCompleted()  # the container's TLS is another test's

    async def until(self, wanted: bytes) -> bytes:
        for _ in range(200):
            if wanted in self.wire.value():
                return self.wire.value()
            await deferLater(reactor, 0.02)
        raise AssertionError(self.wire.value())

    async def open(self) -> None:
        self.connection.dataReceived(ASK)
        assert (await self.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")

    @property
    def frames(self) -> list:
        return read(self.wire.value().partition(b"\r\n\r\n")[2], masked=False)

    async def test_004_39_the_provider_has_the_secret_and_the_container_a_marker(self) -> None:
        await self.open()
        self.connection.dataReceived(frame(TEXT, b"say it: "))
        await self.until(b"[scrubbed:secret]")
        self.connection.dataReceived(frame(CLOSE, NORMAL))
        await self.until(frame(CLOSE, NORMAL, mask=None))
        await deferLater(reactor, 0.1)
        assert f"authorization: Bearer {SECRET}".encode() in b"".join(self.heard)
        assert SECRET[:9].encode() not in self.wire.value()
        text = b"".join(payload for _, opcode, payload in self.frames if opcode != CLOSE)
        assert text == b"say it: [scrubbed:secret]"
        for log in (self.gateway.audit, self.neighbours.audit):
            details = [record.detail for record in log.records]
            assert details == ["A WebSocket was opened.", "The WebSocket ended with code 1000."]
            assert log.open_claims == 0
        identities = {
            record.request_id for record in (*self.gateway.audit.records, *self.neighbours.audit.records)
        }
        assert len(identities) == 1

    async def test_004_32_an_account_that_goes_at_the_broker_first_is_told_by_its_close(self) -> None:
        await self.open()
        self.neighbours.policy = AnyAddress("acme", "two")
        self.connection.dataReceived(frame(TEXT, b"more"))
        await self.until(b"account-not-bound")
        (_, opcode, payload) = self.frames[-1]
        assert (opcode, payload) == (CLOSE, b"\x03\xf0account-not-bound")
        assert len(self.heard) == 1

    async def test_one_that_goes_at_the_gateway_first_ends_the_providers_connection(self) -> None:
        await self.open()
        self.gateway.test_policies[0] = PolicySet({"acme": AnyAddress("acme", "two")}, "two")
        self.connection.policy_changed()
        await self.until(b"policy-changed")
        await deferLater(reactor, 0.1)
        assert self.neighbours.audit.records[-1].reason == "client-closed"
        assert self.neighbours.audit.open_claims == 0
