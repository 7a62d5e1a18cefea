"""What is kept at hand between requests never lets one through that the counts would refuse, nor refuses one."""

from __future__ import annotations

from dataclasses import replace

from appliance.limits import ledger
from appliance.limits.budget import Budget, Exceeded, Flow, Payer
from appliance.limits.ledger import FIRST_DESTINATION, ROW, ROWS, Ledger, Sheet, key_of
from appliance.limits.window import SECOND
from appliance.policy.limits import ScopeLimits, TenantLimits

HOUR = 3600 * SECOND
WIDE = ScopeLimits(10**6, 10**6, 10**6, 10**12, 10**12)
LIMITS = TenantLimits(WIDE, WIDE, WIDE)


class Pair:
    """Two workers of one appliance, and the clock of both."""

    def __init__(self) -> None:
        self.now = 1000 * HOUR
        mine, theirs = Sheet(), Sheet()
        self.ledgers = Ledger(mine, [theirs]), Ledger(theirs, [mine])
        self.here = Budget(lambda _: self.ledgers[0], lambda: self.now)
        self.there = Budget(lambda _: self.ledgers[1], lambda: self.now)


def payer(endpoint: str, **narrow: ScopeLimits) -> Payer:
    return Payer(endpoint, "acme", replace(LIMITS, **narrow))


def flow(budget: Budget, who: Payer, name: str) -> Flow:
    made = budget.flow(who, name)
    assert isinstance(made, Flow)
    return made


def test_what_another_worker_holds_at_a_known_destination_is_seen_by_the_next_request() -> None:
    pair = Pair()
    narrow = replace(WIDE, connections=4)
    here, there = payer("e1", destination=narrow), payer("e2", destination=narrow)
    flow(pair.here, here, "d.net:443").close()
    pair.now += 100 * SECOND
    for _ in range(4):
        flow(pair.there, there, "d.net:443")
    assert isinstance(pair.here.flow(here, "d.net:443"), Exceeded)


def test_a_row_that_another_worker_gave_to_another_destination_counts_no_more() -> None:
    pair = Pair()
    narrow = replace(WIDE, connections=4)
    here, there = payer("e1", destination=narrow), payer("e2", destination=narrow)
    flow(pair.there, there, "d.net:443").close()
    flow(pair.here, here, "d.net:443").close()
    pair.now += 3 * HOUR
    row = pair.ledgers[1].known("d.net:443")
    assert row is not None
    count = ROWS - FIRST_DESTINATION
    same = next(
        name
        for name in (f"o{number}.net:443" for number in range(10**5))
        if FIRST_DESTINATION + key_of(name)[1] % count == row.own.at // ROW
    )
    for _ in range(4):
        flow(pair.there, there, same)
    flow(pair.here, here, "d.net:443")


def test_bytes_that_a_flow_has_under_earlier_limits_count_under_the_present() -> None:
    alone = Ledger()
    budget = Budget(lambda _: alone, lambda: 1000 * HOUR)
    narrow = replace(WIDE, bytes_in=1000)
    before, now = payer("e1"), payer("e1", container=narrow, tenant=narrow)
    assert budget.request(before) is None
    download = flow(budget, before, "big.net:443")
    assert budget.request(now) is None
    assert download.received(500_000) is None
    assert isinstance(budget.request(now), Exceeded)


def test_bytes_that_another_worker_has_counted_are_seen_before_a_request_is_sent() -> None:
    pair = Pair()
    narrow = replace(WIDE, bytes_in=1000)
    here, there = payer("e1", tenant=narrow), payer("e2", tenant=narrow)
    assert pair.here.request(here) is None
    assert pair.there.request(there) is None
    flow(pair.there, there, "big.net:443").received(500_000)
    pair.now += 60 * SECOND
    assert isinstance(pair.here.request(here), Exceeded)


def test_many_destinations_do_not_part_a_flow_from_its_account() -> None:
    alone = Ledger()
    budget = Budget(lambda _: alone, lambda: 1000 * HOUR)
    who = payer("e1", destination=replace(WIDE, bytes_in=1000))
    download = flow(budget, who, "big.net:443")
    for number in range(2 * ledger.KNOWN):
        flow(budget, who, f"o{number}.net:443").close()
    flow(budget, who, "big.net:443").close()
    download.received(500_000)
    assert isinstance(budget.flow(who, "big.net:443"), Exceeded)
    assert len(alone._accounts) <= ledger.KNOWN


def test_accounts_that_are_in_use_fill_no_more_than_their_room() -> None:
    alone = Ledger()
    budget = Budget(lambda _: alone, lambda: 1000 * HOUR)
    who = payer("e1", destination=replace(WIDE, bytes_in=1000))
    open_flows = [flow(budget, who, f"o{number}.net:443") for number in range(2 * ledger.KNOWN)]
    assert len(alone._accounts) <= ledger.KNOWN
    last = f"o{2 * ledger.KNOWN - 1}.net:443"
    flow(budget, who, last).close()
    open_flows[-1].received(500_000)
    assert isinstance(budget.flow(who, last), Exceeded)
