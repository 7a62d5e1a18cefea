"""Exactly the members, of exactly the types, and nothing of them is told again."""

from __future__ import annotations

import json

import pytest

from appliance.broker.api.messages import MAX_MEMBERS, ExecuteWish, SessionWish, parsed
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


@pytest.mark.parametrize("name", ["headers", "actor", "scopes", None])
def test_000_40_of_each_part_there_are_so_many_members(name: str | None) -> None:
    wish = {"account": "a", "url": "https://a.example/", "method": "GET", "headers": {}, "body": None}
    assert parsed(
        ExecuteWish, json.dumps(wish | {"headers": dict.fromkeys(map(str, range(MAX_MEMBERS)), "")}).encode()
    )
    many = dict.fromkeys(map(str, range(MAX_MEMBERS + 1)), "")
    message = wish | (many if name is None else {name: list(many) if name == "scopes" else many})
    with pytest.raises(CallRefused) as caught:
        parsed(ExecuteWish, json.dumps(message).encode())
    assert "more than 256 members" in caught.value.refusal.detail


def test_what_was_sent_is_not_quoted() -> None:
    with pytest.raises(CallRefused) as caught:
        parsed(SessionWish, b'{"ttl":"a-secret-value"}')
    assert "a-secret-value" not in caught.value.refusal.detail
