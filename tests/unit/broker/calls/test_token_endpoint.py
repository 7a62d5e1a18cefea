"""A token endpoint is asked on a connection of its own, and its answer is whole, bounded and in time."""

from __future__ import annotations

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from appliance.broker.calls.own_request import OwnRequests
from appliance.broker.calls.token_endpoint import MAX_ANSWER, SECONDS, TokenEndpoints
from appliance.broker.credentials.outgoing import NoAnswer
from tests.unit.broker.calls.servers import Anywhere, WithAServer
from tests.unit.broker.calls.support import ATTESTED


class ToTokenEndpoints(WithAServer):
    async def post(self, url: str, body: bytes = b"", fields=()):
        endpoints = TokenEndpoints(OwnRequests(self.providers), reactor)
        return await endpoints.post(ATTESTED, Anywhere, "crm", url, fields, body)

    async def test_a_token_endpoint_is_asked_on_a_connection_of_its_own(self) -> None:
        answer = await self.post("https://ok.example/oauth/token?a=b", b"grant=x", ((b"Accept", b"*/*"),))
        assert (answer.status, answer.body) == (200, b'{"a"')
        (asked,) = self.heard
        assert asked.startswith(b"POST /oauth/token?a=b HTTP/1.1\r\nHost: ok.example\r\nAccept: */*\r\n")
        assert asked.endswith(b"Content-Length: 7\r\n\r\ngrant=x")

    async def test_an_answer_of_a_token_endpoint_is_bounded(self) -> None:
        self.says = b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n" + b"x" * MAX_ANSWER
        assert len((await self.post("https://ok.example/")).body) == MAX_ANSWER
        self.says = b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + b"x" * (MAX_ANSWER + 1)
        with pytest.raises(NoAnswer):
            await self.post("https://ok.example/")


def test_a_token_endpoint_that_hangs_is_not_waited_for() -> None:
    clock = Clock()
    cancelled: list = []

    class Hanging:
        async def send(self, *_):
            return await Deferred(cancelled.append)

    seen: list = []
    endpoints = TokenEndpoints(Hanging(), clock)
    asking = endpoints.post(ATTESTED, Anywhere, "crm", "https://ok.example/", (), b"")
    Deferred.fromCoroutine(asking).addErrback(seen.append)
    clock.advance(SECONDS - 0.1)
    assert not seen
    clock.advance(0.1)
    assert isinstance(seen[0].value, NoAnswer)
    assert len(cancelled) == 1
    assert not clock.getDelayedCalls()
