"""The end of an execution: handles at once, record, netd's word, over a real Unix socket."""

from __future__ import annotations

import json
import tempfile
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
from appliance.ipc import JsonLines
from tests.unit.broker.calls.support import ATTESTED, SECRET
from tests.unit.gateway.support import Log


class Killing(TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = str(Path(directory.name) / "netd.sock")
        self.handles, self.audit = Handles(Clock()), Log()
        self.bound = Bound("acme", ATTESTED.endpoint, "crm")
        self.handle = self.handles.register(
            self.bound, StaticSecret(kind="static", value=SECRET), lambda: None
        )
        self.ending = Ending(reactor, self.path, self.handles, self.audit)
        self.addCleanup(self.ending.close)
        self.patch(ending, "AGAIN", 0.02)

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
