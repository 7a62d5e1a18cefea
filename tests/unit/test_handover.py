"""The gateway's word about whose request follows."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from appliance.handover import MAX_LINE, Attestation, parse_attestation

GIVEN = Attestation(
    "1a-1",
    "acme",
    "e" * 64,
    "c" * 64,
    "run-7",
    "10.1.2.3:4567",
    0,
    "openai-acme",
    "g1",
    443,
    "proxy-authorization",
)


def test_what_is_said_is_what_is_read() -> None:
    line = GIVEN.line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert parse_attestation(line[:-1]) == GIVEN


def test_the_line_is_compact_json_of_all_members() -> None:
    odd = Attestation(**{**asdict(GIVEN), "run": 'a"\\\u2028\ud800', "worker": -1})
    assert odd.line() == json.dumps(asdict(odd), separators=(",", ":")).encode("ascii") + b"\n"


def test_a_line_end_in_a_value_stays_inside_the_line() -> None:
    odd = Attestation(**{**asdict(GIVEN), "run": "a\nb\r\u2028"})
    assert odd.line().count(b"\n") == 1
    assert parse_attestation(odd.line()[:-1]) == odd


@pytest.mark.parametrize(
    "change",
    [
        {"request_id": "a\r\nX: y"},
        {"request_id": "\u20ac"},
        {"request_id": ""},
        {"source": "\ud800"},
        {"worker": "0"},
        {"worker": True},
        {"tenant": None},
        {"port": 1.0},
        {"further": 1},
    ],
)
def test_another_shape_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        parse_attestation(json.dumps({**asdict(GIVEN), **change}).encode())


@pytest.mark.parametrize("missing", sorted(asdict(GIVEN)))
def test_nothing_may_be_missing(missing: str) -> None:
    members = asdict(GIVEN)
    del members[missing]
    with pytest.raises(ValueError):
        parse_attestation(json.dumps(members).encode())


def test_a_member_stands_once() -> None:
    twice = GIVEN.line()[:-2] + b',"tenant":"globex"}'
    with pytest.raises(ValueError, match="twice"):
        parse_attestation(twice)


@pytest.mark.parametrize("line", [b"", b"[]", b"\xff", b"{", b"null"])
def test_what_is_no_object_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        parse_attestation(line)


def test_a_line_that_nobody_would_read_is_not_written() -> None:
    with pytest.raises(ValueError, match="too long"):
        Attestation(**{**asdict(GIVEN), "withheld": "x" * MAX_LINE}).line()
