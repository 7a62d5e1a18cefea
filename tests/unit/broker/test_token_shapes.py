"""appliance.broker.token_shapes: forms that clients take, and nothing behind them."""

from __future__ import annotations

import math
import re
import secrets

import pytest

from appliance.broker.dpop.presented import MAX_TOKEN, read_presented
from appliance.broker.scrub.scrubber import Scrubber
from appliance.broker.token_shapes import SHAPES


@pytest.mark.parametrize("name", SHAPES)
def test_000_02_each_shape_has_enough_randomness(name: str) -> None:
    shape = SHAPES[name]
    assert len(set(shape.alphabet)) == len(shape.alphabet)
    assert shape.length * math.log2(len(shape.alphabet)) > 200


@pytest.mark.parametrize("name", SHAPES)
def test_000_02_every_character_is_drawn_from_all_of_the_alphabet(name: str) -> None:
    asked: list[int] = []

    def randbelow(bound: int) -> int:
        asked.append(bound)
        return bound - 1

    shape = SHAPES[name]
    assert shape.draw(randbelow) == shape.prefix + shape.alphabet[-1] * shape.length
    assert asked == [len(shape.alphabet)] * shape.length


@pytest.mark.parametrize(
    ("name", "checked_by_clients"),
    [
        ("plain", r"[A-Za-z0-9_-]{43}"),
        ("sk-", r"sk-[A-Za-z0-9]{48}"),
        ("sk-ant-", r"sk-ant-api03-[A-Za-z0-9_-]{95}"),
        ("ghp_", r"ghp_[A-Za-z0-9]{36}"),
    ],
)
def test_000_36_the_form_is_the_providers(name: str, checked_by_clients: str) -> None:
    for _ in range(100):
        token = SHAPES[name].draw(secrets.randbelow)
        assert re.fullmatch(checked_by_clients, token)
        assert SHAPES[name].pattern.fullmatch(token)
        assert not SHAPES[name].pattern.fullmatch(token + "x")
        assert len(token) < MAX_TOKEN
        assert read_presented([(b"authorization", b"Bearer " + token.encode())]).token == token


@pytest.mark.parametrize("name", [name for name in SHAPES if SHAPES[name].prefix])
def test_000_36_the_scrubber_catches_every_shape_with_a_prefix(name: str) -> None:
    scrubber = Scrubber()
    for _ in range(200):
        token = SHAPES[name].draw(secrets.randbelow)
        for text in (token, f"key={token}&x=1", f'{{"key": "{token}"}}', f"x {token}."):
            assert SHAPES[name].prefix not in scrubber.text(text)
            assert token[-20:] not in scrubber.text(text)


def test_000_36_the_scrubber_catches_a_plain_token_where_it_is_told_of_it() -> None:
    token = SHAPES["plain"].draw(secrets.randbelow)
    assert token not in Scrubber((token.encode(),)).text(f"key={token}")
    assert token in Scrubber().text(f"key={token}")


def test_000_36_every_shape_is_tried() -> None:
    assert set(SHAPES) == {"plain", "sk-", "sk-ant-", "ghp_"}
