"""A process's pulse: heard, lost at once, missed when it falls silent, found again."""

import json

import pytest
from twisted.internet.defer import fail, succeed
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from netns.pulse import AGAIN, EVERY, LONGEST_ANSWER, SILENCE, Pulse
from netns.shares import Condition


class Transport(StringTransport):
    aborted = False

    def abortConnection(self):
        self.aborted = True


@implementer(IStreamClientEndpoint)
class Process:
    """What listens, or not; one connection at a time."""

    def __init__(self):
        self.listens = True
        self.connections = 0
        self.talk = self.transport = None

    def connect(self, factory):
        if not self.listens:
            return fail(ConnectError())
        self.connections += 1
        self.talk, self.transport = factory.buildProtocol(None), Transport()
        self.talk.makeConnection(self.transport)
        return succeed(self.talk)

    def asked(self):
        found = [json.loads(line) for line in self.transport.value().splitlines()]
        self.transport.clear()
        return found

    def answers(self, **fields):
        self.talk.dataReceived(json.dumps({"ok": True, **fields}).encode() + b"\n")

    def dies(self):
        self.listens = False
        self.talk.connectionLost(Failure(ConnectionDone()))


class Rig:
    def __init__(self):
        self.clock, self.process, self.told = Clock(), Process(), []
        self.pulse = Pulse(self.clock, self.process, lambda: self.told.append(self.pulse.condition))


@pytest.fixture
def rig():
    made = Rig()
    made.pulse.start()
    return made


def test_it_asks_again_and_again_and_tells_changes_only(rig):
    assert rig.process.asked() == [{"op": "status"}]
    rig.process.answers(ready=True)
    rig.clock.advance(EVERY)
    assert rig.process.asked() == [{"op": "status"}]
    rig.process.answers(ready=True)
    assert rig.told == [Condition.READY]
    rig.clock.advance(EVERY)
    rig.process.answers(ready=False)
    assert rig.told == [Condition.READY, Condition.ALIVE]


@pytest.mark.parametrize("ready", [1, "true", None, [True]])
def test_ready_is_what_says_so(rig, ready):
    rig.process.answers(ready=ready)
    assert rig.pulse.condition is Condition.ALIVE


def test_a_death_is_known_at_once_and_a_return_soon(rig):
    rig.process.answers(ready=True)
    rig.process.dies()
    assert rig.told == [Condition.READY, Condition.AWAY]
    assert not rig.pulse.silent
    rig.clock.advance(AGAIN)
    rig.process.listens = True
    rig.clock.advance(AGAIN)
    assert rig.process.connections == 2
    assert rig.pulse.condition is Condition.AWAY, "it listens, and has not said how it is"
    rig.process.answers(ready=True)
    assert rig.told[-1] is Condition.READY


def test_one_that_hangs_is_away_after_a_while_and_is_asked_anew(rig):
    rig.process.answers(ready=True)
    rig.clock.advance(EVERY)
    rig.clock.advance(SILENCE - 0.1)
    assert not rig.process.transport.aborted
    rig.clock.advance(0.1)
    assert rig.process.transport.aborted
    assert rig.pulse.silent
    rig.process.talk.connectionLost(Failure(ConnectionDone()))
    assert rig.pulse.condition is Condition.AWAY
    rig.clock.advance(AGAIN)
    assert rig.process.connections == 2
    rig.process.answers(ready=True)
    assert not rig.pulse.silent


def test_an_answer_without_an_end_is_none(rig):
    rig.process.talk.dataReceived(b"x" * (LONGEST_ANSWER + 1))
    assert rig.pulse.condition is Condition.AWAY
    assert rig.process.transport.disconnecting


def test_stopped_it_asks_and_tells_nothing(rig):
    rig.process.answers(ready=True)
    rig.pulse.stop()
    assert rig.process.transport.aborted
    rig.process.talk.connectionLost(Failure(ConnectionDone()))
    rig.clock.advance(SILENCE * 2)
    assert rig.told == [Condition.READY]
    assert rig.clock.getDelayedCalls() == []
