"""What the broker asks for itself: over a worker, of the servers that the settings name, and of no other."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from appliance.broker.calls.own_request import OwnRequests
from appliance.broker.calls.platform_requests import PlatformRequests
from appliance.broker.credentials.outgoing import NoAnswer
from appliance.broker.identity.bounded_answer import read_bounded
from appliance.policy.compile import OperatorLayer
from appliance.policy.platform import ACCOUNT, platform_policy
from appliance.policy.rules import RuleIndex
from appliance.workload import PLATFORM
from tests.unit.broker.calls.servers import Anywhere, WithAServer, exchanging


class Named(Anywhere):
    """The platform's policy, but for its word on loopback."""

    def __init__(self) -> None:
        made = platform_policy(frozenset({("ok.example", 443)}), OperatorLayer(), RuleIndex(), "one")
        super().__init__(made.bound)


class ToThePlatform(WithAServer):
    def requests(self, policy=None, workers: int = 2) -> PlatformRequests:
        self.dials.workers = workers
        policy = policy or Named()
        policies = {PLATFORM: policy, "acme": Anywhere(exchanging(("other.example", 443)))}
        return PlatformRequests(
            SimpleNamespace(requests=OwnRequests(self.providers), dials=self.dials), policies.__getitem__
        )

    async def test_json_is_posted_and_the_answer_is_read_within_its_bound(self) -> None:
        answer = await self.requests().post("https://ok.example/sign", b'{"csr": ""}')
        assert (answer.status, await read_bounded(answer, 4)) == (200, b'{"a"')
        answer.abort()
        (asked,) = self.heard
        head, _, body = asked.partition(b"\r\n\r\n")
        assert head.splitlines() == [
            b"POST /sign HTTP/1.1", b"Host: ok.example", b"Accept: application/json",
            b"Content-Type: application/json", b"Content-Length: 11",
        ]  # fmt: skip
        assert body == b'{"csr": ""}'

    async def test_a_key_set_is_fetched_over_one_worker_after_the_other_for_no_tenant(self) -> None:
        requests = self.requests()
        for _ in range(3):
            (await requests.fetch("https://ok.example/keys")).abort()
        assert self.heard[0].startswith(b"GET /keys HTTP/1.1\r\n")
        assert self.dials.asked == [(worker, PLATFORM, ACCOUNT) for worker in (1, 0, 1)]

    async def test_nobody_else_is_asked(self) -> None:
        for url in ("https://other.example/", "https://ok.example:8443/", "http://ok.example/"):
            with pytest.raises(NoAnswer):
                await self.requests().fetch(url)
        assert self.dials.accounts == []

    async def test_a_private_address_is_not_asked_and_the_operator_reads_why(self) -> None:
        told: list[LogEvent] = []
        globalLogPublisher.addObserver(told.append)
        self.addCleanup(globalLogPublisher.removeObserver, told.append)
        named = frozenset({("ok.example", 443)})
        with pytest.raises(NoAnswer):
            await self.requests(platform_policy(named, OperatorLayer(), RuleIndex(), "one")).fetch(
                "https://ok.example/"
            )
        assert self.dials.dialled == 0
        assert [formatEvent(event) for event in told] == [
            "https://ok.example/ was not asked: private-address"
        ]
