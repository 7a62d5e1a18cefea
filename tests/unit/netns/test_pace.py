"""Acting on events: soon, once for a burst, and bounded."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from netns.pace import LONGEST, SETTLE, SHARE, Pace


class Rig:
    def __init__(self):
        self.clock = Clock()
        self.acts = []
        self.found = False
        self.takes = 0.0
        self.pace = Pace(self.clock, self._act)

    async def _act(self):
        self.acts.append(self.clock.seconds())
        if self.takes:
            waited = Deferred()
            self.clock.callLater(self.takes, waited.callback, None)
            await waited
        return self.found

    def pass_time(self, seconds):
        self.clock.pump([0.005] * round(seconds / 0.005))


@pytest.fixture
def rig():
    return Rig()


def test_a_burst_is_one_act_and_soon(rig):
    for _ in range(100):
        rig.pace.ask()
    rig.pass_time(0.05)
    assert len(rig.acts) == 1
    rig.pass_time(5)
    assert len(rig.acts) == 1


def test_an_event_during_an_act_is_answered_by_another(rig):
    rig.takes = 0.1
    rig.pace.ask()
    rig.pass_time(SETTLE + 0.05)
    rig.pace.ask()
    rig.pass_time(0.1 * (SHARE + 2))
    assert len(rig.acts) == 2


def test_a_storm_of_events_takes_a_bounded_share_of_the_time(rig):
    rig.takes = 0.025
    for _ in range(2000):
        rig.pace.ask()
        rig.clock.advance(0.005)
    assert len(rig.acts) * rig.takes < 10 / SHARE
    assert len(rig.acts) > 10


def test_who_fights_over_a_rule_is_answered_ever_slower_but_within_a_second(rig):
    rig.found = True
    for _ in range(4000):
        rig.pace.ask()
        rig.clock.advance(0.005)
    gaps = [b - a for a, b in zip(rig.acts, rig.acts[1:], strict=False)]
    assert gaps[0] < 0.1
    assert max(gaps) <= LONGEST + SETTLE < 1
    rig.found = False
    rig.pass_time(1)
    rig.acts.clear()
    rig.pace.ask()
    rig.pass_time(0.05)
    assert len(rig.acts) == 1


def test_an_act_that_raises_does_not_end_it(rig):
    async def fail():
        rig.acts.append(1)
        raise ValueError("a bug")

    pace = Pace(rig.clock, fail)
    pace.ask()
    rig.pass_time(1)
    pace.ask()
    rig.pass_time(1)
    assert len(rig.acts) == 2


def test_stopped_is_stopped(rig):
    rig.pace.ask()
    rig.pace.stop()
    rig.pace.ask()
    rig.pass_time(1)
    assert rig.acts == []
