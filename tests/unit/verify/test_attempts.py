from __future__ import annotations

import pytest

from appliance.verify.attempts import (
    Way,
    absolute,
    by,
    command,
    get,
    label,
    lines,
    many,
    raw,
    refused,
    refused_twice,
)
from appliance.verify.case import Layer, Outcome
from appliance.verify.world import Site
from tests.unit.verify.first_answer import attempts

SITE = Site("a.net", "192.0.2.1")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"GET /x?y HTTP/1.1\r\nHost: a\r\n\r\n", b"GET http://a.net/x?y HTTP/1.1\r\nHost: a\r\n\r\n"),
        (b"GET //x HTTP/1.2\r\n\r\n", b"GET http://a.net//x HTTP/1.2\r\n\r\n"),
        (b"GET http://b/ HTTP/1.1\r\n\r\n", b"GET http://b/ HTTP/1.1\r\n\r\n"),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n"),
        (b"GET  / HTTP/1.1\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n"),
        (b"\0\1", b"\0\1"),
    ],
)
def test_only_origin_form_becomes_absolute_and_nothing_else_changes(request_: bytes, expected: bytes) -> None:
    assert absolute(request_, SITE.name) == expected


def test_each_way_leads_where_it_says() -> None:
    request = get(SITE.name, "/x")
    proxy, direct, tunnel, tls = (by(way, SITE, "n", request) for way in Way)
    assert (proxy.to, proxy.connect, proxy.server_name) == (None, None, None)
    assert proxy.send == (b"GET http://a.net/x HTTP/1.1\r\nHost: a.net\r\n\r\n",)
    assert (direct.to, direct.connect, direct.server_name) == (("192.0.2.1", 80), None, None)
    assert (tunnel.to, tunnel.connect, tunnel.server_name) == (None, "a.net:443", "a.net")
    assert (tls.to, tls.connect, tls.server_name) == (("192.0.2.1", 443), None, "a.net")
    assert direct.send == tunnel.send == tls.send == (request,)


def test_what_is_sent_arrives_at_the_sender_and_what_is_expected_is_its_line() -> None:
    several = [
        raw("one", b"\0\xff", "closed", to=("192.0.2.1", 7)),
        many("two", [b"GET / x", b"PUT / x"], ["a", "b"]),
    ]
    case = refused("E1-x", "", several, ())
    assert [a["send"] for a in attempts(case)] == [["AP8="], ["R0VUIC8geFBVVCAvIHg="]]
    assert attempts(case)[1]["methods"] == ["GET", "PUT"]
    assert case.expect == lines(several) == ("one 192.0.2.1:7: closed", "two proxy: a, b")
    assert (case.outcome, case.layers) == (Outcome.REFUSED, frozenset({Layer.GATEWAY}))
    assert command(several, in_turn=True)[-1] == "1"


def test_the_fallback_is_asked_only_what_it_can_hear_and_gives_no_reasons() -> None:
    several = [raw("one", b"x", "closed", to=("192.0.2.1", 7)), raw("two", b"x", "closed")]
    (strict, by_squid), (_, lenient) = (
        refused_twice("E1-x", "t", several, (), hides=hides) for hides in (None, ())
    )
    assert (strict.layers, by_squid.layers) == ({Layer.GATEWAY}, {Layer.SQUID})
    assert [a["name"] for a in attempts(by_squid)] == ["two"]
    assert (by_squid.id, by_squid.expect, by_squid.forbid) == ("E1-x-fallback", (), (" served ",))
    assert lenient.forbid == ()


def test_a_command_fits_into_what_exec_takes_for_one_word() -> None:
    big = [raw(label("E3", n, "big"), b"a" * 100_000) for n in range(20)]
    assert all(len(word) < 100_000 for word in command(big))


def test_a_label_is_readable_and_bounded() -> None:
    assert label("E1", 3, "Content-Length: b' +5'") == "E1.3-content-length-b-5"
    assert len(label("E1", 3, "x" * 500)) < 60
