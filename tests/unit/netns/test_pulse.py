"""A process's pulse: heard, lost at once, missed when it falls silent, found again."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys

import pytest
from twisted.internet.defer import fail, succeed
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from netns.pulse import (
    AGAIN,
    EVERY,
    GLANCE,
    LONGEST_ANSWER,
    SILENCE,
    STOPPED_LOOKS,
    Pulse,
    is_stopped,
    peer_pid,
)
from netns.shares import Condition

PID = 77


class Transport(StringTransport):
    aborted = False

    def getHandle(self):
        return Handle()

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


class Handle:
    def getsockopt(self, level, name, size):
        assert (level, name) == (socket.SOL_SOCKET, socket.SO_PEERCRED)
        return struct.pack("3i", PID, 0, 0)[:size]


class Rig:
    def __init__(self):
        self.clock, self.process, self.told = Clock(), Process(), []
        self.stopped = False
        self.pulse = Pulse(
            self.clock,
            self.process,
            lambda: self.told.append(self.pulse.condition),
            lambda pid: pid == PID and self.stopped,
        )

    def looks(self, count):
        for _ in range(count):
            self.clock.advance(GLANCE)


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
    rig.looks(int(SILENCE / GLANCE) - 1)
    assert not rig.process.transport.aborted
    rig.looks(1)
    assert rig.process.transport.aborted
    assert rig.pulse.silent
    rig.process.talk.connectionLost(Failure(ConnectionDone()))
    assert rig.pulse.condition is Condition.AWAY
    rig.clock.advance(AGAIN)
    assert rig.process.connections == 2
    rig.process.answers(ready=True)
    assert not rig.pulse.silent


def test_one_that_is_stopped_is_away_within_a_second(rig):
    rig.process.answers(ready=True)
    rig.stopped = True
    rig.looks(1 + STOPPED_LOOKS - 1)
    assert not rig.process.transport.aborted
    rig.looks(1)
    assert rig.process.transport.aborted
    assert rig.pulse.silent
    assert EVERY + STOPPED_LOOKS * GLANCE <= 1


def test_one_that_was_stopped_for_a_moment_is_not(rig):
    rig.process.answers(ready=True)
    rig.looks(1)
    for _ in range(4):
        rig.stopped = True
        rig.looks(STOPPED_LOOKS - 1)
        rig.stopped = False
        rig.looks(1)
    assert not rig.process.transport.aborted


def test_whether_a_process_is_stopped_is_the_kernels_to_say(tmp_path):
    with subprocess.Popen((sys.executable, "-c", "input()"), stdin=subprocess.PIPE) as child:
        assert not is_stopped(child.pid)
        child.send_signal(signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        assert is_stopped(child.pid)
        child.kill()
    assert not is_stopped(child.pid)
    (tmp_path / "7").mkdir()
    for state, stopped in ((b"T", True), (b"R", False), (b"S", False), (b"D", False), (b"t", False)):
        (tmp_path / "7" / "stat").write_bytes(b"7 (a) T b) " + state + b" 1 7")
        assert is_stopped(7, tmp_path) is stopped


def test_the_peer_is_who_listens():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport = Transport()
        transport.getHandle = lambda: ours
        assert peer_pid(transport) == os.getpid()
    assert peer_pid(StringTransport()) is None


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
