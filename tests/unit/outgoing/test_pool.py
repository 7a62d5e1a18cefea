from __future__ import annotations

from gateway.support import OTHER_PUBLIC, PUBLIC, SITE
from twisted.internet.task import Clock

from appliance.gateway.limits import Limits
from appliance.names import HostName
from appliance.outgoing.deadlines import NEVER, Deadlines
from appliance.outgoing.pool import Key, Pool

KEY = Key("acme", secure=False, host=SITE, port=80)


class Resting:
    def __init__(self, key=KEY, address=PUBLIC) -> None:
        self.key, self.address = key, address
        self.deadline = NEVER
        self.aborted = False
        self.quiet = True
        self.delivering = False

    def abort(self) -> None:
        self.aborted = True


def pool(**limits) -> Pool:
    return Pool(Limits(**limits), Deadlines(Clock()))


def test_what_rested_is_used_again_once() -> None:
    resting = Resting()
    idle = pool()
    idle.put(resting)
    assert resting.deadline == 30.0
    assert idle.take(KEY, (PUBLIC,)) is resting
    assert resting.deadline == NEVER
    assert idle.take(KEY, (PUBLIC,)) is None
    assert len(idle) == 0


def test_every_part_of_the_key_and_the_address_must_be_equal_e20() -> None:
    idle = pool()
    idle.put(Resting())
    for other in (
        KEY._replace(tenant="beta"),KEY._replace(secure=True),KEY._replace(host=HostName("other.net")),KEY._replace(port=81),
    ):  # fmt: skip
        assert idle.take(other, (PUBLIC,)) is None
    assert idle.take(KEY, (OTHER_PUBLIC,)) is None
    assert idle.take(KEY, (OTHER_PUBLIC, PUBLIC)) is not None


def test_the_pool_is_bounded_for_each_key_and_in_all() -> None:
    idle = pool(pooled_per_target=1, pooled=2)
    first, second, third, fourth = (
        Resting(), Resting(), Resting(KEY._replace(port=81)), Resting(KEY._replace(port=82)),
    )  # fmt: skip
    for resting in (first, second, third, fourth):
        idle.put(resting)
    assert [r.aborted for r in (first, second, third, fourth)] == [False, True, False, True]


def test_what_is_gone_is_not_given_out() -> None:
    idle, resting = pool(), Resting()
    idle.put(resting)
    idle.remove(resting)
    idle.remove(resting)
    assert len(idle) == 0
    assert idle.take(KEY, (PUBLIC,)) is None


def test_closing_ends_all() -> None:
    idle, resting = pool(), Resting()
    idle.put(resting)
    idle.close()
    assert resting.aborted


def test_one_to_which_something_came_while_it_rested_is_ended_and_not_used() -> None:
    idle = pool()
    good, poisoned = Resting(), Resting()
    idle.put(good)
    idle.put(poisoned)
    poisoned.quiet = False
    assert idle.take(KEY, (PUBLIC,)) is good
    assert (good.aborted, poisoned.aborted, len(idle)) == (False, True, 0)


def test_one_that_still_delivers_is_left_where_it_is() -> None:
    idle, resting = pool(), Resting()
    assert not idle.delivering(KEY)
    idle.put(resting)
    assert not idle.delivering(KEY)
    resting.delivering = True
    assert idle.delivering(KEY)
    assert not idle.delivering(KEY._replace(tenant="beta"))
    assert idle.take(KEY, (PUBLIC,)) is None
    assert (resting.aborted, len(idle)) == (False, 1)
    resting.delivering = False
    assert idle.take(KEY, (PUBLIC,)) is resting


def test_one_tenant_leaves_room_for_anothers_connections_f4() -> None:
    idle = pool(pooled=3, pooled_per_tenant=2)
    mine = [Resting(KEY._replace(port=port)) for port in (81, 82, 83)]
    theirs = Resting(KEY._replace(tenant="beta"))
    for resting in (*mine, theirs):
        idle.put(resting)
    assert [r.aborted for r in (*mine, theirs)] == [False, False, True, False]
    assert mine[2].key not in idle._idle  # nor is anything kept of targets for which there is no room
    assert idle.take(mine[0].key, (PUBLIC,)) is mine[0]
    idle.put(mine[0])
    idle.remove(mine[1])
    assert (len(idle), mine[0].aborted) == (2, False)
