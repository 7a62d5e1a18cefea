"""appliance.broker.vault.envelope: what was changed or moved does not open."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from appliance.broker.vault.envelope import (
    KEY,
    NONCE,
    TAG,
    Damaged,
    LocalKey,
    Place,
    Sealed,
    bound,
    clear,
    rewrap,
    seal,
    unseal,
)

PLACE = Place("acme", "openai", "key", 3, "static")
SECRET = b'{"kind":"static","value":"canary-0f1e2d3c"}'


def local(octet: int = 7) -> LocalKey:
    return LocalKey(bytearray([octet]) * KEY, secrets.token_bytes)


def sealed() -> Sealed:
    return seal(local(), PLACE, SECRET, secrets.token_bytes)


def test_what_was_sealed_opens_and_shows_nothing() -> None:
    one = sealed()
    assert unseal(local(), PLACE, one) == SECRET
    assert isinstance(unseal(local(), PLACE, one), bytearray)
    assert b"canary" not in one.sealed + one.wrapped
    assert (len(one.wrapped), len(one.sealed)) == (NONCE + KEY + TAG, NONCE + len(SECRET) + TAG)


def test_no_two_seals_share_a_key_or_a_nonce() -> None:
    asked: list[int] = []

    def count(number: int) -> bytes:
        asked.append(number)
        return secrets.token_bytes(number)

    first, second = (seal(LocalKey(bytearray(KEY), count), PLACE, SECRET, count) for _ in range(2))
    assert asked == [KEY, NONCE, NONCE] * 2
    assert first.sealed[:NONCE] != second.sealed[:NONCE]
    assert first.wrapped[:NONCE] != second.wrapped[:NONCE]
    assert first.sealed[NONCE:] != second.sealed[NONCE:]


def test_000_37_every_flipped_bit_of_ciphertext_and_data_key_is_found() -> None:
    one = sealed()
    for field in ("wrapped", "sealed"):
        octets = getattr(one, field)
        for bit in range(len(octets) * 8):
            flipped = bytearray(octets)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(Damaged):
                unseal(local(), PLACE, replace(one, **{field: bytes(flipped)}))


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"tenant": "other"},
        {"integration": "anthropic"},
        {"name": "key2"},
        {"version": 2},
        {"kind": "hmac"},
        {"tenant": "acmeopenai", "integration": ""},
        {"tenant": "acm", "integration": "eopenai"},
    ],
)
def test_000_37_a_row_moved_elsewhere_does_not_open(elsewhere: dict[str, object]) -> None:
    with pytest.raises(Damaged):
        unseal(local(), replace(PLACE, **elsewhere), sealed())  # type: ignore[arg-type]


def test_000_37_each_part_is_bound_by_itself() -> None:
    one, other = sealed(), seal(local(), replace(PLACE, tenant="other"), SECRET, secrets.token_bytes)
    for mixed in (Sealed(one.wrapped, other.sealed), Sealed(other.wrapped, one.sealed)):
        for place in (PLACE, replace(PLACE, tenant="other")):
            with pytest.raises(Damaged):
                unseal(local(), place, mixed)


def test_a_data_key_is_no_secret_and_a_secret_no_data_key() -> None:
    kek = local()
    wrapped = kek.wrap(bytes(KEY), PLACE.bound("secret"))
    with pytest.raises(Damaged):
        kek.unwrap(wrapped, PLACE.bound("data key"))


def test_another_kek_opens_nothing() -> None:
    with pytest.raises(Damaged):
        unseal(local(8), PLACE, sealed())


@pytest.mark.parametrize(
    "octets", [b"", b"x" * (NONCE + TAG - 1), b"x" * (NONCE + TAG), b"x" * 59, b"x" * 61]
)
def test_what_is_cut_does_not_open(octets: bytes) -> None:
    for cut in (replace(sealed(), sealed=octets), replace(sealed(), wrapped=octets)):
        with pytest.raises(Damaged):
            unseal(local(), PLACE, cut)


def test_a_wrapped_key_of_another_length_is_refused() -> None:
    class Short(LocalKey):
        def unwrap(self, wrapped: bytes, associated: bytes) -> bytearray:
            return super().unwrap(wrapped, associated)[:16]

    with pytest.raises(Damaged):
        unseal(Short(bytearray([7]) * KEY, secrets.token_bytes), PLACE, sealed())


def test_rewrapped_opens_by_the_new_key_alone() -> None:
    one = sealed()
    again = replace(one, wrapped=rewrap(local(), local(9), PLACE, one.wrapped))
    assert unseal(local(9), PLACE, again) == SECRET
    with pytest.raises(Damaged):
        unseal(local(), PLACE, again)
    with pytest.raises(Damaged):
        rewrap(local(), local(9), replace(PLACE, tenant="other"), one.wrapped)


def test_a_closed_key_opens_nothing() -> None:
    kek = local()
    kek.close()
    with pytest.raises(Damaged):
        unseal(kek, PLACE, sealed())


def test_a_kek_has_32_octets() -> None:
    with pytest.raises(ValueError, match="32 octets"):
        LocalKey(bytearray(16), secrets.token_bytes)


def test_data_keys_are_overwritten_in_our_memory() -> None:
    seen: list[bytearray] = []

    class Spy(LocalKey):
        def wrap(self, data_key: bytes | bytearray, associated: bytes) -> bytes:
            assert isinstance(data_key, bytearray)
            assert any(data_key)
            seen.append(data_key)
            return super().wrap(data_key, associated)

        def unwrap(self, wrapped: bytes, associated: bytes) -> bytearray:
            seen.append(super().unwrap(wrapped, associated))
            assert any(seen[-1])
            return seen[-1]

    kek = Spy(bytearray([7]) * KEY, secrets.token_bytes)
    one = seal(kek, PLACE, SECRET, secrets.token_bytes)
    unseal(kek, PLACE, one)
    rewrap(kek, kek, PLACE, one.wrapped)
    with pytest.raises(Damaged):
        unseal(kek, PLACE, replace(one, sealed=one.sealed[:-1] + bytes([one.sealed[-1] ^ 1])))
    assert len(seen) == 5
    assert not any(map(any, seen))


@given(st.lists(st.text(max_size=4), max_size=4), st.lists(st.text(max_size=4), max_size=4))
def test_no_two_lists_of_fields_have_the_same_octets(one: list[str], other: list[str]) -> None:
    assert (bound(*one) == bound(*other)) == (one == other)


def test_fields_cannot_run_into_each_other() -> None:
    for one, other in itertools.combinations(
        [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc"), ("abc",)], 2
    ):
        assert bound(*one) != bound(*other)


def test_the_form_is_what_it_was() -> None:
    """A stored secret must open in later versions: nonce, ciphertext and tag in the order of SP 800-38D."""
    associated = bound("egress vault 1", "secret", "acme", "openai", "key", "3", "static")
    assert associated == PLACE.bound("secret")
    assert associated[:22] == b"\x00\x00\x00\x0eegress vault 1" + b"\x00\x00\x00\x06"
    data_key, kek = bytes([1]) * KEY, bytes([7]) * KEY
    stored = Sealed(
        bytes(NONCE) + AESGCM(kek).encrypt(bytes(NONCE), data_key, PLACE.bound("data key")),
        bytes(NONCE) + AESGCM(data_key).encrypt(bytes(NONCE), SECRET, associated),
    )
    assert unseal(local(), PLACE, stored) == SECRET


def test_clear_overwrites_in_place() -> None:
    buffer = bytearray(b"secret")
    clear(buffer)
    assert buffer == bytes(6)
