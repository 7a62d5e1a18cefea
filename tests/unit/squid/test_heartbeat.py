"""A Squid that answers, one that hangs, and one that nobody can ask."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from squid.heartbeat import ASKED, EVERY, MISSED, Heartbeat


class Transport(StringTransport):
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


@implementer(IStreamClientEndpoint)
class Squid:
    def __init__(self) -> None:
        self.accepts: bool | None = True
        self.transports: list[Transport] = []
        self.protocols: list[Any] = []
        self.cancelled = 0

    def connect(self, factory: Any) -> Deferred[Any]:
        if self.accepts is None:
            return Deferred(lambda _: setattr(self, "cancelled", self.cancelled + 1))
        if not self.accepts:
            return fail(ConnectError())
        self.protocols.append(factory.buildProtocol(None))
        self.transports.append(Transport())
        self.protocols[-1].makeConnection(self.transports[-1])
        return succeed(self.protocols[-1])

    def answers(self) -> None:
        self.protocols[-1].dataReceived(b"HTTP/1.1 403 Forbidden\r\n")


class Rig:
    def __init__(self) -> None:
        self.squid, self.missed = Squid(), 0
        self.heart = Heartbeat(self.squid, self.miss)
        self.heart.begin()

    def miss(self) -> None:
        self.missed += 1

    def looks(self, count: int) -> None:
        for _ in range(count):
            self.heart.look()


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_it_asks_again_and_again_and_keeps_no_connection(rig: Rig) -> None:
    for number in range(1, 4):
        rig.looks(EVERY if number > 1 else 1)
        assert [t.value() for t in rig.squid.transports] == [ASKED] * number
        rig.squid.answers()
        assert rig.squid.transports[-1].aborted
    assert (rig.missed, rig.heart.silent) == (0, False)


def test_one_that_hangs_is_told_once_and_well_before_the_next_is_asked(rig: Rig) -> None:
    rig.looks(MISSED)
    assert rig.missed == 0
    rig.looks(1)
    assert (rig.missed, rig.heart.silent) == (1, True)
    assert rig.squid.transports[-1].aborted
    rig.looks(EVERY + MISSED)
    assert rig.missed == 1
    rig.squid.answers()
    assert not rig.heart.silent, "it goes on"
    rig.looks(EVERY + MISSED)
    assert (rig.missed, rig.heart.silent) == (2, True)


@pytest.mark.parametrize("accepts", [False, None])
def test_one_that_cannot_be_asked_has_not_answered(rig: Rig, accepts: Any) -> None:
    rig.squid.accepts = accepts
    rig.looks(EVERY + MISSED)
    assert rig.missed == 1
    assert rig.squid.cancelled == (accepts is None)


def test_a_connection_that_ends_without_an_answer_is_none(rig: Rig) -> None:
    rig.looks(EVERY)
    rig.squid.protocols[-1].connectionLost(Failure(ConnectionDone()))
    rig.looks(MISSED)
    assert rig.missed == 1


def test_a_late_answer_to_a_question_that_was_given_up_says_nothing(rig: Rig) -> None:
    rig.looks(1 + MISSED)
    rig.squid.answers()
    assert rig.heart.silent


def test_a_new_squid_is_asked_at_once_and_silence_ends_with_its_answer(rig: Rig) -> None:
    rig.looks(EVERY + MISSED)
    for missed in (2, 3):
        rig.heart.begin()
        assert rig.heart.silent
        rig.looks(1 + MISSED)
        assert rig.missed == missed
    rig.heart.begin()
    rig.looks(1)
    rig.squid.answers()
    assert not rig.heart.silent
    rig.looks(EVERY)
    rig.heart.stop()
    assert rig.squid.transports[-1].aborted
