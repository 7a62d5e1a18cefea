"""appliance.broker.identity.bounded_answer: no octet and no second more than agreed."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from appliance.broker.identity.bounded_answer import AnswerTooLarge, AnswerTooSlow, read_bounded, within

from .answers import Pieces, outcome


@pytest.mark.parametrize("piece", [1, 7, 100, 1000])
def test_a_body_of_the_limit_is_read_and_one_octet_more_is_not(piece: int) -> None:
    assert outcome(read_bounded(Pieces(b"x" * 100, piece), 100)) == b"x" * 100
    endless = Pieces(b"x" * 1_000_000, piece)
    assert isinstance(outcome(read_bounded(endless, 100)), AnswerTooLarge)
    assert endless.given == 101


def test_an_empty_body_is_empty() -> None:
    assert outcome(read_bounded(Pieces(b""), 10)) == b""


def test_what_takes_too_long_is_cancelled_and_leaves_nothing() -> None:
    clock = Clock()
    cancelled: list[Deferred[None]] = []
    stuck: Deferred[None] = Deferred(cancelled.append)

    async def work() -> None:
        await stuck

    running = Deferred.fromCoroutine(within(5.0, clock, work()))
    seen: list[object] = []
    running.addErrback(lambda failure: seen.append(failure.value))
    clock.advance(4.9)
    assert not seen
    clock.advance(0.2)
    assert isinstance(seen[0], AnswerTooSlow)
    assert cancelled == [stuck]
    assert not clock.getDelayedCalls()


def test_who_cancels_the_whole_cancels_the_work_and_its_timeout() -> None:
    clock = Clock()
    stuck: Deferred[None] = Deferred()

    async def work() -> None:
        await stuck

    running = Deferred.fromCoroutine(within(5.0, clock, work()))
    seen: list[object] = []
    running.addErrback(lambda failure: seen.append(failure.value))
    running.cancel()
    assert isinstance(seen[0], CancelledError)
    assert stuck.called
    assert not clock.getDelayedCalls()


def test_what_is_in_time_leaves_no_timer() -> None:
    clock = Clock()

    async def work() -> int:
        return 7

    assert outcome(within(5.0, clock, work())) == 7
    assert not clock.getDelayedCalls()
