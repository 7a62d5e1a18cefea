"""Exactly the members, of exactly the types, and nothing of them is told again."""

from __future__ import annotations

import pytest

from appliance.broker.api.messages import SessionWish, parsed
from appliance.broker.calls.dials import CallRefused


def test_a_message_is_read() -> None:
    assert parsed(SessionWish, b'{"ttl": 5}') == SessionWish(ttl=5)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"ttl":5,"ttl":5}', b'{"ttl":"canary"}', b'{"ttl":5,"canary":1}', b'\xff{"ttl":5}'],
)
def test_000_40_anything_else_is_not(body: bytes) -> None:
    with pytest.raises(CallRefused) as caught:
        parsed(SessionWish, body)
    assert (caught.value.refusal.status, caught.value.refusal.reason) == (400, "body-invalid")


def test_what_was_sent_is_not_quoted() -> None:
    with pytest.raises(CallRefused) as caught:
        parsed(SessionWish, b'{"ttl":"a-secret-value"}')
    assert "a-secret-value" not in caught.value.refusal.detail
