"""The end of an execution: handles at once, record, netd's word, over a real Unix socket."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from appliance.broker.calls import ending
from appliance.broker.calls.ending import Ending
from appliance.broker.handles import Bound, Handles
from appliance.broker.vault.kinds import StaticSecret
from appliance.endpoints import EndpointTable
from appliance.json_lines import JsonLines
from tests.unit.broker.calls.support import ATTESTED, SECRET, STORED
from tests.unit.gateway.support import ENDPOINT, Log


class Killing(TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = str(Path(directory.name) / "netd.sock")
        self.handles, self.audit = Handles(Clock()), Log()
        self.bound = Bound("acme", ATTESTED.endpoint, "crm", "crm-api", "crm-key")
        self.handle = self.given(self.bound)
        self.endpoints = EndpointTable()
        self.endpoints.replace([ENDPOINT])
        self.expelled: list[tuple] = []
        self.ended: list[tuple] = []
        self.fails = 0
        self.ending = Ending(
            reactor, self.path, self.handles, self.audit, endpoints=self.endpoints, expel=self.expel,
            ended=lambda *call: self.ended.append(call),
        )  # fmt: skip
        self.addCleanup(self.ending.close)
        self.patch(ending, "AGAIN", 0.02)

    def given(self, bound: Bound) -> str:
        secret = StaticSecret(kind="static", value=SECRET)
        return self.handles.register(self.handles.ask(bound), secret, STORED, lambda: None)

    async def expel(self, *who: str) -> None:
        if self.fails:
            self.fails -= 1
            raise RuntimeError("the database is away")
        self.expelled.append(who)

    def netd(self, answers: list) -> list:
        """netd, which answers so and hears what is returned; without an answer it hangs up."""
        heard: list = []

        class Netd(JsonLines):
            def message_received(self, message) -> None:
                heard.append(message["op"])
                answer = answers.pop(0)
                if answer is None:
                    self.close()
                else:
                    self.send(answer)

        port = reactor.listenUNIX(self.path, ServerFactory.forProtocol(Netd))
        self.addCleanup(port.stopListening)
        return heard

    async def test_004_17_netd_is_told_again_until_the_container_is_gone(self) -> None:
        self.ending.kill(ATTESTED, "authority-collision", "a field")
        await deferLater(reactor, 0.05)
        heard = self.netd([None, {"ok": False, "detail": "not yet"}, {"ok": True}])
        await deferLater(reactor, 0.3)
        assert heard == ["stop-container"] * 3

    async def test_who_collides_many_times_at_once_is_killed_once(self) -> None:
        heard = self.netd([{"ok": False, "error": "endpoint-unknown"}] * 3)
        for _ in range(3):
            self.ending.kill(ATTESTED, "authority-collision", "a field")
        await deferLater(reactor, 0.1)
        assert heard == ["stop-container"]
        assert len(self.audit.records) == 1

    async def test_004_17_who_was_killed_stays_so_whether_netd_hears_it_or_not(self) -> None:
        assert not self.ending.is_over(ATTESTED.endpoint)
        self.ending.kill(ATTESTED, "authority-collision", "a field")
        await self.ending.told
        assert self.ending.is_over(ATTESTED.endpoint)
        assert not self.ending.is_over("another")

    async def test_004_17_handles_die_at_once_and_netd_hears_of_the_container(self) -> None:
        heard: Deferred = Deferred()
        gone: Deferred = Deferred()

        class Netd(JsonLines):
            def message_received(self, message) -> None:
                self.send({"ok": True})
                heard.callback(message)

            def connectionLost(self, reason) -> None:
                gone.callback(None)

        port = reactor.listenUNIX(self.path, ServerFactory.forProtocol(Netd))
        self.addCleanup(port.stopListening)
        self.ending.kill(ATTESTED, "authority-collision", "a call brought its own: field cookie")
        assert self.handles.resolve(self.handle, self.bound) is None
        (record,) = self.audit.records
        assert (record.event, record.subject, record.reason) == (
            "execution-killed",
            "c1",
            "authority-collision",
        )
        assert await heard == {
            "op": "stop-container", "endpoint": ATTESTED.endpoint, "reason": "authority-collision",
            "why": "a call brought its own: field cookie",
        }  # fmt: skip
        await gone
        assert SECRET not in json.dumps(record.detail)

    async def test_without_netd_or_a_record_the_handles_are_dead_all_the_same(self) -> None:
        self.audit.ready = False
        self.ending.kill(ATTESTED, "authority-collision", "x")
        assert self.handles.resolve(self.handle, self.bound) is None
        await self.ending.told

    async def test_004_17_what_else_it_has_under_way_ends(self) -> None:
        second = replace(ENDPOINT, id="e2", network="n2", address=IPv4Address("172.19.0.2"))
        self.endpoints.replace([ENDPOINT, second])
        self.ending.kill(ATTESTED, "authority-collision", "x")
        assert self.ended == [(ATTESTED.endpoint, "id-1"), ("e2", "id-1")]

    async def test_004_17_its_certificates_and_sessions_are_revoked_at_once(self) -> None:
        self.ending.kill(ATTESTED, "authority-collision", "x")
        assert self.expelled == [("acme", ATTESTED.endpoint, "c1")]

    async def test_004_17_every_link_of_the_container_is_at_its_end_and_no_other_containers(self) -> None:
        second = replace(ENDPOINT, id="e2", network="n2", address=IPv4Address("172.19.0.2"))
        neighbour = replace(ENDPOINT, id="e3", container="c3", address=IPv4Address("172.18.0.4"))
        unnamed = replace(ENDPOINT, id="e4", container="", address=IPv4Address("172.18.0.5"))
        of_other = replace(ENDPOINT, id="e5", tenant="globex", address=IPv4Address("172.20.0.2"))
        self.endpoints.replace([ENDPOINT, second, neighbour, unnamed, of_other])
        there = replace(self.bound, execution="e2")
        handle = self.given(there)
        self.ending.kill(ATTESTED, "authority-collision", "x")
        assert [self.ending.is_over(f"e{n}") for n in range(2, 6)] == [True, False, False, False]
        assert self.handles.resolve(handle, there) is None
        assert self.expelled == [("acme", ATTESTED.endpoint, "c1"), ("acme", "e2", "c1")]

    async def test_who_has_no_name_yet_takes_nobody_along(self) -> None:
        unnamed = [
            replace(ENDPOINT, id=f"e{n}", container="", address=IPv4Address(f"172.18.0.{n}")) for n in (7, 8)
        ]
        self.endpoints.replace(unnamed)
        self.ending.kill(replace(ATTESTED, endpoint="e7", container=""), "authority-collision", "x")
        assert (self.ending.is_over("e7"), self.ending.is_over("e8")) == (True, False)

    async def test_004_17_a_database_that_is_away_is_asked_again(self) -> None:
        self.fails = 2
        self.ending.kill(ATTESTED, "authority-collision", "x")
        assert self.expelled == []
        await deferLater(reactor, 0.2)
        assert self.expelled == [("acme", ATTESTED.endpoint, "c1")]
