"""Tokens and lines."""

from __future__ import annotations

from time import process_time

import pytest

from appliance.http1 import grammar


@pytest.mark.parametrize("name", [b"a", b"X-A", b"!#$%&'*+-.^_`|~0"])
def test_token(name: bytes) -> None:
    assert grammar.token(name)


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\n", b"(", b"\x80", b"a\x00", b'"a"', b"a/b"])
def test_no_token(name: bytes) -> None:
    assert not grammar.token(name)


def test_list_members() -> None:
    assert grammar.list_members(b" Close ,, \tX-A\t,keep-alive") == [b"close", b"x-a", b"keep-alive"]
    assert grammar.list_members(b"") == []


@pytest.mark.parametrize("octet", [b"\n", b"\x00", b"\x0b", b"\x7f", b"\x1f"])
def test_foul_octets(octet: bytes) -> None:
    assert grammar.foul_in_request(b"a" + octet)
    assert grammar.foul_in_response(b"a" + octet)


def test_foul_octets_by_side() -> None:
    assert grammar.foul_in_request(b"\x80")
    assert not grammar.foul_in_response(b"\x80")
    for foul in (grammar.foul_in_request, grammar.foul_in_response):
        assert not foul(b"a\tb\r\nc ~\r")  # the CR at the end may still become CRLF
        assert foul(b"\r\r\n")


@pytest.mark.parametrize(
    "text",
    [b"\r\n" + b"a" * 60000, b"\r\na:" + b" " * 60000, b"\r\na" * 15000, b"\r\na: b" * 10000 + b"\x00"],
)
def test_field_lines_take_linear_time(text: bytes) -> None:
    started = process_time()  # of our own work alone: a busy machine makes no difference
    grammar.request_field_lines(text)
    grammar.response_field_lines(text)
    assert process_time() - started < 1  # a quadratic reading takes many seconds
