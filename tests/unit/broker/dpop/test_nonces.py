"""appliance.broker.dpop.nonces: unpredictable, of one workload, good for one to two periods."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.broker.dpop.nonces import KEY_SIZE, PERIOD, Nonces

KEY = bytes(range(KEY_SIZE))
START = 1_800_000_000 // PERIOD * PERIOD


def test_the_current_one_and_the_one_before_are_accepted() -> None:
    nonces = Nonces(KEY)
    seen = [nonces.accepted("acme", "w", START + n * PERIOD) for n in range(5)]
    for (current, _), (_, previous) in itertools.pairwise(seen):
        assert current == previous
    assert len({current for current, _ in seen}) == 5


def test_a_nonce_is_good_for_one_to_two_periods() -> None:
    nonces = Nonces(KEY)
    given_late, _ = nonces.accepted("acme", "w", START + PERIOD - 1)
    assert given_late in nonces.accepted("acme", "w", START + PERIOD - 1 + PERIOD)
    assert given_late not in nonces.accepted("acme", "w", START + 2 * PERIOD)


def test_rfc9449_d_without_the_key_no_nonce_can_be_told() -> None:
    assert Nonces(KEY).accepted("acme", "w", START) == Nonces(KEY).accepted("acme", "w", START)
    other = Nonces(bytes(KEY_SIZE)).accepted("acme", "w", START)
    assert not set(other) & set(Nonces(KEY).accepted("acme", "w", START))


@settings(deadline=None)
@given(
    st.tuples(st.text(max_size=5), st.text(max_size=5)), st.tuples(st.text(max_size=5), st.text(max_size=5))
)
def test_each_workload_has_its_own(one: tuple[str, str], other: tuple[str, str]) -> None:
    nonces = Nonces(KEY)
    first, second = nonces.accepted(*one, START), nonces.accepted(*other, START)
    assert (first == second) == (one == other)
    assert one == other or not set(first) & set(second)


def test_a_nonce_shows_nothing_and_fits_a_field() -> None:
    """RFC 9449 section 8.1: NQCHAR."""
    for nonce in Nonces(KEY).accepted("acme", "spiffe://lab/tenant/acme/workload/c1", START):
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", nonce)


@pytest.mark.parametrize(
    ("key", "period"), [(b"", 300), (bytes(31), 300), (bytes(33), 300), (KEY, 0), (KEY, -1)]
)
def test_000_18_without_a_key_there_are_no_nonces(key: bytes, period: int) -> None:
    with pytest.raises(ValueError):
        Nonces(key, period)
