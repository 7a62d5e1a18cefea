"""Connections to providers, over sockets that a worker connected: a real server, a real chain, a real loopback."""

from __future__ import annotations

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from appliance.broker.calls.dials import CallRefused
from appliance.names import HostName
from tests.unit.broker.calls.servers import LOOPBACK, OK, WithAServer
from tests.unit.broker.calls.support import ATTESTED


class ToProviders(WithAServer):
    async def connect(self, host: HostName = OK, **options):
        return await self.providers.connect(ATTESTED, host, 443, [LOOPBACK], **options)

    async def test_who_proves_the_name_is_connected_to(self) -> None:
        upstream = await self.connect()
        assert upstream.address == LOOPBACK
        assert upstream.quiet
        upstream.abort()

    async def test_004_24_who_proves_another_name_is_not(self) -> None:
        with pytest.raises(CallRefused) as caught:
            await self.connect(HostName("other.example"))
        assert caught.value.refusal.reason == "upstream-certificate-wrong-host"
        assert self.heard == []

    async def test_a_connection_that_was_reset_before_it_was_taken_over_leaves_nothing_behind(self) -> None:
        class Gone:
            def adoptStreamConnection(self, *_):
                raise OSError(107, "not connected")

        watched = self.providers._deadlines._watched
        self.patch(self.providers, "_reactor", Gone())
        before = set(watched)
        with pytest.raises(CallRefused) as caught:
            await self.connect()
        assert caught.value.refusal.reason == "upstream-closed"
        assert watched == before

    async def test_a_connection_rests_for_the_next_call_of_the_tenant(self) -> None:
        first = await self.connect()
        asked = Asked()
        first.send(asked, "GET", b"GET / HTTP/1.1\r\nHost: ok.example\r\n\r\n")
        await asked.done
        first.rest()
        await deferLater(reactor, 0)  # what TLS holds behind the answer is heard first
        assert await self.connect() is first
        assert self.dials.dialled == 1
        first.abort()


class Asked:
    def __init__(self) -> None:
        self.done: Deferred[None] = Deferred()

    def response(self, head, pieces, *, done) -> None:
        if done:
            self.done.callback(None)
