"""appliance.broker.api.departures: who left, while we looked and before."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from twisted.internet.task import Clock

from appliance.broker.api.departures import LOOK_SECONDS, PRUNE_SECONDS, Departures
from tests.unit.gateway.support import ENDPOINT

NOW = datetime(2026, 11, 21, tzinfo=UTC)


class Workloads:
    def __init__(self) -> None:
        self.done: list[tuple] = []
        self.fails = False

    def keep_only(self, live, now):
        if self.fails:
            raise RuntimeError("the database is away")
        self.done.append(("keep", live))

    def depart(self, endpoint, now):
        if self.fails:
            raise RuntimeError("the database is away")
        self.done.append(("depart", endpoint))

    def prune(self, now):
        self.done.append(("prune",))


@pytest.fixture
def rig():
    async def in_thread(function, *arguments):
        return function(*arguments)

    clock, workloads, known = Clock(), Workloads(), []
    feed = SimpleNamespace(ready=False, table=[ENDPOINT])
    departures = Departures(
        clock,
        feed,
        workloads,
        in_thread,
        now=lambda: NOW,
        known=lambda: known.append(True),
        prune=workloads.prune,
    )
    departures.start()
    return SimpleNamespace(clock=clock, workloads=workloads, known=known, feed=feed, departures=departures)


def test_000_33_nobody_is_enrolled_before_it_is_known_who_is_there(rig) -> None:
    rig.clock.advance(LOOK_SECONDS)
    assert not rig.known
    rig.feed.ready = True
    rig.clock.advance(LOOK_SECONDS)
    assert rig.known == [True]
    assert ("keep", [ENDPOINT.id]) in rig.workloads.done
    rig.clock.advance(LOOK_SECONDS)
    assert rig.known == [True]


def test_a_database_that_is_away_is_asked_again(rig) -> None:
    rig.feed.ready = rig.workloads.fails = True
    rig.clock.advance(LOOK_SECONDS)
    assert not rig.known
    rig.workloads.fails = False
    rig.clock.advance(LOOK_SECONDS)
    assert rig.known == [True]


def test_what_is_over_is_removed_at_the_start_and_every_so_often(rig) -> None:
    rig.clock.advance(PRUNE_SECONDS)
    rig.clock.advance(PRUNE_SECONDS)
    assert rig.workloads.done == [("prune",)] * 3


def test_who_leaves_departs(rig) -> None:
    rig.departures.departed(ENDPOINT)
    assert ("depart", ENDPOINT.id) in rig.workloads.done
    rig.workloads.fails = True
    rig.departures.departed(ENDPOINT)
    rig.departures.stop()
    rig.departures.stop()
