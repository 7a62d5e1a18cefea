"""appliance.limits.ledger: the quick answer never says yes where the exact one says no."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.limits.ledger import Account, Counter, Ledger, Sheet, key_of
from appliance.limits.window import SECOND
from appliance.policy.limits import ScopeLimits

MINUTE = 60 * SECOND
NOW = 1000 * MINUTE
LIMITS = ScopeLimits(10, 10, requests_per_second=5, bytes_out=50, bytes_in=80)
NARROWER = ScopeLimits(10, 10, requests_per_second=5, bytes_out=20, bytes_in=20)

USES = st.lists(
    st.tuples(
        st.sampled_from(["ours", "theirs"]),
        st.sampled_from([Counter.REQUESTS, Counter.BYTES_OUT, Counter.BYTES_IN]),
        st.integers(1, 40),
        st.integers(0, 70 * SECOND),
        st.sampled_from([LIMITS, NARROWER]),
    ),
    max_size=30,
)


def exactly(account: Account, now: int, limits: ScopeLimits) -> bool:
    return not (
        account.wait(Counter.REQUESTS, now, SECOND, limits.requests_per_second)
        or account.wait(Counter.BYTES_OUT, now, MINUTE, limits.bytes_out)
        or account.wait(Counter.BYTES_IN, now, MINUTE, limits.bytes_in)
    )


@given(uses=USES, shared=st.booleans())
def test_room_is_room(*, uses: list[tuple[str, Counter, int, int, ScopeLimits]], shared: bool) -> None:
    """Alone always; beside another worker but for what that one did since bytes of ours were counted."""
    other = Sheet()
    account = Ledger(Sheet(), [other] if shared else []).tenant
    now = NOW
    for who, counter, amount, later, limits in uses:
        now += later
        if who == "theirs":
            if shared and counter is Counter.REQUESTS:
                Account(other.row(0)).add(counter, now, SECOND, 1)
        elif counter is Counter.REQUESTS:
            account.add(counter, now, SECOND)
        else:
            limit = limits.bytes_out if counter is Counter.BYTES_OUT else limits.bytes_in
            within = account.charge(counter, now, MINUTE, amount, limits)
            assert not within or account.used(counter, now, MINUTE) <= limit
        if account.has_room(now, MINUTE, limits):
            assert exactly(account, now, limits)


def test_what_another_worker_charged_is_seen_with_the_next_bytes() -> None:
    sheets = Sheet(), Sheet()
    ours, theirs = Ledger(sheets[0], [sheets[1]]).tenant, Ledger(sheets[1], [sheets[0]]).tenant
    assert ours.has_room(NOW, MINUTE, LIMITS)
    assert not theirs.charge(Counter.BYTES_OUT, NOW, MINUTE, 51, LIMITS)
    assert not ours.charge(Counter.BYTES_OUT, NOW, MINUTE, 1, LIMITS)
    assert not ours.has_room(NOW, MINUTE, LIMITS)


def test_bytes_that_come_to_the_limit_leave_no_room() -> None:
    account = Ledger().tenant
    assert account.has_room(NOW, MINUTE, LIMITS)
    assert account.charge(Counter.BYTES_IN, NOW, MINUTE, LIMITS.bytes_in, LIMITS)
    assert not account.has_room(NOW, MINUTE, LIMITS)
    assert account.has_room(NOW + 3 * MINUTE, MINUTE, LIMITS)


def test_a_known_account_is_given_up_with_its_row() -> None:
    sheet = Sheet()
    ledger = Ledger(sheet)
    first = ledger.destination("a.net:443", NOW, MINUTE)
    assert ledger.destination("a.net:443", NOW, MINUTE) is first
    first.own.rename(key_of("b.net:443"))
    first.own.opened()  # by b.net
    again = ledger.destination("a.net:443", NOW, MINUTE)
    assert again.own.at != first.own.at
    assert again.holds_its_row
