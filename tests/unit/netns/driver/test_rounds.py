"""What is looked at again and again: at its pace, one look at a time, whatever becomes of one."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from netns.driver import rounds
from netns.driver.rounds import Rounds


def test_it_looks_between_start_and_stop() -> None:
    looked: list[float] = []
    clock = Clock()

    async def look() -> None:
        looked.append(clock.seconds())

    found = Rounds(clock, 5, look)
    found.stop()
    found.start()
    found.start()
    clock.pump([5] * 3)
    found.stop()
    clock.pump([5] * 3)
    assert looked == [5, 10, 15]
    found.start()
    clock.pump([5])
    assert looked == [5, 10, 15, 35]
    found.stop()


def test_a_look_that_takes_long_is_not_overtaken() -> None:
    clock = Clock()
    slow: list[Deferred[None]] = []

    async def look() -> None:
        slow.append(Deferred())
        await slow[-1]

    found = Rounds(clock, 1, look)
    found.start()
    clock.pump([1] * 9)
    assert len(slow) == 1
    slow[0].callback(None)
    clock.pump([1])
    assert len(slow) == 2
    found.stop()
    slow[1].callback(None)


def test_a_look_that_fails_is_told_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(rounds._log, "failure", told.append)
    clock = Clock()

    async def look() -> None:
        raise RuntimeError("a mistake of ours")

    found = Rounds(clock, 1, look)
    found.start()
    clock.pump([1] * 3)
    assert len(told) == 3
    ended: list[object] = []
    found.look_now().addBoth(ended.append)
    assert (ended, len(told)) == ([None], 4)
    found.stop()
