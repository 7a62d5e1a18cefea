"""A caller that collided is ended once, on record, also where neither record nor database can be written."""

from __future__ import annotations

import pytest

from appliance.broker.callers.ending import CallerEnding
from appliance.broker.callers.standing import ENDED, Standing
from tests.unit.broker.callers.support import START, in_thread
from tests.unit.broker.calls.test_for_caller import attested
from tests.unit.gateway.support import Log


class Keys:
    def __init__(self, *, fails: bool) -> None:
        self.revoked: list[str] = []
        self.fails = fails

    def revoke(self, key: str, now: object) -> bool:
        if self.fails:
            raise OSError
        self.revoked.append(key)
        return True


@pytest.mark.parametrize(("fails", "ready"), [(False, True), (True, True), (False, False)])
def test_004_17_it_is_over_at_once_whatever_fails(*, fails: bool, ready: bool) -> None:
    standing, keys, audit = Standing(lambda: START), Keys(fails=fails), Log()
    audit.ready = ready
    withdrawn: list[str] = []
    ending = CallerEnding(standing, keys, audit, withdrawn.append, in_thread=in_thread, now=lambda: START)
    mine = attested()
    for _ in range(2):
        ending.kill(mine, "authority-collision", "a call brought its own: field x")
    assert standing.refusal(mine.caller) is ENDED
    assert withdrawn == [mine.request_id]
    assert keys.revoked == ([] if fails else [mine.caller.key])
    assert [record.event for record in audit.records] == (["caller-ended"] if ready else [])
