"""Names: every disguise is refused with its reason, and what is taken is canonical (attack class C)."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.names import Authority, HostName, InvalidName, format_host, parse_host, split_authority
from tests.vectors.names import REFUSED, TAKEN


@pytest.mark.parametrize(("attack", "text", "reason"), REFUSED)
def test_disguised_or_malformed_host_is_refused(attack: str, text: str, reason: str) -> None:
    with pytest.raises(InvalidName) as refused:
        parse_host(text)
    assert refused.value.reason == reason, attack
    assert refused.value.detail.isprintable()


@pytest.mark.parametrize(("attack", "text"), [(a, t) for a, t, _ in REFUSED if ":" not in t and "[" not in t])
def test_a_name_on_the_wire_is_refused_too(attack: str, text: str) -> None:
    with pytest.raises(InvalidName):
        HostName.parse(text.encode())


@pytest.mark.parametrize(("text", "canonical"), TAKEN)
def test_host_in_canonical_form(text: str, canonical: str) -> None:
    assert str(parse_host(text)) == canonical


def test_u_labels_are_for_people_not_for_the_wire() -> None:
    with pytest.raises(InvalidName) as refused:
        HostName.parse("bücher.example".encode())
    assert refused.value.reason == "non-ascii"
    with pytest.raises(InvalidName) as refused:
        parse_host("bücher.example".encode())
    assert refused.value.reason == "non-ascii"


@pytest.mark.parametrize("text", ["OK.com", "ok.com.", "127.1", "", "bücher.example"])
def test_no_way_round_the_parser(text: str) -> None:
    with pytest.raises(InvalidName):
        HostName(text)


def test_labels_leftmost_first() -> None:
    assert HostName("a.b.c").labels == ("a", "b", "c")


@pytest.mark.parametrize(
    ("text", "default", "canonical"),
    [
        ("ok.com", 443, "ok.com:443"),
        ("OK.com.:8443", 443, "ok.com:8443"),
        ("1.2.3.4:80", None, "1.2.3.4:80"),
        ("[::1]:80", None, "[::1]:80"),
        ("[::1]", 443, "[::1]:443"),
    ],
)
def test_authority_in_canonical_form(text: str, default: int | None, canonical: str) -> None:
    assert str(Authority.parse(text, default)) == canonical
    assert str(Authority.parse(text.encode(), default)) == canonical
    assert Authority.parse(canonical) == Authority.parse(text, default)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ok.com", "port-missing"),
        ("ok.com:", "bad-port"),
        ("ok.com:0", "bad-port"),
        ("ok.com:080", "bad-port"),
        ("ok.com:65536", "bad-port"),
        ("ok.com:+80", "bad-port"),
        ("ok.com: 80", "bad-port"),
        ("ok.com:８０", "bad-port"),
        ("ok.com:80:80", "bad-port"),
        ("ok.com:80@evil.com", "userinfo"),
        ("user@ok.com:80", "userinfo"),
        ("user:pw@ok.com:80", "userinfo"),
        ("ok.com\\@evil.com:80", "userinfo"),
        ("::1:80", "empty"),
        ("[::1]x:80", "bad-brackets"),
        ("[::1]80", "bad-brackets"),
        ("[::1:80", "bad-brackets"),
        ("[[::1]]:80", "bad-brackets"),
        ("[fe80::1%25eth0]:80", "zone-id"),
        (":80", "empty"),
        ("127.1:80", "address-form"),
    ],
)
def test_malformed_authority_c7_c8(text: str, reason: str) -> None:
    with pytest.raises(InvalidName) as refused:
        Authority.parse(text)
    assert refused.value.reason == reason


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_authority_cannot_hold_an_impossible_port(port: int) -> None:
    with pytest.raises(InvalidName):
        Authority(HostName("ok.com"), port)


def test_split_authority_tells_a_missing_port_from_a_written_one() -> None:
    assert split_authority("ok.com") == (HostName("ok.com"), None)
    assert split_authority("ok.com:443") == (HostName("ok.com"), 443)
    assert format_host(IPv6Address("::1")) == "[::1]"
    assert format_host(IPv4Address("1.2.3.4")) == "1.2.3.4"


@given(st.text() | st.from_regex(r"[a-z0-9.\-_:@%\[\]]{0,40}"))
def test_whatever_is_taken_is_its_own_canonical_form(text: str) -> None:
    try:
        host = parse_host(text)
    except InvalidName:
        return
    assert parse_host(format_host(host)) == host
    assert format_host(host).isascii()
    assert len(format_host(host)) <= 253


@given(st.binary() | st.text())
def test_no_other_exception(text: bytes | str) -> None:
    for read in (parse_host, split_authority, HostName.parse):
        with contextlib.suppress(InvalidName):
            read(text)
