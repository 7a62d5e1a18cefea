"""A caller that collided is ended once, on record, also where neither record nor database can be written."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import OperationalError
from twisted.internet.task import Clock

from appliance.broker.callers.ending import AGAIN, TRIES, CallerEnding
from appliance.broker.callers.standing import ENDED, Standing
from tests.unit.broker.callers.support import START, in_thread
from tests.unit.broker.calls.test_for_caller import attested
from tests.unit.gateway.support import Log


class Keys:
    def __init__(self, fails: int = 0) -> None:
        self.revoked: list[str] = []
        self.fails = fails

    def revoke(self, key: str, now: object) -> bool:
        self.fails -= 1
        if self.fails >= 0:
            raise OperationalError("update", None, Exception())
        self.revoked.append(key)
        return True


@pytest.mark.parametrize(("fails", "ready"), [(0, True), (3, True), (TRIES, True), (0, False)])
def test_004_17_it_is_over_at_once_whatever_fails(*, fails: int, ready: bool) -> None:
    standing, keys, audit, clock = Standing(lambda: START), Keys(fails), Log(), Clock()
    audit.ready = ready
    withdrawn: list[str] = []
    ending = CallerEnding(
        standing, keys, audit, withdrawn.append, in_thread=in_thread, now=lambda: START, clock=clock
    )
    mine = attested()
    for _ in range(2):
        ending.kill(mine, "authority-collision", "a call brought its own: field x")
    assert standing.refusal(mine.caller) is ENDED
    assert withdrawn == [mine.request_id]
    assert keys.revoked == ([] if fails else [mine.caller.key])
    clock.pump([AGAIN] * TRIES)
    assert keys.revoked == ([] if fails == TRIES else [mine.caller.key])
    assert not clock.getDelayedCalls()
    assert [record.event for record in audit.records] == (["caller-ended"] if ready else [])
