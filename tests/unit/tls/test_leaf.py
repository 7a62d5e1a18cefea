"""appliance.tls.leaf: real handshakes with a client as strict as Python 3.13 (D10, D12)."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta

import pytest
from OpenSSL import SSL

from appliance.names import HostName
from appliance.tls.leaf import LeafCache, LeafUnavailable, NoCommonProtocol

from .chains import NOW, handshake, make_intermediate, strict_client

OK = HostName.parse("ok.example")
MADE = make_intermediate()


class Calendar:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


@pytest.fixture
def cache(calendar: Calendar) -> LeafCache:
    cache = LeafCache(calendar)
    cache.install(MADE)
    return cache


@pytest.mark.parametrize(
    "text", ["ok.example", "xn--bcher-kva.example", "a" * 63 + "." + "b" * 63 + ".example"]
)
def test_a_strict_client_accepts_the_chain_that_is_sent(cache: LeafCache, text: str) -> None:
    connected = handshake(strict_client(MADE.root), cache.mint(HostName.parse(text)), text)
    certificate = connected.getpeercert()
    assert certificate is not None
    assert certificate["subjectAltName"] == (("DNS", text),)


def test_a_client_that_trusts_another_root_refuses(cache: LeafCache) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(strict_client(make_intermediate().root), cache.mint(OK), OK.text)


def test_the_server_name_of_the_handshake_does_not_choose_the_certificate(cache: LeafCache) -> None:
    """There is no default context to fall back to: another name gets the judged name's leaf, and fails."""
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(strict_client(MADE.root), cache.mint(OK), "evil.example")


@pytest.mark.parametrize("offered", [(), ("http/1.1",), ("h2", "http/1.1")])
def test_http_1_1_is_selected_when_offered(cache: LeafCache, offered: tuple[str, ...]) -> None:
    connected = handshake(strict_client(MADE.root, *offered), cache.mint(OK), OK.text)
    assert connected.selected_alpn_protocol() == ("http/1.1" if offered else None)


def test_a_client_that_speaks_only_h2_is_refused_in_the_handshake(cache: LeafCache) -> None:
    with pytest.raises(NoCommonProtocol):
        handshake(strict_client(MADE.root, "h2"), cache.mint(OK), OK.text)


def test_tls_1_2_is_spoken(cache: LeafCache) -> None:
    client = strict_client(MADE.root)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert handshake(client, cache.mint(OK), OK.text).version() == "TLSv1.2"


def test_tls_1_1_is_not(cache: LeafCache) -> None:
    client = SSL.Context(SSL.TLS_CLIENT_METHOD)
    client.set_min_proto_version(SSL.TLS1_VERSION)
    client.set_max_proto_version(SSL.TLS1_1_VERSION)
    client.set_cipher_list(b"ALL:@SECLEVEL=0")
    ours, theirs = SSL.Connection(client, None), SSL.Connection(cache.mint(OK), None)
    ours.set_connect_state()
    theirs.set_accept_state()
    with pytest.raises(SSL.WantReadError):
        ours.do_handshake()
    theirs.bio_write(ours.bio_read(65536))
    with pytest.raises(SSL.Error, match=r"unsupported protocol|version too low"):
        theirs.do_handshake()


def test_a_name_is_minted_once(cache: LeafCache) -> None:
    assert cache.mint(OK) is cache.mint(OK)


def test_it_is_minted_anew_before_its_end(cache: LeafCache, calendar: Calendar) -> None:
    first = cache.mint(OK)
    calendar.now = NOW + timedelta(hours=22, minutes=59)
    assert cache.mint(OK) is first
    calendar.now = NOW + timedelta(hours=23)
    assert cache.mint(OK) is not first


def test_a_new_intermediate_replaces_what_was_minted(cache: LeafCache) -> None:
    cache.mint(OK)
    fresh = make_intermediate()
    cache.install(fresh)
    handshake(strict_client(fresh.root), cache.mint(OK), OK.text)


def test_the_least_recently_used_is_dropped(calendar: Calendar) -> None:
    cache = LeafCache(calendar, capacity=2)
    cache.install(MADE)
    one, two = (cache.mint(HostName.parse(f"{name}.example")) for name in ("one", "two"))
    assert cache.mint(HostName.parse("one.example")) is one
    cache.mint(HostName.parse("three.example"))
    assert cache.mint(HostName.parse("one.example")) is one
    assert cache.mint(HostName.parse("two.example")) is not two


def test_nothing_is_minted_without_an_intermediate_or_after_its_end(calendar: Calendar) -> None:
    cache = LeafCache(calendar)
    assert not cache.ready
    with pytest.raises(LeafUnavailable):
        cache.mint(OK)
    cache.install(MADE)
    assert cache.ready
    calendar.now = NOW + timedelta(hours=24)
    assert not cache.ready
    with pytest.raises(LeafUnavailable):
        cache.connection(OK)


def test_no_session_ticket_is_issued(cache: LeafCache) -> None:
    assert cache.mint(OK).get_session_cache_mode() == SSL.SESS_CACHE_OFF
